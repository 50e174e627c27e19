//! Sabotage: the events of a capture, each damaged in each of many ways, have to be refused under a
//! rule that names the damage; and undamaged they have to be proved.
//!
//! A damaged event comes right before the one that it was made of, so that it is held against the
//! same state. `make sabotage` takes every event; `make test` one in `SABOTAGE_EVERY`. Both print
//! which damage was refused under which rule, and how often.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    reason = "tests fail by panicking; the harness is that of another test"
)]

#[path = "cli/export.rs"]
mod export;
#[path = "cli/harness.rs"]
mod harness;

#[path = "sabotage/damages.rs"]
mod damages;
#[path = "sabotage/pieces.rs"]
mod pieces;

use std::collections::BTreeMap;
use std::io::Read;

use crate::damages::{Around, DAMAGES, Damage, HARMLESS};
use crate::harness::{Seen, Stream};
use crate::pieces::Pieces;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/refnet");

/// One event in so many, where nothing else is said.
const EVERY: usize = 40;

/// A line of the export for an account whose key is at hand: one beside those of the capture.
fn sibling() -> String {
    let point = damages::sibling_key().verifying_key().to_sec1_point(true);
    let key = keys::PublicKey::from_compressed(keys::Curve::K256, point.as_bytes()).unwrap();
    let line = serde_json::json!({
        "did": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "operation": {
            "type": "plc_operation",
            "verificationMethods": { "atproto": key.to_did_key() },
            "rotationKeys": [],
            "alsoKnownAs": [],
            "services": { "atproto_pds": {
                "type": "AtprotoPersonalDataServer", "endpoint": "http://localhost:2583",
            }},
            "prev": null,
            "sig": "x",
        },
        "cid": "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
        "nullified": false,
        "createdAt": "2023-01-01T00:00:00.000Z",
    });
    format!("{line}\n")
}

struct Capture {
    _folder: tempfile::TempDir,
    index: String,
    bodies: Vec<Vec<u8>>,
    /// Of each event whether it is proved as it is, and by a key of P-256.
    proved: Vec<Option<bool>>,
}

