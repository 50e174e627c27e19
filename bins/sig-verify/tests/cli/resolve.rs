//! With `--resolve`: what the directory is asked, what its answers and its silence decide, and
//! what goes on meanwhile.

use didindex::PlcDid;
use frame::Kind;
use keys::Curve;

use crate::directory::{self, Directory, Reply};
use crate::forge::{self, Draft, MADE_US, Secret};
use crate::harness::{self, Running, Seen, Stream, proved};
use crate::index::{self, Account};

fn did(number: u8) -> String {
    PlcDid::from_bytes([number; 15]).to_string()
}

fn secret(number: u8) -> Secret {
    Secret::new(if number.is_multiple_of(2) { Curve::P256 } else { Curve::K256 }, number)
}

/// Event `seq` of account `number`.
fn event(number: u8, seq: u64) -> Vec<u8> {
    Draft::new(&did(number), &secret(number), seq).body()
}

fn good(number: u8) -> Reply {
    directory::document(&did(number), secret(number).public(), "pds.example")
}

/// A stream from `pds.example` of these events.
fn stream(bodies: &[Vec<u8>]) -> Stream {
    let mut stream = Stream::of("pds.example");
    for (seq, body) in (1..).zip(bodies) {
        stream.event(1, seq, body);
    }
    stream
}

/// The verdicts of these events against a directory, with these further options.
fn verdicts(directory: &Directory, more: &[&str], bodies: &[Vec<u8>]) -> Vec<String> {
    let args = ["--resolve", &directory.url, "--allow-private", "--pass-all"];
    let seen = proved(&[&args[..], more].concat(), &stream(bodies).end());
    seen.iter().map(Seen::verdict).collect()
}

#[test]
fn without_an_index_each_account_is_asked_for_once() {
    let directory = Directory::start();
    let mut bodies = Vec::new();
    for seq in 0..5 {
        for number in 1..=20 {
            bodies.push(event(number, seq));
        }
    }
    for number in 1..=20 {
        directory.answer(&format!("/{}", did(number)), &[good(number)]);
    }
    assert_eq!(verdicts(&directory, &[], &bodies), ["ok"; 100]);
    let mut asked = directory.asked();
    asked.sort();
    let mut expected: Vec<String> = (1..=20).map(|number| format!("/{}", did(number))).collect();
    expected.sort();
    assert_eq!(asked, expected);
}

#[test]
fn while_one_account_waits_the_others_go_on_and_marks_do_not() {
    let directory = Directory::start();
    let slow = format!("/{}", did(1));
    directory.answer(&slow, &[Reply::Hang(Box::new(good(1)))]);
    for number in 2..=4 {
        directory.answer(&format!("/{}", did(number)), &[good(number)]);
    }
    let mut running = Running::start(&["--resolve", &directory.url, "--allow-private"]);
    let mut stream = Stream::of("pds.example");
    stream.event(1, 1, &event(2, 1));
    stream.mark(1);
    running.feed(&std::mem::take(&mut stream.bytes));
    assert_eq!((running.next().kind, running.next().kind), (Kind::EVENT, Kind::MARK));

    stream.event(1, 2, &event(1, 2));
    running.feed(&std::mem::take(&mut stream.bytes));
    directory.wait_for(&slow);
    for (seq, number) in [(3, 2), (4, 3), (5, 1), (6, 4)] {
        stream.event(1, seq, &event(number, seq));
        stream.mark(seq);
    }
    running.feed(&std::mem::take(&mut stream.bytes));
    let mut others: Vec<u64> = (0..3).map(|_| running.next().seq).collect();
    others.sort();
    assert_eq!(others, [3, 4, 6]);
    assert!(running.is_quiet(), "marks wait for the slow account");

    directory.let_go();
    assert_eq!((running.next().seq, running.next().seq), (2, 5), "its events in their order");
    let mut marked = 0;
    while marked < 6 {
        let mark = running.next();
        assert!(mark.kind == Kind::MARK && mark.seq > marked, "{mark:?}");
        marked = mark.seq;
    }
    running.feed(&stream.end());
    assert!(running.finish().is_empty());
}

