//! Gaps, and how the account's own host closes them.

use atproto::{Cid, Tid};
use frame::Kind;
use frame::repo::Records;
use serde_json::json;

use crate::activity;
use crate::archived;
use crate::chain;
use crate::directory::Reply;
use crate::forge::{Draft, Secret};
use crate::harness::{self, Running, Stream};

/// An account with a chain of commits, at a host that is its directory too.
struct Bench {
    host: activity::Bench,
    chain: Vec<Draft>,
}

impl Bench {
    fn new() -> Bench {
        Bench { host: activity::Bench::new(), chain: chain::Bench::new().chain(7) }
    }

    /// Commit `number` of the account, from 1.
    fn event(&self, number: usize) -> Vec<u8> {
        self.chain[number - 1].body()
    }

    /// What the host answers to `getRepo`.
    fn has(&self, reply: Reply) {
        let path = format!("/xrpc/com.atproto.sync.getRepo?did={}", self.host.did);
        self.host.directory.answer(&path, &[reply]);
    }

    /// The host has the account as of that commit.
    fn is_at(&self, number: usize) {
        self.has(Reply::Bytes(self.chain[number - 1].car()));
    }

    fn stream(&self) -> Stream {
        Stream::of(&self.host.name())
    }

    /// What comes out: events with verdict and notes, and repositories with their rev.
    fn run(&self, options: &[&str], input: &[u8]) -> Vec<String> {
        let url = &self.host.directory.url;
        let args = ["--resolve", url, "--allow-private", "--pass-all", "--heal"];
        self.said(&harness::run(&[&args[..], options].concat(), input))
    }

    fn said(&self, output: &std::process::Output) -> Vec<String> {
        assert_eq!(output.status.code(), Some(0), "{}", harness::text(&output.stderr));
        let (seen, ended) = harness::decode(&output.stdout);
        assert!(ended);
        let said = seen.iter().filter_map(|seen| match seen.kind {
            Kind::EVENT => Some([vec![seen.verdict()], own(seen.notes())].concat().join(" ")),
            Kind::REPO => Some(format!("repo {}", seen.verdict())),
            Kind::MARK => Some("mark".to_owned()),
            _ => None,
        });
        said.collect()
    }

    /// The same, of these commits.
    fn judge(&self, options: &[&str], numbers: &[usize]) -> Vec<String> {
        let mut stream = self.stream();
        for number in numbers {
            stream.event(1, *number as u64, &self.event(*number));
        }
        stream.mark(9);
        self.run(options, &stream.end())
    }
}

fn own(notes: Vec<&str>) -> Vec<String> {
    notes.into_iter().map(str::to_owned).collect()
}

const REPEAT: &str = "unchecked repeat";

#[test]
fn a_gap_is_closed_by_the_whole_repository_and_the_chain_goes_on() {
    let bench = Bench::new();
    bench.is_at(5);
    let said = bench.judge(&[], &[1, 5, 6, 7]);
    assert_eq!(said, ["ok first", "repo ok", REPEAT, "ok", "ok", "mark"]);
    // All that the repository holds already is dropped.
    let said = bench.judge(&[], &[1, 3, 4, 5, 6]);
    assert_eq!(said, ["ok first", "repo ok", REPEAT, REPEAT, REPEAT, "ok", "mark"]);
    assert_eq!(bench.judge(&[], &[1, 2, 3]), ["ok first", "ok", "ok", "mark"], "no gap");
}

#[test]
fn the_frame_says_what_the_repository_holds() {
    let bench = Bench::new();
    bench.is_at(5);
    let mut stream = bench.stream();
    stream.event(1, 1, &bench.event(1));
    stream.event(1, 5, &bench.event(5));
    let args = ["--resolve", &bench.host.directory.url, "--allow-private", "--heal"];
    let output = harness::run(&args, &stream.end());
    let (mut decoder, mut rest, mut repos) = (frame::Decoder::default(), &output.stdout[..], 0);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let frame::Item::Frame(frame) = item else { continue };
        if frame.header.kind != Kind::REPO {
            continue;
        }
        repos += 1;
        let (draft, (repo, mut paths)) = (&bench.chain[4], frame::repo::read(&frame).unwrap());
        assert_eq!((repo.did, Tid(repo.rev).to_string()), (&*draft.did, draft.rev.clone()));
        assert_eq!(
            (&repo.commit, &repo.data),
            (draft.commit.as_bytes(), draft.object.data.as_bytes())
        );
        assert_eq!(repo.block, draft.blocks[0].1);
        let (path, cid) = paths.next().unwrap();
        assert_eq!(
            (path, cid),
            (draft.ops[0].path.as_bytes(), *draft.ops[0].cid.unwrap().as_bytes())
        );
        assert!(paths.next().is_none());
    }
    assert_eq!(repos, 1);
}

