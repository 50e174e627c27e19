//! The tool alone: frames come out as they went in, and stderr has the count.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use frame::host::Role;
use frame::{Header, HostId, Kind};
use serde_json::Value;

/// A stream of so many events, with an `end` or without.
fn stream(events: u64, whole: bool) -> Vec<u8> {
    let mut stream = Vec::new();
    frame::put_magic(&mut stream);
    frame::host::put(&mut stream, HostId(1), Role::Pds, "a.example").unwrap();
    for seq in 1..=events {
        let header = Header { host: HostId(1), seq, ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut stream, &header, b"some event").unwrap();
    }
    if whole {
        frame::put(&mut stream, &Header::new(Kind::END, 1), b"").unwrap();
    }
    stream
}

fn run(input: &[u8], args: &[&str]) -> Output {
    e2e::fed(Command::new(env!("CARGO_BIN_EXE_frame-meter")).args(args), input)
}

#[test]
fn frames_pass_unchanged_and_are_counted() {
    let input = stream(5_000, true);
    let output = run(&input, &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    // The time in the `end` frame is the stage's own.
    let end = stream(0, true).len() - stream(0, false).len();
    assert_eq!(output.stdout[..input.len() - end], input[..input.len() - end]);
    assert_eq!(output.stdout.len(), input.len());
    let said = String::from_utf8(output.stderr).unwrap();
    let total: Value = serde_json::from_str(said.split_once(": ").unwrap().1).unwrap();
    assert_eq!((&total["type"], &total["events"]), (&"total".into(), &5_000.into()));
    assert_eq!((&total["frames"], &total["bytes"]), (&5_001.into(), &input.len().into()));
}

#[test]
fn a_line_comes_in_every_interval_when_asked_for() {
    let output = run(&stream(2, true), &["--progress", "--name", "joint", "--quiet"]);
    assert_eq!(output.status.code(), Some(2), "--progress and --quiet contradict each other");
    let mut child = Command::new(env!("CARGO_BIN_EXE_frame-meter"))
        .args(["--progress", "--interval", "20ms", "--name", "joint", "-o", "/dev/null"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&stream(2, false)).unwrap();
    let lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(lines).map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("joint: 2 events, ")));
    drop(child.stdin.take());
    assert!(lines.any(|line| line.contains("torn")));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_torn_stream_is_passed_on_as_far_as_it_is_whole() {
    let input = stream(3, false);
    let output = run(&input, &[]);
    assert_eq!((output.status.code(), output.stdout), (Some(1), input));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("frame-meter: 3 events, ") && said.contains("torn"), "{said}");
}

#[test]
fn too_short_an_interval_is_misuse() {
    assert_eq!(run(b"", &["--interval", "1ms"]).status.code(), Some(2));
}