#[test]
fn at_the_end_and_at_a_new_beginning_nothing_is_left_behind() {
    let directory = Directory::start();
    for number in 1..=2 {
        directory.answer(&format!("/{}", did(number)), &[good(number)]);
    }
    let mut stream = stream(&[event(1, 1), event(2, 2)]);
    stream.mark(2);
    stream.bytes.extend_from_slice(&frame::MAGIC);
    stream.host(1, frame::host::Role::Pds, "pds.example");
    stream.event(1, 3, &event(1, 3));
    stream.mark(3);
    let args = ["--resolve", &directory.url, "--allow-private"];
    let output = harness::run(&args, &stream.end());
    let (seen, ended) = harness::decode(&output.stdout);
    assert!(ended);
    let mut kinds: Vec<(u8, u64)> = seen.iter().map(|it| (it.kind.0, it.seq)).collect();
    kinds[2..4].sort();
    assert_eq!(kinds, [(2, 0), (2, 0), (1, 1), (1, 2), (3, 2), (2, 0), (1, 3), (3, 3), (6, 0)]);
    assert!(seen.iter().filter(|it| it.kind == Kind::EVENT).all(Seen::is_ok));
}

#[test]
fn a_definite_no_refuses_and_is_remembered() {
    let directory = Directory::start();
    directory.answer(&format!("/{}", did(2)), &[Reply::Status(410)]);
    let bodies = [event(1, 1), event(1, 2), event(2, 3), forge::unsigned("#account", &did(1), 4)];
    let missing = "refused no-identity";
    let expected = [missing, missing, missing, "refused tombstoned"];
    let mut seen = verdicts(&directory, &["--keys", "current"], &bodies);
    seen.sort();
    assert_eq!(seen, expected);
    let count = directory.count(&format!("/{}", did(1)));
    assert!(count == 1 || count == 2, "and once more at the end at most");
}

#[test]
fn silence_decides_nothing_and_is_over_after_a_while() {
    let directory = Directory::start();
    let paths = [1, 2, 3, 4].map(|number| format!("/{}", did(number)));
    directory.answer(&paths[0], &[Reply::Status(500)]);
    directory.answer(&paths[1], &[Reply::Status(502), Reply::Status(503), good(2)]);
    directory.answer(&paths[2], &[Reply::Json("{".into())]);
    directory.answer(&paths[3], &[Reply::Json("{\"id\": \"did:plc:another\"}".into())]);
    let bodies = [event(1, 1), event(2, 2), event(3, 3), event(4, 4), event(1, 5)];
    let args = ["--resolve", &directory.url, "--allow-private", "--pass-all", "--patience", "3s"];
    let mut seen = proved(&args, &stream(&bodies).end());
    seen.sort_by_key(|seen| seen.seq);
    let seen: Vec<String> = seen.iter().map(Seen::verdict).collect();
    let silent = "unchecked no-answer";
    assert_eq!(seen, [silent, "ok", silent, silent, silent]);
    assert!(directory.count(&paths[0]) > 1, "it is asked again");
    assert_eq!(directory.count(&paths[1]), 3);
}

#[test]
fn a_server_that_asks_for_time_is_given_it() {
    let directory = Directory::start();
    let path = format!("/{}", did(1));
    directory.answer(&path, &[Reply::Later(1), good(1)]);
    let before = std::time::Instant::now();
    assert_eq!(verdicts(&directory, &[], &[event(1, 1)]), ["ok"]);
    assert!(before.elapsed().as_millis() >= 1000);
    assert_eq!(directory.count(&path), 2);
}

#[test]
fn a_private_directory_is_not_asked_unless_allowed() {
    let directory = Directory::start();
    directory.answer(&format!("/{}", did(1)), &[good(1)]);
    let args = ["--resolve", &directory.url, "--pass-all"];
    let output = harness::run(&args, &stream(&[event(1, 1)]).end());
    assert_eq!(harness::events(&output.stdout)[0].verdict(), "unchecked no-answer");
    assert!(harness::text(&output.stderr).contains("--allow-private"), "it says what to do");
    assert!(directory.asked().is_empty());
}

