//! `frame-cat` alone: lines and raw bytes out of a small stream.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use frame::host::Role;
use frame::{Header, HostId, Kind};

/// Two hosts, three events, an end.
fn stream() -> Vec<u8> {
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(1), Role::Pds, "a.example").unwrap();
    frame::host::put(&mut stream, HostId(2), Role::Pds, "../../b:1").unwrap();
    for (host, body) in [(1, "one"), (2, "two!"), (1, "three")] {
        let header = Header { host: HostId(host), ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut stream, &header, body.as_bytes()).unwrap();
    }
    frame::put(&mut stream, &Header::new(Kind::END, 1), b"").unwrap();
    stream
}

fn run(args: &[&str], dir: &Path, input: &[u8]) -> Output {
    e2e::fed(Command::new(env!("CARGO_BIN_EXE_frame-cat")).args(args).current_dir(dir), input)
}

fn kinds(output: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(output).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_frame_is_a_line_and_events_alone_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let all = run(&[], dir.path(), &stream());
    assert_eq!(all.status.code(), Some(0));
    assert_eq!(kinds(&all.stdout), ["host", "host", "event", "event", "event"]);
    let events = run(&["--events"], dir.path(), &stream());
    assert_eq!(kinds(&events.stdout), ["event", "event", "event"]);
}

#[test]
fn raw_events_stand_behind_big_endian_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let expected = b"\0\0\0\x03one\0\0\0\x04two!\0\0\0\x05three";
    let on_stdout = run(&["--raw", "-"], dir.path(), &stream());
    assert_eq!(on_stdout.stdout, expected);
    let in_file = run(&["--raw", "all.u32be"], dir.path(), &stream());
    assert_eq!(std::fs::read(dir.path().join("all.u32be")).unwrap(), expected);
    assert_eq!(kinds(&in_file.stdout).len(), 5, "the lines are printed as well");
    let again = run(&["--raw", "all.u32be"], dir.path(), &stream());
    assert_eq!(again.status.code(), Some(1), "a file is not overwritten unasked");
}

#[test]
fn a_folder_gets_a_file_for_each_host_and_no_name_leads_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["--raw", "out/"], dir.path(), &stream());
    assert_eq!(output.status.code(), Some(0));
    let read = |name: &str| std::fs::read(dir.path().join("out").join(name)).unwrap();
    assert_eq!(read("a.example.u32be"), b"\0\0\0\x03one\0\0\0\x05three");
    assert_eq!(read("_.._b:1.u32be"), b"\0\0\0\x04two!");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_whole_is_printed_before_a_torn_end_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let whole = stream();
    let torn = run(&["--raw", "all.u32be"], dir.path(), &whole[..whole.len() - 1]);
    assert_eq!(torn.status.code(), Some(1));
    assert_eq!(kinds(&torn.stdout).len(), 5);
    assert_eq!(std::fs::read(dir.path().join("all.u32be")).unwrap().len(), 24);
    let said = String::from_utf8(torn.stderr).unwrap();
    let error: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((error["type"].as_str(), error["exit"].as_i64()), (Some("error"), Some(1)));
}