#[test]
fn what_does_not_hold_closes_no_gap() {
    let bench = Bench::new();
    let mut forged = bench.chain[4].clone();
    forged.sign(&Secret::new(keys::Curve::K256, 9));
    let mut part = bench.chain[4].clone();
    part.blocks.truncate(2);
    let mut other = Draft::new("did:web:other.example", &bench.host.secret, 5);
    other.sign(&bench.host.secret);
    for (what, reply) in [
        ("a stranger's", Reply::Bytes(forged.car())),
        ("a part", Reply::Bytes(part.car())),
        ("another account's", Reply::Bytes(other.car())),
        ("one that is behind", Reply::Bytes(bench.chain[0].car())),
        ("no CAR", Reply::Bytes(b"no".to_vec())),
        ("none", Reply::Status(404)),
    ] {
        bench.has(reply);
        // One try, and then a pause.
        assert_eq!(bench.judge(&[], &[1, 5, 6]), ["ok first", "ok gap", "ok", "mark"], "{what}");
        let held = bench.judge(&["--on-gap", "hold"], &[1, 5, 6]);
        assert_eq!(held, ["ok first", "unchecked gap gap", "unchecked gap gap", "mark"], "{what}");
    }
    bench.is_at(5);
    let said = bench.judge(&["--on-gap", "hold"], &[1, 5, 6]);
    assert_eq!(said, ["ok first", "repo ok", REPEAT, "ok", "mark"]);
}

/// The verdict on a commit that is held back behind a gap until that is closed: where it was, and
/// where it is not.
pub fn gap_held() -> Option<[String; 2]> {
    let bench = Bench::new();
    let last = |reply: Reply| {
        bench.has(reply);
        let said = bench.judge(&["--on-gap", "hold"], &[1, 5, 6]);
        let verdict = said.get(said.len() - 2)?;
        Some(verdict.strip_suffix(" gap").unwrap_or(verdict).to_owned())
    };
    let whole = Reply::Bytes(bench.chain[4].car());
    Some([last(whole)?, last(Reply::Status(404))?])
}

#[test]
fn a_repository_that_is_not_there_yet_lets_its_account_go_on() {
    let bench = Bench::new();
    // The host is at 3 when the event of 5 comes: 4 is still missing.
    bench.is_at(3);
    assert_eq!(bench.judge(&[], &[1, 5]), ["ok first", "repo ok", "ok gap", "mark"]);
}

#[test]
fn after_a_hole_the_accounts_that_moved_are_found_in_the_hosts_list() {
    let bench = Bench::new();
    bench.is_at(5);
    let list = |did: &str, rev: &str| json!({"did": did, "rev": rev, "head": "x", "active": true});
    let mine = list(&bench.host.did, &bench.chain[4].rev);
    let unknown = list("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", &bench.chain[4].rev);
    let first = json!({"repos": [unknown], "cursor": "next"}).to_string();
    let second = json!({"repos": [mine]}).to_string();
    let path = "/xrpc/com.atproto.sync.listRepos?limit=1000";
    bench.host.directory.answer(path, &[Reply::Json(first)]);
    bench.host.directory.answer(&format!("{path}&cursor=next"), &[Reply::Json(second)]);
    let mut stream = bench.stream();
    stream.event(1, 1, &bench.event(1));
    let hole = frame::hole::Hole { after: 1, until: 9 };
    frame::hole::put(&mut stream.bytes, frame::HostId(1), 1, harness::NOW_NS, hole).unwrap();
    stream.mark(9);
    let quiet = stream.bytes.clone();
    let said = bench.run(&[], &Stream { bytes: quiet }.end());
    assert_eq!(said, ["ok first", "mark", "repo ok"], "no event of it comes");
    stream.event(1, 10, &bench.event(6));
    let mut said = bench.run(&[], &stream.end());
    said.retain(|line| line != "mark");
    assert_eq!(said, ["ok first", "repo ok", "ok"]);
}

#[test]
fn a_healed_account_is_known_to_the_next_run() {
    let bench = Bench::new();
    bench.is_at(5);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let options = ["--state", harness::path(&state)];
    let said = bench.judge(&options, &[1, 4, 5]);
    assert_eq!(said, ["ok first", "repo ok", REPEAT, REPEAT, "mark"]);
    bench.has(Reply::Status(404));
    // What the repository held is a repeat still, and what follows it follows.
    assert_eq!(bench.judge(&options, &[4, 6, 7]), [REPEAT, "ok", "ok", "mark"]);
}

#[test]
fn a_healed_account_is_known_from_the_archive_after_a_kill() {
    let bench = Bench::new();
    bench.is_at(5);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let options = ["--resume", harness::path(&archive)];
    let url = &bench.host.directory.url;
    let args = ["--resolve", url, "--allow-private", "--heal"];
    let mut running = Running::start(&[&args[..], &options].concat());
    let mut stream = bench.stream();
    for number in [1, 5] {
        stream.event(1, number, &bench.event(number as usize));
    }
    stream.mark(5);
    running.feed(&stream.bytes);
    while running.next().kind != Kind::MARK {}
    let judged = running.kill_for_stream();
    archived::store(&archive, &judged);
    bench.has(Reply::Status(404));
    // What the repository held is a repeat still, and what follows it follows.
    assert_eq!(bench.judge(&options, &[4, 5, 6, 7]), [REPEAT, REPEAT, "ok", "ok", "mark"]);
    // An event behind the repository takes its place: what is earlier than that is stale.
    let mut stream = bench.stream();
    stream.event(1, 6, &bench.event(6));
    stream.mark(6);
    archived::store(&archive, &harness::run(&[&args[..], &options].concat(), &stream.end()).stdout);
    assert_eq!(bench.judge(&options, &[5, 6, 7]), ["refused stale-rev", REPEAT, "ok", "mark"]);
}