#[test]
fn a_key_that_fails_is_looked_up_before_the_event_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // The index has an old key of 1 and the right one of 2, and lacks 3.
    let accounts = [Account::new(1, secret(9).public()), Account::new(2, secret(2).public())];
    let index = index::build(folder.path(), &accounts);
    let directory = Directory::start();
    directory.answer(&format!("/{}", did(1)), &[good(1)]);
    directory.answer(&format!("/{}", did(3)), &[good(3)]);
    let mut forged = Draft::new(&did(1), &secret(1), 8);
    forged.sign(&secret(5));
    let bodies = [event(1, 1), event(2, 2), event(3, 3), forged.body(), event(1, 5)];
    let more = ["--index", harness::path(&index), "--keys", "current"];
    let mut seen = verdicts(&directory, &more, &bodies);
    seen.sort();
    assert_eq!(seen, ["ok", "ok", "ok", "ok", "refused bad-signature"]);
    // And once more at the end, if these events came after that by this machine's clock.
    let count = directory.count(&format!("/{}", did(1)));
    assert!(count == 1 || count == 2, "once a minute, forged events or not");
    assert_eq!(directory.count(&format!("/{}", did(2))), 0);
}

#[test]
fn an_answer_from_before_an_event_came_does_not_refuse_it() {
    let directory = Directory::start();
    let path = format!("/{}", did(1));
    let signed = |by: u8, seq: u64| {
        let mut draft = Draft::new(&did(1), &secret(1), seq);
        draft.sign(&secret(by));
        draft.body()
    };
    let key = |number: u8| directory::document(&did(1), secret(number).public(), "pds.example");
    directory.answer(&path, &[key(1)]);
    directory.answer(&format!("/{}", did(2)), &[good(2)]);
    let args = ["--resolve", &directory.url, "--allow-private", "--pass-all", "--keys", "current"];
    let mut running = Running::start(&args);
    let mut stream = Stream::of("pds.example");
    let mut feed = |running: &mut Running, seq: u64, body: &[u8]| {
        stream.event_at(harness::LIVE_NS, 1, seq, body);
        running.feed(&std::mem::take(&mut stream.bytes));
    };
    feed(&mut running, 1, &signed(1, 1));
    assert_eq!(running.next().verdict(), "ok");
    // The key changes, and changes again, within the minute in which nobody is asked once more.
    directory.answer(&path, &[key(3)]);
    feed(&mut running, 2, &signed(3, 2));
    feed(&mut running, 3, &signed(9, 3));
    feed(&mut running, 4, &event(2, 4));
    assert_eq!(running.next().seq, 4, "others go by");
    assert!(running.is_quiet(), "nothing is refused by what was said before it came");
    let mut end = Stream::default();
    end.mark(4);
    running.feed(&end.end());
    let rest = running.finish();
    let rest: Vec<(u64, String)> = rest
        .iter()
        .filter(|seen| seen.kind == Kind::EVENT)
        .map(|seen| (seen.seq, seen.verdict()))
        .collect();
    let expected = [(2, "ok"), (3, "refused bad-signature")];
    assert_eq!(rest, expected.map(|(seq, verdict)| (seq, verdict.to_owned())));
    assert_eq!(directory.count(&path), 2);
}

#[test]
fn a_key_that_changes_twice_within_a_minute_refuses_nothing() {
    let directory = Directory::start();
    let path = format!("/{}", did(1));
    let key = |number: u8| directory::document(&did(1), secret(number).public(), "pds.example");
    directory.answer(&path, &[key(1)]);
    let mut running =
        Running::start(&["--resolve", &directory.url, "--allow-private", "--pass-all"]);
    let mut stream = Stream::of("pds.example");
    for number in [1, 2, 3] {
        let mut draft = Draft::new(&did(1), &secret(1), u64::from(number));
        draft.sign(&secret(number));
        stream.event_at(harness::LIVE_NS, 1, u64::from(number), &draft.body());
        running.feed(&std::mem::take(&mut stream.bytes));
        if number == 1 {
            assert_eq!(running.next().verdict(), "ok");
            let made_ms = MADE_US / 1000;
            let changes = [(600_000, 1), (60_000, 2), (0, 3)];
            let keys = changes.map(|(ago, number)| (made_ms + 1000 - ago, secret(number).public()));
            directory.answer(&path, &[key(3)]);
            directory.answer(&format!("{path}/log/audit"), &[directory::log(&did(1), &keys)]);
        }
    }
    running.feed(&stream.end());
    let verdicts: Vec<String> = running.finish().iter().map(Seen::verdict).collect();
    assert_eq!(verdicts, ["ok", "ok"]);
}

