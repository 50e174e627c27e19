//! Gaps are closed by whole repositories from the accounts' own hosts, over real HTTP, and a verifier
//! that is killed in the middle of it loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

use data_encoding::BASE32_NOPAD;
use e2e::{Chain, Sim, json_lines, tool, wait_until};
use frame::mark::{self, Mark};
use frame::{Decoder, Header, Item, Kind};
use serde_json::Value;

use crate::text;

/// The records of each account, by path.
type Repos = BTreeMap<String, BTreeMap<String, String>>;

/// Events between two marks.
const MARK_EVERY: usize = 40;

/// Every so many-th commit is missed.
const MISSED_EVERY: usize = 9;

fn frames(bytes: &[u8], mut each: impl FnMut(&frame::Frame<'_>, &[u8])) {
    let (mut decoder, mut rest) = (Decoder::default(), bytes);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        let (bytes, behind) = rest.split_at(used);
        rest = behind;
        if let Item::Frame(frame) = item {
            each(&frame, bytes);
        }
    }
}

/// The frames of a stream as `frame-cat` shows them, one line each.
fn shown(stream: &[u8], folder: &std::path::Path) -> Vec<Value> {
    let path = folder.join("shown.frames");
    std::fs::write(&path, stream).unwrap();
    json_lines(&Chain::new().stage("frame-cat", &[text(&path)]).succeed())
}

/// What the accounts of a stream have at its end, and how many `repo` frames say so.
fn records(stream: &[u8], folder: &std::path::Path) -> (Repos, usize) {
    let mut lines = shown(stream, folder).into_iter();
    let (mut repos, mut healed) = (Repos::new(), 0);
    frames(stream, |frame, _| {
        if frame.header.kind == Kind::END {
            return;
        }
        let line = lines.next().expect("a line for each frame but the end");
        match frame.header.kind {
            Kind::REPO => {
                let (repo, mut paths) = frame::repo::read(frame).unwrap();
                let mut records = BTreeMap::new();
                while let Some((path, cid)) = paths.next() {
                    let cid = format!("b{}", BASE32_NOPAD.encode(&cid).to_lowercase());
                    records.insert(String::from_utf8(path.to_vec()).unwrap(), cid);
                }
                healed += 1;
                repos.insert(repo.did.to_owned(), records);
            }
            Kind::EVENT => {
                for op in line["ops"].as_array().into_iter().flatten() {
                    let records = repos.entry(line["did"].as_str().unwrap().into()).or_default();
                    let part = |name: &str| op[name].as_str().map(str::to_owned);
                    let path = [part("collection").unwrap(), part("rkey").unwrap()].join("/");
                    match part("cid") {
                        Some(cid) => records.insert(path, cid),
                        None => records.remove(&path),
                    };
                }
            }
            _ => {}
        }
    });
    (repos, healed)
}

/// The stream with marks, without what is missed: the last commit of an account is not.
fn with_gaps(heard: &[u8], folder: &std::path::Path) -> Vec<u8> {
    let lines = shown(heard, folder);
    let is_commit = |line: &&Value| line["type"] == "#commit";
    let last: BTreeMap<&str, u64> = lines
        .iter()
        .filter(is_commit)
        .map(|line| (line["did"].as_str().unwrap(), line["seq"].as_u64().unwrap()))
        .collect();
    let commits = lines
        .iter()
        .filter(is_commit)
        .filter(|line| last[line["did"].as_str().unwrap()] != line["seq"].as_u64().unwrap());
    let missed: BTreeSet<u64> =
        commits.step_by(MISSED_EVERY).skip(3).map(|line| line["seq"].as_u64().unwrap()).collect();
    let (mut out, mut count) = (frame::MAGIC.to_vec(), 0);
    frames(heard, |frame, bytes| match frame.header.kind {
        Kind::HOST => out.extend_from_slice(bytes),
        Kind::EVENT if !missed.contains(&frame.header.seq) => {
            out.extend_from_slice(bytes);
            count += 1;
            if count % MARK_EVERY == 0 {
                let Header { host, epoch, seq, time_ns, .. } = frame.header;
                mark::put(&mut out, &mut Vec::new(), time_ns, [Mark { host, epoch, seq }]).unwrap();
            }
        }
        _ => {}
    });
    assert!(missed.len() > 20, "{} commits are missed", missed.len());
    out
}

