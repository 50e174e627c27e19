//! `frame-split` alone: what goes where, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use frame::host::Role;
use frame::mark::Mark;
use frame::{Decoder, Header, HostId, Item, Kind};

const HOSTS: [(u32, &str); 2] = [(1, "a.example"), (2, "b.example")];

/// An `#identity` event of that account.
fn event(account: usize) -> Vec<u8> {
    let mut event = b"\xa2at\x69#identitybop\x01\xa3cdid\x78\x20".to_vec();
    event.extend(format!("did:plc:{account:024}").bytes());
    event.extend(b"cseq\x01dtimeat");
    event
}

/// A host, accounts and marks, over and over: 20 accounts on two hosts, an event of no account.
fn stream() -> Vec<u8> {
    let mut stream = frame::MAGIC.to_vec();
    for (id, name) in HOSTS {
        frame::host::put(&mut stream, HostId(id), Role::Pds, name).unwrap();
    }
    for seq in 0..400_usize {
        let (account, host) = (seq % 20, 1 + (seq % 2) as u32);
        let header = Header { host: HostId(host), seq: seq as u64, ..Header::new(Kind::EVENT, 1) };
        let body = if seq % 50 == 49 { b"none".to_vec() } else { event(account) };
        frame::put(&mut stream, &header, &body).unwrap();
        if seq % 100 == 99 {
            let mark = Mark { host: HostId(host), epoch: 0, seq: seq as u64 };
            frame::mark::put(&mut stream, &mut Vec::new(), seq as u64, [mark]).unwrap();
        }
    }
    let unknown = Header { host: HostId(2), seq: 7, ..Header::new(Kind(200), 1) };
    frame::put(&mut stream, &unknown, b"of a newer version").unwrap();
    frame::put(&mut stream, &Header::new(Kind::END, 1), b"").unwrap();
    stream
}

fn run(args: &[&str], input: &[u8]) -> Output {
    e2e::fed(Command::new(env!("CARGO_BIN_EXE_frame-split")).args(args), input)
}

/// Kind, host, seq and body of each frame, and whether the stream ended in order.
type Frames = Vec<(Kind, u32, u64, Vec<u8>)>;

fn read(stream: &[u8]) -> (Frames, bool) {
    let (mut decoder, mut rest, mut frames) = (Decoder::default(), stream, Vec::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            let header = frame.header;
            frames.push((header.kind, header.host.0, header.seq, frame.body().to_vec()));
        }
    }
    (frames, decoder.ended())
}

#[test]
fn each_account_goes_to_one_output_in_order_and_marks_to_all() {
    for by in ["did", "host"] {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<String> =
            (0..3).map(|n| dir.path().join(n.to_string()).to_str().unwrap().to_owned()).collect();
        let mut args = vec!["--by", by, "-o"];
        args.extend(paths.iter().map(String::as_str));
        let ended = run(&args, &stream());
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let (mut where_is, mut all) = (BTreeMap::new(), Vec::new());
        for (branch, path) in paths.iter().enumerate() {
            let (frames, is_whole) = read(&std::fs::read(path).unwrap());
            assert!(is_whole);
            let of = |kind| frames.iter().filter(move |frame| frame.0 == kind);
            assert_eq!((of(Kind::HOST).count(), of(Kind::MARK).count()), (2, 4));
            let mut last = 0;
            for (_, host, seq, body) in of(Kind::EVENT) {
                assert!(*seq >= last, "out of order");
                last = *seq;
                let kept_together = match by {
                    "did" if body != b"none" => body.clone(),
                    _ => host.to_le_bytes().to_vec(),
                };
                assert_eq!(*where_is.entry(kept_together).or_insert(branch), branch);
            }
            // Every event before a mark lies before it.
            let mut marks = 0;
            for (kind, _, seq, body) in &frames {
                match *kind {
                    Kind::MARK => marks += 1,
                    Kind::EVENT => assert_eq!(*seq / 100, marks, "{body:?}"),
                    _ => {}
                }
            }
            all.extend(
                frames
                    .into_iter()
                    .filter(|(kind, ..)| ![Kind::HOST, Kind::MARK, Kind::END].contains(kind)),
            );
        }
        let (mut sent, _) = read(&stream());
        sent.retain(|(kind, ..)| ![Kind::HOST, Kind::MARK, Kind::END].contains(kind));
        let key = |frame: &(Kind, u32, u64, Vec<u8>)| (frame.2, frame.3.clone());
        all.sort_by_key(key);
        sent.sort_by_key(key);
        assert!(all == sent, "by {by}");
        assert!(
            where_is.values().any(|branch| *branch != where_is.values().next().copied().unwrap())
        );
    }
}

#[test]
fn a_torn_input_tears_every_output() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let whole = stream();
    let ended = run(&["-o", a, b], &whole[..whole.len() - 60]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("torn"));
    for path in [a, b] {
        assert!(!read(&std::fs::read(path).unwrap()).1);
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    // Standard output is one branch; its reader leaves at once, while the input stays open.
    let mut command = Command::new(env!("CARGO_BIN_EXE_frame-split"));
    command.args(["-o", "-", kept.to_str().unwrap()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("standard output") && said.contains("reader is gone"), "{said}");
}

#[test]
fn misuse_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one");
    let path = path.to_str().unwrap();
    for args in
        [vec!["-o", path], vec!["-o", path, path], vec![], vec!["--by", "rev", "-o", "a", "b"]]
    {
        let ended = run(&args, &stream());
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {ended:?}");
    }
    std::fs::write(path, b"there already").unwrap();
    let ended = run(&["-o", path, "-"], &stream());
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(std::fs::read(path).unwrap(), b"there already");
}
