//! Who may say what of an account: its own host, another, a relay; and what an account may do that
//! is held inactive.

use frame::host::Role;
use keys::Curve;

use crate::directory::{self, Directory, Reply};
use crate::forge::{self, Draft, Secret};
use crate::harness::{self, Seen, Stream};
use crate::index;

/// One account, whose host and directory are the same server.
pub struct Bench {
    pub directory: Directory,
    pub did: String,
    pub secret: Secret,
}

/// Which host of the stream an event comes from.
const OWN: u32 = 1;
const RELAY: u32 = 2;
const OTHER: u32 = 3;

impl Bench {
    pub fn new() -> Bench {
        let secret = Secret::new(Curve::K256, 1);
        let directory = Directory::start();
        let did = index::Account::new(1, secret.public()).did;
        let bench = Bench { directory, did, secret };
        bench.lives_at(&bench.name());
        bench
    }

    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.directory.port)
    }

    /// What the directory says of the account's host.
    fn lives_at(&self, pds: &str) {
        let document = directory::document(&self.did, self.secret.public(), pds);
        self.directory.answer(&format!("/{}", self.did), &[document]);
    }

    fn path(&self) -> String {
        format!("/xrpc/com.atproto.sync.getRepoStatus?did={}", self.did)
    }

    /// What the host says when it is asked.
    fn says(&self, active: bool) {
        let body = format!(r#"{{"did":"{}","active":{active}}}"#, self.did);
        self.directory.answer(&self.path(), &[Reply::Json(body)]);
    }

    fn account(&self, active: bool) -> Vec<u8> {
        forge::account(&self.did, 1, active)
    }

    fn commit(&self, number: u64) -> Vec<u8> {
        Draft::new(&self.did, &self.secret, number).body()
    }

    fn judge(&self, options: &[&str], events: &[(u32, Vec<u8>)]) -> Vec<Seen> {
        let mut stream = Stream::of(&self.name());
        stream.host(OTHER, Role::Pds, "other.example");
        for (seq, (host, body)) in (1..).zip(events) {
            stream.event(*host, seq, body);
        }
        let args = ["--resolve", &self.directory.url, "--allow-private", "--pass-all"];
        harness::proved(&[&args[..], options].concat(), &stream.end())
    }

    fn verdicts(&self, options: &[&str], events: &[(u32, Vec<u8>)]) -> Vec<String> {
        self.judge(options, events).iter().map(Seen::verdict).collect()
    }

    /// An index of the account that has it at this host.
    fn index(&self, folder: &std::path::Path, pds: &'static str) -> String {
        let mut account = index::Account::new(1, self.secret.public());
        account.changes[0].2 = Some(pds);
        harness::path(&index::build(folder, &[account])).to_owned()
    }
}

#[test]
fn a_signed_event_from_elsewhere_is_noted_or_refused() {
    let bench = Bench::new();
    let events = [(OTHER, bench.commit(1)), (OWN, bench.commit(2)), (RELAY, bench.commit(3))];
    let seen = bench.judge(&[], &events);
    let notes: Vec<_> = seen.iter().map(Seen::notes).collect();
    assert_eq!(notes, [vec!["foreign", "first"], vec!["gap"], vec!["gap"]]);
    assert!(seen.iter().all(Seen::is_ok));
    let verdicts = bench.verdicts(&["--foreign", "refuse"], &events);
    assert_eq!(verdicts, ["refused foreign", "ok", "ok"]);
}

#[test]
fn an_account_that_moved_is_looked_up_before_that_is_held_against_it() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let index = bench.index(folder.path(), "old.example");
    let options = ["--index", &index, "--foreign", "refuse"];
    let events = [(OWN, bench.commit(1)), (OTHER, bench.commit(2))];
    assert_eq!(bench.verdicts(&options, &events), ["ok", "refused foreign"]);
    // And once more at the end, if the second event came after that was asked.
    let count = bench.directory.count(&format!("/{}", bench.did));
    assert!(count == 1 || count == 2, "one look-up a minute");
    let seen = bench.judge(&["--index", &index], &events);
    assert_eq!(seen[0].notes(), ["first"]);
    assert_eq!(seen[1].notes(), ["foreign", "gap"]);
    // What the index proves stays proved when the directory falls silent.
    bench.directory.answer(&format!("/{}", bench.did), &[Reply::Status(500)]);
    let seen = bench.judge(&["--index", &index, "--patience", "1s"], &events);
    assert_eq!(seen[0].verdict(), "ok");
    assert_eq!(seen[0].notes(), ["foreign", "first"]);
}

#[test]
fn what_a_relay_says_of_an_account_is_confirmed_by_its_host() {
    let bench = Bench::new();
    bench.says(false);
    let events = [(RELAY, bench.account(false)), (RELAY, bench.account(true))];
    assert_eq!(bench.verdicts(&[], &events), ["ok", "unchecked hearsay"]);
    assert_eq!(bench.directory.count(&bench.path()), 1);
    bench.directory.answer(&bench.path(), &[Reply::Status(400)]);
    assert_eq!(bench.verdicts(&[], &events), ["unchecked hearsay", "unchecked hearsay"]);
    let identity = forge::unsigned("#identity", &bench.did, 3);
    let events = [(RELAY, identity), (RELAY, bench.account(false)), (RELAY, bench.commit(1))];
    let asked = bench.directory.count(&bench.path());
    let verdicts = bench.verdicts(&["--trust-relay"], &events[..2]);
    assert_eq!(verdicts, ["ok", "ok"]);
    assert_eq!(bench.directory.count(&bench.path()), asked, "its word was taken");
    // And yet a commit is not refused on that word alone.
    bench.says(true);
    assert_eq!(bench.verdicts(&["--trust-relay"], &events), ["ok", "ok", "ok"]);
}

