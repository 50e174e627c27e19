//! A stretch of the real network, where it is at hand: a relay's frames, and the DID documents of
//! their accounts.

use std::io::Read;

use atproto::event::{self, Event};
use frame::verdict::Status;
use serde_json::Value;

use crate::directory::{Directory, Reply};
use crate::harness::{Stream, proved};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/wild");

#[test]
fn real_commits_hold_under_the_keys_of_real_documents() {
    let Ok(documents) = std::fs::read_to_string(format!("{FOLDER}/did_docs.jsonl")) else {
        return;
    };
    let directory = Directory::start();
    for line in documents.lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        let did = document["id"].as_str().unwrap();
        directory.answer(&format!("/{did}"), &[Reply::Json(line.into())]);
    }
    let file = std::fs::File::open(format!("{FOLDER}/firehose.u32be.zst")).unwrap();
    let mut capture = Vec::new();
    zstd::Decoder::new(file).unwrap().read_to_end(&mut capture).unwrap();
    let (mut rest, mut bodies) = (&capture[..], Vec::new());
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        bodies.push(body);
        rest = tail;
    }
    let mut stream = Stream::of("pds.example");
    for (seq, body) in (0..).zip(&bodies) {
        stream.event(2, seq, body);
    }
    let args = ["--resolve", &directory.url, "--allow-private", "--pass-all"];
    let mut seen = proved(&args, &stream.end());
    seen.sort_by_key(|seen| seen.seq);
    assert_eq!(seen.len(), bodies.len());
    let mut proofs = 0;
    for (seen, body) in seen.iter().zip(bodies) {
        let event = event::parse(body).unwrap();
        let did = event.did().unwrap();
        match event {
            Event::Commit(_) | Event::Sync(_) => {
                assert_eq!(seen.verdict(), "ok", "{did}");
                proofs += 1;
            }
            _ => assert_eq!(seen.verdict.unwrap().status, Status::Unchecked, "{did}"),
        }
    }
    assert!(proofs > 80, "{proofs}");
}
