//! `frame-merge` alone: ids, marks, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use frame::host::{HostTable, Role};
use frame::mark::Mark;
use frame::{Decoder, Header, HostId, Item, Kind};

/// A stream in the making: what each test needs of it, by names of hosts.
struct Stream {
    bytes: Vec<u8>,
    ids: Vec<(u32, &'static str)>,
}

impl Stream {
    fn of(ids: &[(u32, &'static str)]) -> Stream {
        let mut bytes = frame::MAGIC.to_vec();
        for (id, name) in ids {
            frame::host::put(&mut bytes, HostId(*id), Role::Pds, name).unwrap();
        }
        Stream { bytes, ids: ids.to_vec() }
    }

    fn id(&self, host: &str) -> HostId {
        HostId(self.ids.iter().find(|(_, name)| *name == host).unwrap().0)
    }

    fn event(mut self, host: &str, seq: u64) -> Stream {
        let header = Header { host: self.id(host), seq, ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut self.bytes, &header, format!("{host} {seq}").as_bytes()).unwrap();
        self
    }

    fn mark(mut self, time_ns: u64, host: &str, seq: u64) -> Stream {
        let mark = Mark { host: self.id(host), epoch: 0, seq };
        frame::mark::put(&mut self.bytes, &mut Vec::new(), time_ns, [mark]).unwrap();
        self
    }

    fn end(mut self) -> Vec<u8> {
        frame::put(&mut self.bytes, &Header::new(Kind::END, 1), b"").unwrap();
        self.bytes
    }
}

/// What a merge says: events as (host by its name, body), marks as (host, seq); whole or not.
#[derive(Debug, Default)]
struct Merged {
    events: Vec<(String, String)>,
    marks: Vec<(String, u64)>,
    is_whole: bool,
    /// Frames in order: events before each mark.
    before: Vec<usize>,
}

fn read(stream: &[u8]) -> Merged {
    let (mut decoder, mut rest) = (Decoder::default(), stream);
    let (mut hosts, mut merged) = (HostTable::default(), Merged::default());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        hosts.apply(&frame).unwrap();
        let name = |id| hosts.get(id).unwrap().name.to_owned();
        match frame.header.kind {
            Kind::EVENT => {
                let body = String::from_utf8(frame.body().to_vec()).unwrap();
                merged.events.push((name(frame.header.host), body));
            }
            Kind::MARK => {
                for mark in frame::mark::read(&frame).unwrap() {
                    merged.marks.push((name(mark.host), mark.seq));
                    merged.before.push(merged.events.len());
                }
            }
            _ => {}
        }
    }
    merged.is_whole = decoder.ended();
    merged
}

fn run(args: &[&str], inputs: &[Vec<u8>]) -> (Merged, Output) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_frame-merge"));
    for (n, input) in inputs.iter().enumerate() {
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, input).unwrap();
        command.arg(path);
    }
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    (read(&output.stdout), output)
}

