//! After the first round through a recording nothing is allocated.

use atproto::blocks::Blocks;
use atproto::event::{self, Event};
use atproto::identity::{self, Key};
use atproto::{commit, mst};

use crate::data;

fn round(events: &[Vec<u8>], blocks: &mut Blocks) -> usize {
    let mut found = 0;
    for body in events {
        let Ok(event) = event::parse(body) else { continue };
        identity::of_parsed(&Key([3; 32]), "localhost", 0, 1, body, Some(&event));
        if blocks.fill(body, &event).is_err() {
            continue;
        }
        let Event::Commit(commit) = event else { continue };
        let Some(Ok(signed)) = blocks.get(body, &commit.commit).map(commit::parse) else {
            continue;
        };
        found += usize::from(signed.signed_digest() != [0; 32]);
        for op in commit.ops {
            let cid = mst::find(op.path, &signed.data, &blocks.of(body));
            found += usize::from(cid == Ok(op.cid));
        }
    }
    found
}

#[test]
fn a_second_round_allocates_nothing() {
    let events = data::refnet();
    let mut blocks = Blocks::new();
    let first = round(&events, &mut blocks);
    let mut second = 0;
    let counted = allocation_counter::measure(|| second = round(&events, &mut blocks));
    assert_eq!((first, second), (13_109, 13_109));
    assert_eq!(counted.count_total, 0);
}
