//! Damaged recordings: no parser panics, and each keeps what it promises. The
//! same functions are the targets of long fuzzing.

use atproto::blocks::Blocks;
use atproto::event::{self, Event};
use atproto::identity::{self, Key};
use atproto::spans::{self, Role};
use atproto::{car, cbor, commit, loose, mst};

use crate::data;

/// A sequence that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(7) {
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.insert(at, self.below(256) as u8),
                3 => drop(bytes.remove(at)),
                4 => bytes.truncate(at),
                5 => bytes[at] = [0x1b, 0x5b, 0x7b, 0x9b, 0xbb, 0xdb, 0xfb, 0xff][self.below(8)],
                _ => {
                    let end = at + self.below(bytes.len() - at);
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }
}

fn feed(bytes: &[u8]) {
    cbor::fuzz_cbor(bytes);
    event::fuzz_event(bytes);
    car::fuzz_car(bytes);
    mst::fuzz_mst(bytes);
    mst::fuzz_undo(bytes);
    commit::fuzz_commit(bytes);
    let _ = loose::walk(bytes);
    let _ = spans::read(bytes, 1 << 20).map(Iterator::count);
    identity::of(&Key([1; 32]), "host", 0, 0, bytes);
}

#[test]
fn damaged_recordings_do_no_harm() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut blocks = Blocks::new();
    let mut table = Vec::new();
    for (number, body) in data::refnet().into_iter().enumerate().step_by(7) {
        let event = event::parse(&body).unwrap();
        feed(&body);
        let mut parts = vec![body.clone()];
        parts.extend(event.blocks().map(|(blocks, _)| blocks.to_vec()));
        blocks.fill(&body, &event).unwrap();
        for span in blocks.spans() {
            parts.push(body[span.offset as usize..][..span.length as usize].to_vec());
        }
        table.clear();
        spans::put(&mut table, blocks.spans());
        parts.push(table.clone());
        for part in &parts {
            feed(part);
            for _ in 0..8 {
                let mut damaged = part.clone();
                random.damage(&mut damaged);
                feed(&damaged);
                if let Ok(event) = event::parse(&damaged) {
                    fill(&mut blocks, &damaged, &event, number);
                }
            }
        }
    }
}

/// Blocks of a damaged event either fail or are what their CIDs say.
fn fill(blocks: &mut Blocks, body: &[u8], event: &Event<'_>, number: usize) {
    if blocks.fill(body, event).is_err() {
        assert!(blocks.spans().is_empty(), "event {number}");
        return;
    }
    for span in blocks.spans() {
        let data = &body[span.offset as usize..][..span.length as usize];
        let cid = &body[span.cid_offset as usize..][..36];
        assert!(atproto::Cid::from_slice(cid).unwrap().is_of(data), "event {number}");
        assert!(span.role != Role::Commit || commit::parse(data).is_ok() || event.did().is_some());
    }
}

#[test]
fn deep_and_wide_input_ends_soon() {
    for byte in 0..=255u8 {
        feed(&vec![byte; 100_000]);
    }
    for head in [0x81, 0xc1, 0x9f, 0xbf, 0x5f, 0xd8] {
        let mut deep = [head, 0x2a].repeat(50_000);
        feed(&deep);
        deep.insert(0, head);
        feed(&deep);
    }
}