impl Capture {
    fn read() -> Capture {
        let file = std::fs::File::open(format!("{FOLDER}/firehose.u32be.zst")).unwrap();
        let mut capture = Vec::new();
        zstd::Decoder::new(file).unwrap().read_to_end(&mut capture).unwrap();
        let (mut rest, mut bodies) = (&capture[..], Vec::new());
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (body, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            bodies.push(body.to_vec());
            rest = tail;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut lines = std::fs::read_to_string(format!("{FOLDER}/plc-export.jsonl")).unwrap();
        lines.push_str(&sibling());
        let index = harness::path(&export::index(folder.path(), &lines)).to_owned();
        let mut capture = Capture { _folder: folder, index, bodies, proved: Vec::new() };
        let seen = capture.judge(&capture.bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
        capture.proved = seen
            .iter()
            .map(|seen| {
                seen.is_ok().then(|| seen.verdict.unwrap().key.is_some_and(|key| key[0] == 2))
            })
            .collect();
        capture
    }

    /// What is said of events that come from the accounts' own host.
    fn judge(&self, bodies: &[&[u8]]) -> Vec<Seen> {
        let mut stream = Stream::of("localhost:2583");
        for (seq, body) in (1..).zip(bodies) {
            stream.event(1, seq, body);
        }
        let args = ["--index", &self.index, "--legacy", "refuse", "--pass-all"];
        let seen = harness::proved(&args, &stream.end());
        assert_eq!(seen.len(), bodies.len());
        seen
    }

    /// Another account's proved event of the same kind.
    fn other(&self, at: usize, pieces: &Pieces) -> Option<Pieces> {
        let numbers = (at + 1..self.bodies.len()).chain(0..at);
        numbers.filter(|number| self.proved[*number].is_some()).find_map(|number| {
            let other = Pieces::of(&self.bodies[number])?;
            let differs = other.commit()["did"] != pieces.commit()["did"]
                && other.commit()["data"] != pieces.commit()["data"];
            (other.is_commit() == pieces.is_commit() && differs).then_some(other)
        })
    }
}

/// What became of each damage: how often which rule.
type Table = BTreeMap<&'static str, BTreeMap<String, usize>>;

/// An event that is to be damaged, and another to take parts from.
struct Pick {
    at: usize,
    pieces: Pieces,
    other: Pieces,
}

impl Pick {
    fn damaged(&self, capture: &Capture, damage: &Damage) -> Option<Vec<u8>> {
        let around = Around { other: &self.other, is_p256: capture.proved[self.at] == Some(true) };
        (damage.make)(&self.pieces, &around)
    }
}

/// Puts the damaged events before their origin, or in its place if they are to be proved, among all
/// events of the capture; and counts what is said of them.
fn sabotage(
    capture: &Capture,
    picks: &[Pick],
    table: &mut Table,
    of: impl Fn(usize) -> &'static [Damage],
) {
    let mut damaged: BTreeMap<usize, Vec<(&Damage, Vec<u8>)>> = BTreeMap::new();
    for (number, pick) in picks.iter().enumerate() {
        let events = of(number).iter().filter_map(|it| Some((it, pick.damaged(capture, it)?)));
        damaged.insert(pick.at, events.collect());
    }
    let mut bodies: Vec<&[u8]> = Vec::new();
    let mut origins: Vec<(usize, Option<&Damage>)> = Vec::new();
    for (at, body) in capture.bodies.iter().enumerate() {
        let mut is_replaced = false;
        for (damage, event) in damaged.get(&at).into_iter().flatten() {
            bodies.push(event);
            origins.push((at, Some(*damage)));
            is_replaced |= damage.rules.is_empty();
        }
        if !is_replaced {
            bodies.push(body);
            origins.push((at, None));
        }
    }
    let mut wrong = Vec::new();
    for (seen, (at, damage)) in capture.judge(&bodies).iter().zip(&origins) {
        let verdict = seen.verdict();
        let Some(damage) = damage else {
            assert_eq!(seen.is_ok(), capture.proved[*at].is_some(), "event {at}: {verdict}");
            continue;
        };
        let rule = verdict.strip_prefix("refused ");
        let is_named = match rule {
            Some(rule) => damage.rules.contains(&rule),
            None => damage.rules.is_empty() && verdict == "ok",
        };
        if !is_named {
            wrong.push(format!("event {at}: {}: {verdict}", damage.name));
        }
        let row = table.entry(damage.name).or_default();
        *row.entry(rule.unwrap_or(&verdict).to_owned()).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} under another rule: {wrong:#?}", wrong.len());
}

#[test]
fn each_damage_is_refused_under_a_rule_that_names_it() {
    let capture = Capture::read();
    let every = std::env::var("SABOTAGE_EVERY").map_or(EVERY, |every| every.parse().unwrap());
    let proved = (0..capture.bodies.len()).filter(|at| capture.proved[*at].is_some());
    let signed = proved.filter_map(|at| Some((at, Pieces::of(&capture.bodies[at])?)));
    let picks: Vec<Pick> = signed
        .step_by(every)
        .filter_map(|(at, pieces)| {
            let other = capture.other(at, &pieces)?;
            Some(Pick { at, pieces, other })
        })
        .collect();
    let mut table = Table::new();
    // Every event damaged in every way is too much to hold at once.
    for damages in DAMAGES.chunks(if every == 1 { 4 } else { DAMAGES.len() }) {
        sabotage(&capture, &picks, &mut table, |_| damages);
    }
    // An event is proved once, so each has one harmless change at a time.
    for turn in 0..if every == 1 { HARMLESS.len() } else { 1 } {
        sabotage(&capture, &picks, &mut table, |number| {
            let place = (number + turn) % HARMLESS.len();
            &HARMLESS[place..=place]
        });
    }
    println!("{} events, one in {every}: how often which damage met which rule", picks.len());
    for damage in DAMAGES.iter().chain(HARMLESS) {
        let row = table.get(damage.name);
        let row = row.unwrap_or_else(|| panic!("{}: no event has such a part", damage.name));
        let cells: Vec<String> =
            row.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        println!("{:<36} {}", damage.name, cells.join(", "));
    }
}

#[test]
fn old_events_under_new_numbers_are_copies_or_stale() {
    let capture = Capture::read();
    let mut bodies: Vec<&[u8]> = capture.bodies.iter().map(Vec::as_slice).collect();
    bodies.extend(capture.bodies.iter().map(Vec::as_slice));
    let seen = capture.judge(&bodies);
    let (mut rows, count) = (BTreeMap::<String, usize>::new(), capture.bodies.len());
    for (at, seen) in seen.iter().skip(count).enumerate() {
        let is_signed =
            seen.verdict.unwrap().key.is_some() || Pieces::of(&capture.bodies[at]).is_some();
        if capture.proved[at].is_none() || !is_signed {
            continue;
        }
        let verdict = seen.verdict();
        // A `#sync` of the head may come again, and has no effect.
        let is_named = ["refused stale-rev", "unchecked repeat"].contains(&verdict.as_str())
            || verdict == "ok" && !Pieces::of(&capture.bodies[at]).unwrap().is_commit();
        assert!(is_named, "event {at}: {verdict}");
        *rows.entry(verdict).or_default() += 1;
    }
    println!("all events once more: {rows:?}");
    assert!(rows["refused stale-rev"] > 5000, "{rows:?}");
}

#[test]
fn unsigned_events_count_from_their_host_and_in_their_form() {
    let capture = Capture::read();
    let unsigned: Vec<&[u8]> = capture
        .bodies
        .iter()
        .map(Vec::as_slice)
        .filter(|body| Pieces::of(body).is_none())
        .collect();
    let mut stream = Stream::of("localhost:2583");
    stream.host(3, frame::host::Role::Pds, "other.example");
    let mut expected = Vec::new();
    for (seq, body) in (1..).zip(&unsigned) {
        let cut = &body[..body.len() - 1];
        for (host, body, verdict) in [
            (3, *body, "refused wrong-host"),
            (2, body, "unchecked hearsay"),
            (1, cut, "refused bad-frame"),
            (1, body, "ok"),
        ] {
            stream.event(host, seq, body);
            expected.push(verdict);
        }
    }
    let seen = harness::proved(&["--index", &capture.index, "--pass-all"], &stream.end());
    let verdicts: Vec<String> = seen.iter().map(Seen::verdict).collect();
    assert!(!expected.is_empty());
    assert_eq!(verdicts, expected);
    println!(
        "{} unsigned events: from elsewhere, over a relay, cut, and as they are",
        unsigned.len()
    );
}
