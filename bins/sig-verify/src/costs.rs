//! With everything in the index, judging an event takes no memory, and always the same time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and tell what they measured"
)]

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use atproto::event;
use frame::host::Role;
use frame::{Header, HostId, Item, Kind, Tag};
use nix::time::{ClockId, clock_gettime};

use crate::batch::Batch;
use crate::heads::Heads;
use crate::heal::{Heal, OnGap};
use crate::hold::Hold;
use crate::identity::{Decision, Identities};
use crate::judge::Judge;
use crate::pds::Hosts;
use crate::resolve::{Resolver, Upstream};
use crate::state::State;
use crate::verify::{Foreign, Keys, Legacy, Policy, Proof};

#[path = "../tests/cli/export.rs"]
mod export;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/refnet");

/// The capture's events.
pub(crate) fn events() -> Vec<Vec<u8>> {
    let file = std::fs::File::open(format!("{FOLDER}/firehose.u32be.zst")).unwrap();
    let mut capture = Vec::new();
    zstd::Decoder::new(file).unwrap().read_to_end(&mut capture).unwrap();
    let (mut rest, mut events) = (&capture[..], Vec::new());
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        events.push(body.to_vec());
        rest = tail;
    }
    events
}

/// The capture as one stream from the host that its directory names.
fn stream() -> Vec<u8> {
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(1), Role::Pds, "localhost:2583").unwrap();
    for body in events() {
        let header =
            Header { host: HostId(1), ..Header::new(Kind::EVENT, 1_796_083_200_000_000_000) };
        frame::put(&mut stream, &header, &body).unwrap();
    }
    stream
}

/// What the capture is judged by: its directory's index, and what is asked for besides.
pub(crate) fn judge(folder: &Path, with_all: bool) -> Judge {
    let lines = std::fs::read_to_string(format!("{FOLDER}/plc-export.jsonl")).unwrap();
    let index = didindex::DidIndex::open(&export::index(folder, &lines)).unwrap();
    let upstream = Upstream {
        url: "http://127.0.0.1:1".into(),
        hosts_at: None,
        allow_private: false,
        ca: None,
        patience: Duration::from_secs(1),
    };
    let mut heads = Heads::default();
    let state = with_all.then(|| State::open(&folder.join("state"), &mut heads).unwrap().0);
    let resolver = with_all.then(|| Resolver::start(&upstream).unwrap());
    Judge {
        hosts: Default::default(),
        identities: Identities::new(Some(index), resolver, Keys::Auto),
        proof: proof(),
        heads,
        asker: with_all.then(|| Hosts::start(&upstream).unwrap()),
        activity: Default::default(),
        heal: Heal::new(with_all, OnGap::Pass),
        state,
        recent: Default::default(),
        pds: String::new(),
        time_ns: 0,
        hurries: false,
    }
}

fn proof() -> Proof {
    let (keys, legacy, foreign) = (Keys::Auto, Legacy::Pass, Foreign::Mark);
    Proof::new(Policy { keys, legacy, foreign, trust_relay: false }, None)
}

/// Judges the whole stream as the stage does; gives how many verdicts were ok.
fn judge_all(judge: &mut Judge, batch: &mut Batch, stream: &[u8], out: &mut Vec<u8>) -> usize {
    let (mut decoder, mut rest, mut ok) = (frame::Decoder::default(), stream, 0);
    let hold = Hold::default();
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        if frame.header.kind == Kind::EVENT {
            assert!(judge.answer(Duration::ZERO).is_none());
            batch.push(&frame, judge, &hold);
            if !batch.is_full() {
                continue;
            }
        }
        ok += decide(judge, batch, out);
        judge.hosts.apply(&frame).unwrap();
    }
    ok + decide(judge, batch, out)
}

fn decide(judge: &mut Judge, batch: &mut Batch, out: &mut Vec<u8>) -> usize {
    batch.prove(judge).unwrap();
    let mut ok = 0;
    for (frame, proved) in batch.events() {
        let decided = proved.and_then(|(outline, it)| judge.decide_proved(&frame, outline, it));
        let (_, decision) = decided.unwrap_or_else(|| judge.decide(&frame, None));
        // Others would be asked about: that takes memory, and is no usual event.
        let Decision::Settled(verdict) = decision else { continue };
        ok += usize::from(verdict.rule.is_none());
        out.clear();
        frame::put_with(out, &frame, Tag::VERDICT, &verdict.to_bytes()).unwrap();
    }
    judge.save().unwrap();
    batch.clear();
    ok
}

#[test]
fn judging_allocates_nothing_after_warm_up() {
    for with_all in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut judge = judge(folder.path(), with_all);
        let mut batch = Batch::new(1, proof).unwrap();
        let (stream, mut out) = (stream(), Vec::new());
        let warm = judge_all(&mut judge, &mut batch, &stream, &mut out);
        // As if nothing had come yet, or the second time would be repeats alone.
        judge.heads.clear();
        let mut again = 0;
        let counted = allocation_counter::measure(|| {
            again = judge_all(&mut judge, &mut batch, &stream, &mut out);
        });
        let taken = counted.count_total;
        assert!(again == warm && again > 6000, "{again} of {warm}");
        assert!(taken <= 1, "{taken} allocations, one is the name of the host ({with_all})");
    }
}

/// What this thread has used of the processor.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    Duration::from(time)
}

#[test]
fn an_event_that_is_verified_100_times_costs_100_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut judge = judge(folder.path(), false);
    let stream = stream();
    let (mut decoder, mut rest) = (frame::Decoder::default(), &stream[..]);
    let mut signed = Vec::new();
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        judge.hosts.apply(&frame).unwrap();
        let is_commit = event::parse(frame.body()).is_ok_and(|event| event.rev().is_some());
        if frame.header.kind == Kind::EVENT && is_commit {
            signed.push(frame);
        }
    }
    let mut cost = |times: usize, each: usize| {
        let begun = cpu();
        for frame in signed.iter().take(each) {
            for _ in 0..times {
                judge.heads.clear();
                let (_, decision) = judge.decide(frame, None);
                assert!(matches!(decision, Decision::Settled(_)));
            }
        }
        (cpu() - begun).as_secs_f64() / (times * each) as f64
    };
    cost(1, signed.len());
    let (once, often) = (cost(1, signed.len()), cost(100, signed.len() / 100));
    println!("an event costs {:.1} us, and {:.1} us the 100th time", once * 1e6, often * 1e6);
    // Nothing that was proved is proved for less: that would be a few hundredths.
    assert!(often > once / 3.0, "{often} and {once}");
}
