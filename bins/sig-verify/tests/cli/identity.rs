//! Which key of an account counts, and what an account without one is called.

use didindex::Key;
use frame::host::Role;
use keys::Curve;

use crate::forge::{self, Draft, MADE_US, Secret};
use crate::harness::{self, Seen, Stream};
use crate::index::{self, Account};

const MADE_MS: u64 = MADE_US / 1000;
const MINUTE_MS: u64 = 60_000;

/// Judges bodies from `pds.example` with these keys.
fn judge(accounts: &[Account], keys: &str, bodies: &[Vec<u8>]) -> Vec<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let index = index::build(folder.path(), accounts);
    let mut stream = Stream::of("pds.example");
    for (seq, body) in (1..).zip(bodies) {
        stream.event(1, seq, body);
    }
    let index = harness::path(&index);
    harness::proved(&["--index", index, "--keys", keys, "--pass-all"], &stream.end())
}

fn verdict(accounts: &[Account], keys: &str, body: &[u8]) -> String {
    judge(accounts, keys, &[body.to_vec()])[0].verdict()
}

#[test]
fn a_key_counts_from_five_minutes_before_its_operation_until_the_next_one() {
    let (old, new) = (Secret::new(Curve::K256, 1), Secret::new(Curve::P256, 2));
    let known = |secret: &Secret| Key::Known(secret.public().to_bytes());
    let pds = Some("pds.example");
    let (good, bad) = ("ok", "refused bad-signature");
    // The operation that brought the new key, against the rev; verdicts of an event signed by
    // the old key and by the new one, under current, history and auto.
    for (rotated_ms, by_old, by_new) in [
        (MADE_MS - MINUTE_MS, [bad, bad, bad], [good, good, good]),
        (MADE_MS + MINUTE_MS, [bad, good, good], [good, good, good]),
        (MADE_MS + 6 * MINUTE_MS, [bad, good, good], [good, bad, good]),
    ] {
        let mut account = Account::new(1, old.public());
        account.changes =
            vec![(MADE_MS - 900_000, known(&old), pds), (rotated_ms, known(&new), pds)];
        let bodies = [&old, &new].map(|secret| Draft::new(&account.did, secret, 7).body());
        let accounts = [account];
        for (at, keys) in ["current", "history", "auto"].into_iter().enumerate() {
            // Both are of one rev, so each is judged as if the other had not been.
            let [old, new] =
                bodies.each_ref().map(|body| judge(&accounts, keys, std::slice::from_ref(body)));
            assert_eq!(old[0].verdict(), by_old[at], "old key, {keys}, {rotated_ms}");
            assert_eq!(new[0].verdict(), by_new[at], "new key, {keys}, {rotated_ms}");
            let former = old[0].notes().contains(&"former-key");
            assert_eq!(former, by_old[at] == good);
        }
    }
}

#[test]
fn an_accounts_first_commit_may_come_before_its_registration() {
    let secret = Secret::new(Curve::K256, 1);
    let mut account = Account::new(1, secret.public());
    let other = Key::Known(Secret::new(Curve::K256, 2).public().to_bytes());
    let first = Key::Known(secret.public().to_bytes());
    account.changes = vec![(MADE_MS + 3_600_000, first, None), (MADE_MS + 7_200_000, other, None)];
    let body = Draft::new(&account.did, &secret, 7).body();
    assert_eq!(verdict(&[account], "history", &body), "ok");
}

#[test]
fn an_account_without_a_key_is_refused_by_the_reason() {
    let secret = Secret::new(Curve::K256, 1);
    for (key, expected, from_host) in [
        (Key::Missing, "refused no-key", "ok"),
        (Key::UnknownType, "refused unknown-key-type", "ok"),
        (Key::Tombstone, "refused tombstoned", "refused tombstoned"),
        // Two and a point that is on no curve.
        (
            Key::Known([[1, 2].as_slice(), &[0xff; 32]].concat().try_into().unwrap()),
            "refused unknown-key-type",
            "ok",
        ),
    ] {
        for keys in ["current", "history", "auto"] {
            let mut account = Account::new(1, secret.public());
            let pds = (key != Key::Tombstone).then_some("pds.example");
            account.changes = vec![(1, key, pds)];
            let bodies = [
                Draft::new(&account.did, &secret, 7).body(),
                forge::unsigned("#account", &account.did, 8),
            ];
            let seen = judge(&[account], keys, &bodies);
            assert_eq!(seen[0].verdict(), expected, "{keys}");
            assert_eq!(seen[1].verdict(), from_host, "{keys}");
        }
    }
}

#[test]
fn before_its_tombstone_an_account_could_sign() {
    let secret = Secret::new(Curve::K256, 1);
    let key = Key::Known(secret.public().to_bytes());
    for (given_up_ms, current, history) in [
        (MADE_MS + 3_600_000, "refused tombstoned", "ok"),
        (MADE_MS - 3_600_000, "refused tombstoned", "refused tombstoned"),
    ] {
        let account = || {
            let mut account = Account::new(1, secret.public());
            account.changes = vec![(1, key, None), (given_up_ms, Key::Tombstone, None)];
            [account]
        };
        let body = Draft::new(&account()[0].did, &secret, 7).body();
        assert_eq!(verdict(&account(), "current", &body), current);
        assert_eq!(verdict(&account(), "history", &body), history);
        assert_eq!(verdict(&account(), "auto", &body), history);
    }
}

#[test]
fn without_a_pds_signatures_hold_and_nothing_else_does() {
    let secret = Secret::new(Curve::P256, 1);
    let mut account = Account::new(1, secret.public());
    account.changes[0].2 = None;
    let bodies = [
        Draft::new(&account.did, &secret, 7).body(),
        forge::unsigned("#identity", &account.did, 8),
    ];
    let seen = judge(&[account], "auto", &bodies);
    assert_eq!(seen[0].verdict(), "ok");
    assert_eq!(seen[0].notes(), ["foreign", "first"]);
    assert_eq!(seen[1].verdict(), "refused no-pds");
}

#[test]
fn what_the_index_does_not_have_is_unchecked_and_not_refused() {
    let secret = Secret::new(Curve::K256, 1);
    let account = Account::new(1, secret.public());
    for did in ["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:example.com", "did:plc:short"] {
        let bodies = [Draft::new(did, &secret, 7).body(), forge::unsigned("#account", did, 8)];
        for seen in judge(std::slice::from_ref(&account), "auto", &bodies) {
            assert_eq!(seen.verdict(), "unchecked no-identity", "{did}");
        }
    }
}

#[test]
fn unsigned_events_count_from_the_accounts_host_alone() {
    let account = Account::new(1, Secret::new(Curve::K256, 1).public());
    let folder = tempfile::tempdir().unwrap();
    let did = account.did.clone();
    let index = index::build(folder.path(), &[account]);
    let mut stream = Stream::of("pds.example");
    stream.host(3, Role::Pds, "other.example");
    for kind in ["#identity", "#account"] {
        // 1 is the account's PDS, 2 a relay, 3 another PDS, 4 never had a name.
        for host in 1..=4 {
            stream.event(host, u64::from(host), &forge::unsigned(kind, &did, 5));
        }
    }
    let args = ["--index", harness::path(&index), "--pass-all"];
    let seen = harness::proved(&args, &stream.end());
    let verdicts: Vec<String> = seen.iter().map(Seen::verdict).collect();
    let expected = ["ok", "unchecked hearsay", "refused wrong-host", "unchecked hearsay"];
    assert_eq!(verdicts, [expected, expected].concat());
}
