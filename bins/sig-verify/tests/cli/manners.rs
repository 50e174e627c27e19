//! What it is called with, what it writes where, how it ends.

use std::io::Write;

use frame::Kind;
use frame::host::Role;
use keys::Curve;

use crate::forge::{Draft, Secret};
use crate::harness::{self, Stream, decode, run, text};
use crate::index::{self, Account};

struct Bench {
    folder: tempfile::TempDir,
    index: String,
    events: Vec<Vec<u8>>,
}

impl Bench {
    /// An index of one account, and events of it.
    fn new(count: u64) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let secret = Secret::new(Curve::K256, 1);
        let account = Account::new(1, secret.public());
        let events = (0..count).map(|n| Draft::new(&account.did, &secret, n).body()).collect();
        let index = index::build(folder.path(), &[account]);
        Bench { index: harness::path(&index).to_owned(), folder, events }
    }

    fn stream(&self) -> Stream {
        let mut stream = Stream::of("pds.example");
        for (seq, body) in (0..).zip(&self.events) {
            stream.event(1, seq, body);
        }
        stream
    }
}

#[test]
fn help_names_every_option_and_has_an_example() {
    let output = run(&["--help"], b"");
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for part in ["--index", "--keys", "--rejects", "--pass-all", "--resolve", "--ca", "Example:"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert_eq!(run(&["--version"], b"").status.code(), Some(0));
}

#[test]
fn with_nothing_to_prove_by_it_says_what_to_name() {
    let output = run(&[], b"");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("--index") && said.contains("--resolve"), "{said}");
    assert_eq!(run(&["--resolve", "plc.directory"], b"").status.code(), Some(2));
    assert_eq!(run(&["--index", "x", "--keys", "none"], b"").status.code(), Some(2));
}

#[test]
fn what_is_no_index_fails_and_is_named() {
    let bench = Bench::new(0);
    let path = bench.folder.path().join("other");
    std::fs::write(&path, b"something else").unwrap();
    let output = run(&["--index", harness::path(&path)], &bench.stream().end());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("other"), "{}", text(&output.stderr));
}

#[test]
fn what_is_not_an_event_passes_untouched_and_in_order() {
    let mut bench = Bench::new(3);
    let last = bench.events.pop().unwrap();
    let mut stream = bench.stream();
    stream.mark(1);
    let mut header = frame::Header::new(Kind(77), 5);
    header.flags = 3;
    frame::put(&mut stream.bytes, &header, b"something new").unwrap();
    // A second stream behind the first, whose host 1 is another.
    stream.bytes.extend_from_slice(&frame::MAGIC);
    stream.host(1, Role::Pds, "other.example");
    stream.event(1, 9, &last);
    let output = run(&["--index", &bench.index], &stream.end());
    assert_eq!(output.status.code(), Some(0));
    let (seen, _) = decode(&output.stdout);
    let kinds: Vec<u8> = seen.iter().map(|frame| frame.kind.0).collect();
    assert_eq!(kinds, [2, 2, 1, 1, 3, 77, 2, 1, 6]);
    assert_eq!(seen[5].body, b"something new");
    assert!(seen[2].notes() == ["first"] && seen[7].notes() == ["foreign", "gap"]);
}

#[test]
fn a_torn_stream_ends_with_1_after_everything_whole() {
    let bench = Bench::new(5);
    let whole = bench.stream().bytes;
    for cut in [0, 10, 41, 500] {
        let output = run(&["--index", &bench.index], &whole[..whole.len() - cut]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("torn") && said.contains("offset"), "{said}");
        let (seen, ended) = decode(&output.stdout);
        assert!(!ended, "a torn stream must not look whole to the next stage");
        let events = seen.iter().filter(|frame| frame.kind == Kind::EVENT).count();
        assert_eq!(events, if cut == 0 { 5 } else { 4 });
    }
}

#[test]
fn rejects_of_a_torn_stream_are_readable_to_the_end() {
    let bench = Bench::new(1);
    let mut stream = bench.stream();
    stream.event(2, 7, b"junk");
    stream.event(1, 8, b"junk");
    let rejects = bench.folder.path().join("rejects");
    let args = ["--index", &bench.index, "--rejects", harness::path(&rejects)];
    assert_eq!(run(&args, &stream.bytes).status.code(), Some(1));
    let (seen, ended) = decode(&std::fs::read(&rejects).unwrap());
    assert!(ended);
    let seen: Vec<(u8, &str)> = seen.iter().map(|it| (it.kind.0, it.host.as_str())).collect();
    let expected =
        [(2, "relay.example"), (1, "relay.example"), (2, "pds.example"), (1, "pds.example")];
    assert_eq!(seen, [&expected[..], &[(6, "")]].concat());

    // It is not overwritten without being told.
    let output = run(&args, &stream.bytes);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--force"));
    let forced = [&args[..], &["--force"]].concat();
    assert!(text(&run(&forced, &stream.bytes).stderr).contains("torn"));
}

#[test]
fn no_file_is_read_and_written_at_once() {
    let bench = Bench::new(1);
    let path = bench.folder.path().join("a.frames");
    let bytes = bench.stream().end();
    std::fs::write(&path, &bytes).unwrap();
    let (file, index) = (harness::path(&path), bench.index.as_str());
    for args in [
        ["--index", index, file, "--rejects", file, "--force"],
        ["--index", index, file, "--out", file, "--force"],
    ] {
        assert_eq!(run(&args, b"").status.code(), Some(2));
    }
    let out = bench.folder.path().join("new");
    let new = harness::path(&out);
    let args = ["--index", index, file, "--out", new, "--rejects", new];
    assert_eq!(run(&args, b"").status.code(), Some(2));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_closed_output_ends_quietly() {
    let bench = Bench::new(300);
    let mut child = harness::tool(&["--index", &bench.index]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let stream = bench.stream().end();
    let _ = stdin.write_all(&stream);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn an_event_goes_on_while_the_input_stays_open() {
    let bench = Bench::new(1);
    let mut running = harness::Running::start(&["--index", &bench.index]);
    running.feed(&bench.stream().bytes);
    assert_eq!(running.next().verdict(), "ok");
    let mut end = Vec::new();
    frame::put(&mut end, &frame::Header::new(Kind::END, 0), b"").unwrap();
    running.feed(&end);
    assert!(running.finish().is_empty());
}