#[test]
fn an_account_that_is_held_inactive_is_asked_about_before_its_commit_is_refused() {
    let bench = Bench::new();
    let gone = [(OWN, bench.account(false)), (OWN, bench.commit(1)), (OWN, bench.commit(2))];
    bench.says(true);
    assert_eq!(bench.verdicts(&[], &gone), ["ok", "ok", "ok"]);
    assert_eq!(bench.directory.count(&bench.path()), 1, "it is active from then on");
    bench.says(false);
    let no = "refused inactive";
    assert_eq!(bench.verdicts(&[], &gone), ["ok", no, no]);
    assert_eq!(bench.directory.count(&bench.path()), 2, "the answer is remembered");
    bench.directory.answer(&bench.path(), &[Reply::Status(502)]);
    let not_known = "unchecked inactive";
    assert_eq!(bench.verdicts(&[], &gone), ["ok", not_known, not_known]);
    let missing = r#"{"error":"RepoNotFound"}"#;
    bench.directory.answer(&bench.path(), &[Reply::Json(missing.into())]);
    assert_eq!(bench.verdicts(&[], &gone[..2]), ["ok", not_known], "that is no answer with 200");
    // It comes back by its own word, and a forged commit is refused for what it is.
    let mut forged = Draft::new(&bench.did, &bench.secret, 3);
    forged.sign(&Secret::new(Curve::K256, 9));
    let back = [
        (OWN, bench.account(false)),
        (OWN, forged.body()),
        (OWN, bench.account(true)),
        (OWN, bench.commit(4)),
    ];
    assert_eq!(bench.verdicts(&[], &back), ["ok", "refused bad-signature", "ok", "ok"]);
}

#[test]
fn a_hosts_word_from_before_a_commit_came_does_not_refuse_it() {
    let bench = Bench::new();
    bench.says(false);
    let args = ["--resolve", &bench.directory.url, "--allow-private", "--pass-all"];
    let mut running = harness::Running::start(&args);
    let mut stream = Stream::of(&bench.name());
    let mut feed = |running: &mut harness::Running, seq: u64, body: &[u8]| {
        stream.event_at(harness::LIVE_NS, OWN, seq, body);
        running.feed(&std::mem::take(&mut stream.bytes));
    };
    feed(&mut running, 1, &bench.account(false));
    assert_eq!(running.next().verdict(), "ok");
    // Its host is asked, and then whether that is its host still, as soon as that may be asked.
    feed(&mut running, 2, &bench.commit(1));
    bench.directory.wait_for(&bench.path());
    assert!(running.is_quiet());
    bench.says(true);
    feed(&mut running, 3, &bench.commit(2));
    assert!(running.is_quiet(), "what it said before does not refuse the second commit");
    running.feed(&Stream::default().end());
    let verdicts: Vec<String> = running.finish().iter().map(Seen::verdict).collect();
    assert_eq!(verdicts, ["refused inactive", "ok"], "the first was there when it said so");
}

#[test]
fn an_account_that_moved_is_not_refused_by_its_former_hosts_word() {
    let bench = Bench::new();
    bench.says(false);
    let args = ["--resolve", &bench.directory.url, "--allow-private", "--pass-all"];
    let mut running = harness::Running::start(&args);
    let mut stream = Stream::of(&bench.name());
    stream.host(OTHER, Role::Pds, "other.example");
    let mut feed = |running: &mut harness::Running, host, seq, body: &[u8]| {
        stream.event_at(harness::LIVE_NS, host, seq, body);
        running.feed(&std::mem::take(&mut stream.bytes));
    };
    feed(&mut running, OWN, 1, &bench.account(false));
    assert_eq!(running.next().verdict(), "ok");
    // It moves with its key, within the minute in which the directory is not asked again.
    bench.lives_at("other.example");
    feed(&mut running, OTHER, 2, &bench.commit(1));
    bench.directory.wait_for(&bench.path());
    assert!(running.is_quiet(), "its former host's word does not count for long");
    running.feed(&Stream::default().end());
    let seen = running.finish();
    assert_eq!(seen.iter().map(Seen::verdict).collect::<Vec<_>>(), ["ok"]);
    assert_eq!(seen[0].notes(), ["first"], "it lives there");
}

#[test]
fn where_nobody_can_be_asked_an_inactive_account_is_not_decided_about() {
    let secret = Secret::new(Curve::K256, 1);
    let account = index::Account::new(1, secret.public());
    let folder = tempfile::tempdir().unwrap();
    let did = account.did.clone();
    let index = index::build(folder.path(), &[account]);
    let mut stream = Stream::of("pds.example");
    stream.event(1, 1, &forge::account(&did, 1, false));
    stream.event(1, 2, &Draft::new(&did, &secret, 1).body());
    stream.event(1, 3, &Draft::sync(&did, &secret, 2).body());
    stream.event(1, 4, &forge::account(&did, 4, true));
    stream.event(1, 5, &Draft::new(&did, &secret, 3).body());
    let args = ["--index", harness::path(&index), "--pass-all"];
    let seen = harness::proved(&args, &stream.end());
    let verdicts: Vec<String> = seen.iter().map(Seen::verdict).collect();
    let not_known = "unchecked inactive";
    assert_eq!(verdicts, ["ok", not_known, not_known, "ok", "ok"]);
    assert_eq!(seen[4].notes(), ["first"], "what was not decided moved nothing");
}