/// A `repo` frame of that state of the account, with these records.
pub fn repo(draft: &Draft, records: &[(&str, Cid)]) -> Vec<u8> {
    let mut made = Records::default();
    records.iter().for_each(|(path, cid)| made.add(path.as_bytes(), cid.as_bytes()));
    let (did, rev) = (&*draft.object.did, draft.object.rev.parse::<Tid>().unwrap().0);
    let (commit, data) = (*draft.commit.as_bytes(), *draft.object.data.as_bytes());
    let said = frame::repo::Repo { did, rev, commit, data, block: &draft.blocks[0].1 };
    let (mut plain, mut judged) = (Vec::new(), Vec::new());
    frame::repo::put(&mut plain, harness::NOW_NS, &said, &made).unwrap();
    let mut decoder = frame::Decoder::default();
    decoder.next(&frame::MAGIC).unwrap();
    let Some((frame::Item::Frame(frame), _)) = decoder.next(&plain).unwrap() else { panic!() };
    // It says that it was proved.
    let ok = frame::verdict::Verdict::ok(Some([1; 34])).to_bytes();
    frame::put_with(&mut judged, &frame, frame::Tag::VERDICT, &ok).unwrap();
    judged
}

#[test]
fn a_repository_that_comes_in_is_proved_anew() {
    let bench = Bench::new();
    let judge = |between: &[Vec<u8>]| {
        let mut stream = bench.stream();
        stream.event(1, 1, &bench.event(1));
        between.iter().for_each(|frame| stream.bytes.extend_from_slice(frame));
        stream.event(1, 6, &bench.event(6));
        let args = ["--resolve", &bench.host.directory.url, "--allow-private", "--pass-all"];
        let said = bench.said(&harness::run(&args, &stream.end()));
        assert_eq!(said.len(), 2 + between.len());
        assert_eq!(said[0], "ok first");
        said[1..].to_vec()
    };
    let draft = &bench.chain[4];
    let (path, cid) = (&*draft.ops[0].path, draft.ops[0].cid.unwrap());
    let whole = repo(draft, &[(path, cid)]);
    // It is the head, and what follows it follows; the account is asked about by itself.
    assert_eq!(judge(std::slice::from_ref(&whole)), ["repo ok", "ok"]);
    assert_eq!(judge(&[whole.clone(), whole]), ["repo ok", "repo unchecked repeat", "ok"]);

    let forged = |change: &dyn Fn(&mut Draft)| {
        let mut draft = draft.clone();
        change(&mut draft);
        repo(&draft, &[(path, cid)])
    };
    let other = Secret::new(keys::Curve::K256, 9);
    let early = Draft::new(&bench.host.did, &bench.host.secret, 0);
    let later = Tid::new(harness::NOW_NS / 1000 + 300_000_001, 0).to_string();
    for (rule, frame) in [
        ("bad-repo", repo(draft, &[])),
        ("bad-repo", repo(draft, &[(path, Cid::dag_cbor(b"other"))])),
        ("bad-repo", repo(draft, &[(path, cid), ("z.z.z/1", cid)])),
        ("bad-path", repo(draft, &[("z", cid)])),
        ("bad-repo", forged(&|draft| draft.object.data = Cid::dag_cbor(b"other"))),
        ("bad-signature", forged(&|draft| draft.sign(&other))),
        ("bad-cid", forged(&|draft| draft.commit = Cid::dag_cbor(b"other"))),
        ("bad-commit", forged(&|draft| draft.put_commit(b"\xa0".to_vec()))),
        ("did-mismatch", forged(&|draft| draft.object.did = "did:web:other.example".into())),
        ("bad-did", forged(&|draft| draft.object.did = "other".into())),
        ("rev-mismatch", forged(&|draft| draft.object.rev = bench.chain[5].rev.clone())),
        ("stale-rev", repo(&early, &[(&early.ops[0].path, early.ops[0].cid.unwrap())])),
        ("future-rev", {
            let mut draft = draft.clone();
            draft.object.rev = later.clone();
            draft.sign(&bench.host.secret);
            repo(&draft, &[(path, cid)])
        }),
        ("bad-frame", {
            let mut frame = Vec::new();
            frame::put(&mut frame, &frame::Header::new(Kind::REPO, 6), b"repo").unwrap();
            frame
        }),
    ] {
        let said = judge(&[frame]);
        assert_eq!(said, [format!("repo refused {rule}"), "ok gap".to_owned()]);
    }
}

#[test]
fn to_hold_gaps_for_ever_is_misuse() {
    let url = "https://plc.example";
    for args in [&["--on-gap", "hold", "--resolve", url][..], &["--heal", "--index", "x"]] {
        assert_eq!(harness::run(args, b"").status.code(), Some(2), "{args:?}");
    }
}