#[test]
fn former_keys_are_read_from_the_audit_log_where_there_is_one() {
    let made_ms = MADE_US / 1000;
    let keys = [(made_ms - 600_000, secret(1).public()), (made_ms + 600_000, secret(2).public())];
    let directory = Directory::start();
    for account in [1, 2] {
        let path = format!("/{}", did(account));
        let present = directory::document(&did(account), secret(2).public(), "pds.example");
        directory.answer(&path, &[present]);
    }
    directory.answer(&format!("/{}/log/audit", did(1)), &[directory::log(&did(1), &keys)]);
    // Signed by the former key; the log of account 2 is not kept.
    let bodies = [1, 2].map(|account| Draft::new(&did(account), &secret(1), 7).body());
    let judge = |keys: &str| {
        let args = ["--resolve", &directory.url, "--allow-private", "--pass-all", "--keys", keys];
        let mut seen = proved(&args, &stream(&bodies).end());
        seen.sort_by_key(|seen| seen.seq);
        seen.iter().map(Seen::verdict).collect::<Vec<_>>()
    };
    let bad = "refused bad-signature";
    assert_eq!(judge("current"), [bad, bad]);
    assert_eq!(judge("auto"), ["ok", bad]);
    assert_eq!(judge("history"), ["ok", bad]);
}

#[test]
fn an_unsigned_event_of_an_account_that_moved_counts_after_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let mut moved = Account::new(1, secret(1).public());
    moved.changes[0].2 = Some("old.example");
    let mut elsewhere = Account::new(2, secret(2).public());
    elsewhere.changes[0].2 = Some("old.example");
    let index = index::build(folder.path(), &[moved, elsewhere]);
    let directory = Directory::start();
    directory.answer(&format!("/{}", did(1)), &[good(1)]);
    let other = directory::document(&did(2), secret(2).public(), "old.example");
    directory.answer(&format!("/{}", did(2)), &[other]);
    let bodies = [1, 2].map(|account| forge::unsigned("#account", &did(account), 3));
    let more = ["--index", harness::path(&index), "--keys", "current"];
    let mut seen = verdicts(&directory, &more, &bodies);
    seen.sort();
    assert_eq!(seen, ["ok", "refused wrong-host"]);
}

#[test]
fn did_web_is_asked_at_its_own_host() {
    let directory = Directory::start();
    let did = format!("did:web:localhost%3A{}", directory.port);
    let document = directory::document(&did, secret(1).public(), "pds.example");
    directory.answer("/.well-known/did.json", &[document]);
    let other = "did:web:example.com:a:path";
    let bodies = [
        Draft::new(&did, &secret(1), 1).body(),
        Draft::new(&did, &secret(2), 2).body(),
        Draft::new(other, &secret(1), 3).body(),
        Draft::new("did:other:abc", &secret(1), 4).body(),
    ];
    let mut seen = verdicts(&directory, &[], &bodies);
    seen.sort();
    let expected = ["ok", "refused bad-signature", "refused no-identity", "refused no-identity"];
    assert_eq!(seen, expected);
}

#[test]
fn a_torn_stream_ends_with_1_after_what_was_held() {
    let directory = Directory::start();
    directory.answer(&format!("/{}", did(1)), &[good(1)]);
    let mut stream = stream(&[event(1, 1), event(1, 2)]);
    stream.mark(2);
    let args = ["--resolve", &directory.url, "--allow-private"];
    let output = harness::run(&args, &stream.bytes);
    assert_eq!(output.status.code(), Some(1));
    let (seen, ended) = harness::decode(&output.stdout);
    assert!(!ended);
    let seqs: Vec<(u8, u64)> = seen.iter().skip(2).map(|it| (it.kind.0, it.seq)).collect();
    assert_eq!(seqs, [(1, 1), (1, 2), (3, 2)]);
}
