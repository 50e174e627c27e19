//! With everything in the index, judging an event takes no memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::Read;

use frame::host::Role;
use frame::{Header, HostId, Item, Kind, Tag};

use crate::heal::{Heal, OnGap};
use crate::identity::{Decision, Identities};
use crate::judge::Judge;
use crate::verify::{Foreign, Keys, Legacy, Policy, Proof};

#[path = "../tests/cli/export.rs"]
mod export;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/refnet");

/// The capture as one stream from the host that its directory names.
fn stream() -> Vec<u8> {
    let file = std::fs::File::open(format!("{FOLDER}/firehose.u32be.zst")).unwrap();
    let mut capture = Vec::new();
    zstd::Decoder::new(file).unwrap().read_to_end(&mut capture).unwrap();
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(1), Role::Pds, "localhost:2583").unwrap();
    let mut rest = &capture[..];
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        let header =
            Header { host: HostId(1), ..Header::new(Kind::EVENT, 1_796_083_200_000_000_000) };
        frame::put(&mut stream, &header, body).unwrap();
        rest = tail;
    }
    stream
}

/// Judges the whole stream; gives how many verdicts were ok.
fn judge_all(judge: &mut Judge, stream: &[u8], out: &mut Vec<u8>) -> usize {
    let (mut decoder, mut rest, mut ok) = (frame::Decoder::default(), stream, 0);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        if frame.header.kind != Kind::EVENT {
            judge.hosts.apply(&frame).unwrap();
            continue;
        }
        let (_, Decision::Settled(verdict)) = judge.decide(&frame, None) else { panic!("asks") };
        ok += usize::from(verdict.rule.is_none());
        out.clear();
        frame::put_with(out, &frame, Tag::VERDICT, &verdict.to_bytes()).unwrap();
    }
    ok
}

#[test]
fn judging_allocates_nothing_after_warm_up() {
    let folder = tempfile::tempdir().unwrap();
    let lines = std::fs::read_to_string(format!("{FOLDER}/plc-export.jsonl")).unwrap();
    let index = didindex::DidIndex::open(&export::index(folder.path(), &lines)).unwrap();
    let identities = Identities::new(Some(index), None, Keys::Auto);
    let (keys, legacy, foreign) = (Keys::Auto, Legacy::Pass, Foreign::Mark);
    let proof = Proof::new(Policy { keys, legacy, foreign, trust_relay: false }, None);
    let mut judge = Judge {
        hosts: Default::default(),
        identities,
        proof,
        heads: Default::default(),
        asker: None,
        activity: Default::default(),
        heal: Heal::new(false, OnGap::Pass),
        state: None,
        recent: Default::default(),
        pds: String::new(),
        time_ns: 0,
        hurries: false,
    };
    let (stream, mut out) = (stream(), Vec::new());
    let warm = judge_all(&mut judge, &stream, &mut out);
    // As if nothing had come yet, or the second time would be repeats alone.
    judge.heads.clear();
    let mut again = 0;
    let counted = allocation_counter::measure(|| again = judge_all(&mut judge, &stream, &mut out));
    let taken = counted.count_total;
    assert!(again == warm && again > 6000, "{again} of {warm}");
    assert!(taken <= 1, "{taken} allocations, one is the name of the host");
}
