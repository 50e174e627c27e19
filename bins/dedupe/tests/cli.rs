//! `dedupe` alone: what is a copy and what is not.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::io::Read;
use std::process::{Command, Stdio};

use frame::host::Role;
use frame::{Decoder, Header, HostId, Item, Kind};

const PDS: [(u32, Role, &str); 2] = [(1, Role::Pds, "a.example"), (2, Role::Pds, "b.example")];
const RELAYS: [(u32, Role, &str); 2] =
    [(3, Role::Relay, "r.example"), (4, Role::Relay, "s.example")];

/// A signed event off the wire: the first commit of the capture.
fn commit() -> Vec<u8> {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/refnet/firehose.u32be.zst");
    let mut decoder = zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
    loop {
        let mut len = [0; 4];
        decoder.read_exact(&mut len).unwrap();
        let mut event = vec![0; u32::from_be_bytes(len) as usize];
        decoder.read_exact(&mut event).unwrap();
        if event.windows(7).any(|bytes| bytes == b"#commit") {
            return event;
        }
    }
}

/// An event that nobody signed.
const UNSIGNED: &[u8] = b"\xa2atd#newbop\x01\xa0";

/// A stream of these events, as (host, seq, body), with a mark at its end.
fn stream(events: &[(u32, u64, &[u8])]) -> Vec<u8> {
    let mut stream = frame::MAGIC.to_vec();
    for (id, role, name) in PDS.into_iter().chain(RELAYS) {
        frame::host::put(&mut stream, HostId(id), role, name).unwrap();
    }
    for (host, seq, body) in events {
        let header = Header { host: HostId(*host), seq: *seq, ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut stream, &header, body).unwrap();
    }
    frame::mark::put(&mut stream, &mut Vec::new(), 1, []).unwrap();
    frame::put(&mut stream, &Header::new(Kind::END, 1), b"").unwrap();
    stream
}

/// What `dedupe` lets through, as (host, seq); fails unless the mark went through, too.
fn kept(args: &[&str], input: &[u8]) -> Vec<(u32, u64)> {
    let output = e2e::fed(Command::new(env!("CARGO_BIN_EXE_dedupe")).args(args), input);
    assert_eq!(output.status.code(), Some(0));
    let (mut decoder, mut rest) = (Decoder::default(), &output.stdout[..]);
    let (mut kept, mut marks) = (Vec::new(), 0);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        marks += usize::from(frame.header.kind == Kind::MARK);
        if frame.header.kind == Kind::EVENT {
            kept.push((frame.header.host.0, frame.header.seq));
        }
    }
    assert!(decoder.ended() && marks > 0);
    kept
}

#[test]
fn a_signed_event_is_a_copy_within_a_side_whatever_its_seq() {
    let commit = commit();
    let sent: Vec<(u32, u64, &[u8])> =
        [(1, 5), (1, 6), (2, 5), (3, 9), (4, 1), (2, 7)].map(|(h, s)| (h, s, &commit[..])).into();
    assert_eq!(kept(&[], &stream(&sent)), [(1, 5), (2, 5), (3, 9)]);
}

#[test]
fn a_forgery_that_comes_first_does_not_hide_the_truth() {
    let commit = commit();
    let mut forged = commit.clone();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    let sent = [(1, 5, &forged[..]), (1, 6, &commit), (3, 1, &forged), (4, 1, &commit)];
    assert_eq!(kept(&[], &stream(&sent)).len(), 4);
}

#[test]
fn an_unsigned_event_is_a_copy_only_if_the_same_host_sends_it_again() {
    let sent = [(1, 5, UNSIGNED), (1, 6, UNSIGNED), (2, 5, UNSIGNED), (1, 5, UNSIGNED)];
    assert_eq!(kept(&[], &stream(&sent)), [(1, 5), (1, 6), (2, 5)]);
}

#[test]
fn what_was_seen_stays_seen_over_streams_whose_ids_mean_other_hosts() {
    let commit = commit();
    let first = stream(&[(1, 5, &commit)]);
    // The same id, another host.
    let mut second = frame::MAGIC.to_vec();
    frame::host::put(&mut second, HostId(1), Role::Pds, "b.example").unwrap();
    frame::host::put(&mut second, HostId(2), Role::Pds, "a.example").unwrap();
    for host in [1, 2] {
        let header = Header { host: HostId(host), seq: 5, ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut second, &header, &commit).unwrap();
    }
    frame::put(&mut second, &Header::new(Kind::END, 1), b"").unwrap();
    assert_eq!(kept(&[], &[first, second].concat()), [(1, 5), (1, 5)]);
}

#[test]
fn a_copy_later_than_the_window_goes_through() {
    let commit = commit();
    let unsigned = (2..40).map(|seq| (2, seq, UNSIGNED));
    let sent: Vec<(u32, u64, &[u8])> =
        [(1, 1, &commit[..])].into_iter().chain(unsigned).chain([(1, 2, &commit[..])]).collect();
    assert_eq!(kept(&["--window", "9"], &stream(&sent)).len(), sent.len());
    assert_eq!(kept(&["--window", "100"], &stream(&sent)).len(), sent.len() - 1);
}

#[test]
fn a_window_of_nothing_is_misuse() {
    for args in [["--window", "0"], ["--window", "18446744073709551615"], ["--window-age", "0"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dedupe"));
        let refused = command.args(args).stdin(Stdio::null()).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn what_cannot_be_had_is_named() {
    for (args, named) in [
        (["--index", "/nowhere/did.idx"], "/nowhere/did.idx"),
        // As much as there are addresses for, and more than there is memory.
        (["--window", "70368744177664"], "70368744177664 events"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dedupe"));
        let failed = command.args(args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains(named), "{said}");
    }
}