fn end(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    frame::put(&mut stream, &Header::new(Kind::END, 1), b"").unwrap();
    stream
}

/// What of a stream is behind a mark, with the hosts' names in front.
fn behind(stream: &[u8], seq: u64) -> Vec<u8> {
    let mut out = frame::MAGIC.to_vec();
    frames(stream, |frame, bytes| {
        if frame.header.kind == Kind::HOST
            || frame.header.kind == Kind::EVENT && frame.header.seq > seq
        {
            out.extend_from_slice(bytes);
        }
    });
    end(&out)
}

/// What of a stream is up to its last mark, and where that is: the rest is as good as lost.
fn up_to_mark(stream: &[u8]) -> (Vec<u8>, u64) {
    let (mut out, mut whole, mut seq) = (frame::MAGIC.to_vec(), frame::MAGIC.len(), 0);
    frames(stream, |frame, bytes| {
        out.extend_from_slice(bytes);
        if frame.header.kind == Kind::MARK {
            whole = out.len();
            seq = mark::read(frame).unwrap().last().map_or(seq, |mark| mark.seq);
        }
    });
    out.truncate(whole);
    (out, seq)
}

#[test]
fn gaps_are_healed_from_the_hosts_and_a_kill_in_the_middle_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(&[
        "--accounts",
        "15",
        "--events",
        "900",
        "--backfill",
        "900",
        "--seed",
        "11",
        "--mix",
        "all=0,create=70,update=10,delete=20",
    ]);
    let tap = ["--allow-private", "--cursor", "0", "--until-idle", "2", "--host", &sim.hosts[0]];
    let heard = Chain::new().stage("pds-tap", &tap).succeed();
    let expected = records(&heard, folder.path()).0;
    let stream = with_gaps(&heard, folder.path());
    assert!(records(&end(&stream), folder.path()).0 != expected, "something is missing");

    let (state, rejects) = (folder.path().join("state"), folder.path().join("rejects"));
    let args = ["--resolve", &sim.plc, "--allow-private", "--heal", "--force", "--rejects"];
    let args = [&args[..], &[text(&rejects), "--state", text(&state)]].concat();
    let nothing_refused = || {
        let rejected = std::fs::read(&rejects).unwrap();
        frames(&rejected, |frame, _| assert_ne!(frame.header.kind, Kind::EVENT, "{frame:?}"));
    };

    // The first run gets two thirds, and is killed when it has healed an account behind a mark.
    let out = folder.path().join("first.frames");
    let mut first = tool("sig-verify")
        .args(&args)
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let mut cut = 0;
    frames(&stream, |_, bytes| {
        cut += if cut < stream.len() * 2 / 3 { bytes.len() } else { 0 };
    });
    let mut stdin = first.stdin.take().unwrap();
    stdin.write_all(&stream[..frame::MAGIC.len() + cut]).unwrap();
    stdin.flush().unwrap();
    wait_until("a repository that was fetched, and a mark behind it", || {
        let (durable, _) = up_to_mark(&std::fs::read(&out).unwrap());
        let mut healed = 0;
        frames(&durable, |frame, _| healed += usize::from(frame.header.kind == Kind::REPO));
        healed > 0
    });
    first.kill().unwrap();
    first.wait().unwrap();
    nothing_refused();
    let (durable, seq) = up_to_mark(&std::fs::read(&out).unwrap());

    // The second one gets what is behind the last mark.
    let rest = folder.path().join("rest.frames");
    std::fs::write(&rest, behind(&stream, seq)).unwrap();
    let second = Chain::new().stage("sig-verify", &[&args[..], &[text(&rest)]].concat()).succeed();
    nothing_refused();
    let whole = [durable, second].concat();
    let (repos, healed) = records(&whole, folder.path());
    assert!(healed >= 5, "{healed} accounts are healed");
    assert_eq!(repos, expected);
}
