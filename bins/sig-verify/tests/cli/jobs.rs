//! Several threads: what comes out is what one thread gives, in the same order.

use std::collections::BTreeSet;

use crate::chain::Bench;
use crate::directory::{self, Directory};
use crate::harness::{self, Stream, path};
use crate::{export, refnet};

/// Runs a stream with so many threads; what came out, and what was kept as rejected.
fn run(jobs: &str, args: &[&str], input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let rejects = folder.path().join("rejects.frames");
    let more = ["--jobs", jobs, "--rejects", path(&rejects)];
    let output = harness::run(&[args, &more].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{}", harness::text(&output.stderr));
    (without_times(&output.stdout), without_times(&std::fs::read(rejects).unwrap()))
}

/// All but the `end`, which says when it was written.
fn without_times(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.truncate(bytes.len() - frame::HEADER_BYTES);
    bytes
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let index = export::index(folder.path(), &refnet::directory());
    let args = ["--index", path(&index)];
    let once = refnet::stream();
    // And each event twice, one behind the other: the second is a repeat, within a batch as well.
    let mut twice = Stream::of("localhost:2583");
    for (number, body) in (1..).zip(refnet::bodies().iter().take(2000)) {
        twice.event(1, 2 * number, body);
        twice.event(1, 2 * number + 1, body);
        if number % 100 == 0 {
            twice.mark(2 * number + 1);
        }
    }
    for (what, input) in [("once", once), ("twice", twice.end())] {
        let expected = run("1", &args, &input);
        for jobs in ["2", "7"] {
            assert!(run(jobs, &args, &input) == expected, "{what}, {jobs} threads");
        }
    }
}

#[test]
fn accounts_keep_their_order_while_answers_are_waited_for() {
    let benches: Vec<Bench> = (1..=8).map(Bench::of).collect();
    let chains: Vec<_> = benches.iter().map(|bench| bench.chain(40)).collect();
    let directory = Directory::start();
    for bench in &benches {
        let document = directory::document(&bench.did, bench.secret.public(), "pds.example");
        directory.answer(&format!("/{}", bench.did), &[document]);
    }
    let mut stream = Stream::of("pds.example");
    let mut seq = 0;
    for number in 0..40 {
        for chain in &chains {
            seq += 1;
            stream.event(1, seq, &chain[number].body());
        }
        stream.mark(seq);
    }
    let args = ["--resolve", &directory.url, "--allow-private", "--jobs", "3"];
    let output = harness::run(&args, &stream.end());
    let (seen, ended) = harness::decode(&output.stdout);
    assert!(ended);
    let (mut passed, mut last) = (BTreeSet::new(), std::collections::HashMap::new());
    for frame in &seen {
        match frame.kind {
            frame::Kind::EVENT => {
                assert!(frame.is_ok() && !frame.notes().contains(&"gap"), "{}", frame.verdict());
                passed.insert(frame.seq);
                let before = last.insert((frame.seq - 1) % 8, frame.seq);
                assert!(before.is_none_or(|before| before < frame.seq), "an account's order");
            }
            frame::Kind::MARK => {
                assert!(passed.range(..=frame.seq).count() as u64 == frame.seq, "a mark overtook");
            }
            _ => {}
        }
    }
    assert_eq!(passed.len() as u64, seq);
}
