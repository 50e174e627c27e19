//! What is known of accounts, out of the archive at the other end of the line.

use std::path::Path;

use archive::{Options, Writer};
use frame::{Decoder, Item};

use crate::chain::Bench;
use crate::forge::{self, Draft};
use crate::harness::{self, Stream};

/// A stream of these events, each with its number, and a mark behind the first `marked` of them.
fn stream(bodies: &[Vec<u8>], marked: usize) -> Vec<u8> {
    let mut stream = Stream::of("pds.example");
    for (seq, body) in (1..).zip(bodies) {
        stream.event(1, seq, body);
        if seq == marked as u64 {
            stream.mark(seq);
        }
    }
    stream.end()
}

fn judge(bench: &Bench, archive: &Path, input: &[u8]) -> Vec<u8> {
    let index = bench.folder.path().join("did.idx");
    let index = ["--index", harness::path(&index), "--resume", harness::path(archive)];
    let output = harness::run(&[&index[..], &["--pass-all"]].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{}", harness::text(&output.stderr));
    output.stdout
}

/// Stores what was judged, as `archive-pack` does.
pub fn store(archive: &Path, judged: &[u8]) {
    let mut writer = Writer::open(archive, Options::default()).unwrap();
    let (mut decoder, mut rest) = (Decoder::default(), judged);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        if let Item::Frame(frame) = item {
            writer.put(&frame).unwrap();
        }
        rest = &rest[used..];
    }
    writer.finish(false).unwrap();
}

fn said(judged: &[u8]) -> Vec<(String, Vec<&'static str>)> {
    harness::events(judged).iter().map(|seen| (seen.verdict(), seen.notes())).collect()
}

fn ok(notes: &[&'static str]) -> (String, Vec<&'static str>) {
    ("ok".to_owned(), notes.to_vec())
}

#[test]
fn it_goes_on_from_the_last_mark_and_what_is_behind_it_comes_again() {
    let bench = Bench::new();
    let archive = bench.folder.path().join("archive");
    let chain: Vec<Vec<u8>> = bench.chain(6).iter().map(Draft::body).collect();
    // No archive is there when the first chain starts.
    let judged = judge(&bench, &archive, &stream(&chain[..4], 2));
    assert_eq!(said(&judged), [ok(&["first"]), ok(&[]), ok(&[]), ok(&[])]);
    store(&archive, &judged);
    // Two are behind the mark: one more time the same.
    assert_eq!(said(&judge(&bench, &archive, &stream(&chain[2..], 9))), vec![ok(&[]); 4]);
    let again = said(&judge(&bench, &archive, &stream(&chain[..2], 9)));
    let verdicts: Vec<&str> = again.iter().map(|(verdict, _)| verdict.as_str()).collect();
    assert_eq!(verdicts, ["refused stale-rev", "unchecked repeat"]);
    let gap = said(&judge(&bench, &archive, &stream(&chain[3..], 9)));
    assert_eq!(gap[0], ok(&["gap"]));
}

#[test]
fn it_knows_who_is_away_and_takes_nothing_for_proved_that_was_not() {
    let bench = Bench::new();
    let archive = bench.folder.path().join("archive");
    let chain: Vec<Vec<u8>> = bench.chain(2).iter().map(Draft::body).collect();
    let mut forged = bench.draft(5);
    forged.put_signature(&[1; 64]);
    let away = forge::account(&bench.did, 2, false);
    let bodies = [chain[0].clone(), forged.body(), away];
    store(&archive, &judge(&bench, &archive, &stream(&bodies, 3)));
    let back = forge::account(&bench.did, 2, true);
    let judged = judge(&bench, &archive, &stream(&[chain[1].clone(), back, chain[1].clone()], 9));
    let inactive = ("unchecked inactive".to_owned(), vec![]);
    assert_eq!(said(&judged), [inactive, ok(&[]), ok(&[])]);
}