#[test]
fn ids_are_made_unique_by_name_and_each_input_keeps_its_order() {
    let one = (0..500).fold(Stream::of(&[(1, "a"), (2, "b")]), |stream, seq| {
        stream.event(["a", "b"][seq as usize % 2], seq)
    });
    let two = (0..500).fold(Stream::of(&[(1, "b"), (2, "c")]), |stream, seq| {
        stream.event(["b", "c"][seq as usize % 2], 1_000 + seq)
    });
    let (merged, output) = run(&[], &[one.end(), two.end()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(merged.is_whole);
    assert_eq!(merged.events.len(), 1_000);
    for (host, body) in &merged.events {
        assert!(body.starts_with(&format!("{host} ")), "{body} of {host}");
    }
    for input in [0..1_000, 1_000..2_000] {
        let seqs = merged.events.iter().map(|(_, body)| body[2..].parse::<u64>().unwrap());
        assert!(seqs.filter(|seq| input.contains(seq)).is_sorted());
    }
}

#[test]
fn a_stream_that_begins_anew_has_other_hosts() {
    let first = Stream::of(&[(1, "a")]).event("a", 1).end();
    let second = Stream::of(&[(1, "b")]).event("b", 2).end();
    let (merged, _) = run(&[], &[[first, second].concat(), Stream::of(&[]).end()]);
    let told = [("a", "a 1"), ("b", "b 2")].map(|(host, body)| (host.to_owned(), body.to_owned()));
    assert_eq!(merged.events, told);
}

#[test]
fn at_clean_ends_all_marks_have_gone_on_and_each_behind_its_events() {
    let one = Stream::of(&[(1, "a")]).event("a", 1).mark(10, "a", 5).event("a", 6).mark(20, "a", 9);
    let two = Stream::of(&[(7, "a")]).event("a", 2).mark(10, "a", 3);
    let (merged, _) = run(&[], &[one.end(), two.end()]);
    assert_eq!(merged.marks.last(), Some(&("a".to_owned(), 9)));
    let seqs: Vec<u64> = merged.marks.iter().map(|(_, seq)| *seq).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    assert_eq!(merged.before.last(), Some(&3));
}

#[test]
fn no_mark_is_newer_than_the_last_of_a_branch_that_ended_without_end() {
    let whole = || {
        let stream = Stream::of(&[(1, "a"), (2, "b")]).event("a", 1).mark(10, "a", 5);
        stream.event("a", 6).mark(20, "a", 9).mark(30, "b", 4).end()
    };
    let torn = Stream::of(&[(1, "a"), (2, "b")]).event("a", 2).mark(10, "a", 3).bytes;
    let nothing = frame::MAGIC.to_vec();
    for _ in 0..20 {
        for (inputs, highest) in [([whole(), torn.clone()], 3), ([nothing.clone(), whole()], 0)] {
            let (merged, output) = run(&[], &inputs);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(!merged.is_whole);
            let named = merged.marks.iter().all(|(host, seq)| host == "a" && *seq <= highest);
            assert!(named, "{merged:?}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("torn"), "{said}");
            assert_eq!(merged.events.iter().filter(|(_, body)| body == "a 6").count(), 1);
        }
    }
}

/// A merge of two named pipes, which the test holds.
fn over_pipes(args: &[&str]) -> (std::process::Child, [std::fs::File; 2], tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| dir.path().join(name));
    let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
    paths.iter().for_each(|path| nix::unistd::mkfifo(path, mode).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_frame-merge"));
    command.args(&paths).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // Opening for writing waits for the reader, which opens one after the other.
    let pipes = paths.map(|path| OpenOptions::new().write(true).open(path).unwrap());
    (child, pipes, dir)
}

/// Reads until so many marks have come.
fn until_marks(child: &mut std::process::Child, count: usize) -> (Merged, Vec<u8>) {
    let (mut stream, mut buffer) = (Vec::new(), vec![0; 4096]);
    let stdout = child.stdout.as_mut().unwrap();
    loop {
        let used = stdout.read(&mut buffer).unwrap();
        assert!(used > 0, "ended before {count} marks came");
        stream.extend_from_slice(&buffer[..used]);
        let merged = read(&stream);
        if merged.marks.len() >= count {
            return (merged, stream);
        }
    }
}

#[test]
fn a_mark_waits_for_a_branch_that_is_slow_and_the_events_do_not() {
    let (mut child, [mut one, mut two], _dir) = over_pipes(&[]);
    let first = Stream::of(&[(1, "a")]).event("a", 1).event("a", 2).mark(10, "a", 2);
    one.write_all(&first.bytes).unwrap();
    // The slow branch: its mark is behind its event, and what goes on has both before it.
    two.write_all(&Stream::of(&[(9, "a")]).event("a", 3).mark(10, "a", 2).bytes).unwrap();
    let (merged, _) = until_marks(&mut child, 1);
    assert_eq!((merged.marks, merged.before), (vec![("a".to_owned(), 2)], vec![3]));
    drop((one, two));
    assert_eq!(child.wait().unwrap().code(), Some(1), "neither said that it ends");
}

#[test]
fn taps_apart_do_not_wait_for_each_others_hosts() {
    let (mut child, [mut one, mut two], _dir) = over_pipes(&["--apart"]);
    one.write_all(&Stream::of(&[(1, "a")]).event("a", 1).mark(10, "a", 1).bytes).unwrap();
    let (merged, _) = until_marks(&mut child, 1);
    assert_eq!(merged.marks, [("a".to_owned(), 1)]);
    two.write_all(&Stream::of(&[(1, "b")]).end()).unwrap();
    one.write_all(&{
        let mut end = Vec::new();
        frame::put(&mut end, &Header::new(Kind::END, 1), b"").unwrap();
        end
    })
    .unwrap();
    drop((one, two));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_dead_branch_ends_it_although_others_live() {
    let (child, [mut one, mut two], _dir) = over_pipes(&[]);
    one.write_all(&Stream::of(&[(1, "a")]).event("a", 1).bytes).unwrap();
    two.write_all(&Stream::of(&[(1, "b")]).event("b", 1).bytes).unwrap();
    drop(one);
    let output = child.wait_with_output().unwrap();
    drop(two);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!read(&output.stdout).is_whole);
}

#[test]
fn an_output_that_nobody_reads_ends_it_quietly() {
    let (mut child, [one, two], _dir) = over_pipes(&[]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    drop((one, two));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn misuse_and_what_is_no_stream_are_told() {
    let told = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_frame-merge"));
        command.args(args).stdin(Stdio::null()).output().unwrap().status.code()
    };
    assert_eq!(told(&[]), Some(2));
    assert_eq!(told(&["-", "-"]), Some(2));
    assert_eq!(told(&["ring:a", "ring:a"]), Some(2));
    assert_eq!(told(&["/nowhere/a.frames"]), Some(1));
    let unnamed = {
        let mut bytes = frame::MAGIC.to_vec();
        let header = Header { host: HostId(3), ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut bytes, &header, b"").unwrap();
        bytes
    };
    let (_, output) = run(&[], &[unnamed]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("host id 3"), "{said}");
}
