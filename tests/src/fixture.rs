//! What the official servers sent, and what an independent program says of it.

use std::io::Read;
use std::path::{Path, PathBuf};

/// A file or folder under `tests/fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// The events of the capture, each as it came off the socket.
pub fn refnet_events() -> Vec<Vec<u8>> {
    let file = std::fs::File::open(fixture("refnet/firehose.u32be.zst")).expect("the capture");
    let mut bytes = Vec::new();
    zstd::Decoder::new(file).expect("zstd").read_to_end(&mut bytes).expect("zstd");
    split(&bytes)
}

/// Events that stand behind big-endian lengths.
pub fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (event, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        events.push(event.to_vec());
        bytes = rest;
    }
    events
}

/// The independent verdict on one event. `None` where there is no signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The event's seq.
    pub seq: u64,
    /// Its type.
    pub t: String,
    /// Whether the account's present key proves it.
    pub current: Option<bool>,
    /// Whether the key that was valid at its rev proves it.
    pub at_time: Option<bool>,
}

/// The independent verdicts, in the order of the events.
pub fn truths() -> Vec<Truth> {
    let file = std::fs::File::open(fixture("refnet/verdicts.jsonl.zst")).expect("the verdicts");
    let mut text = String::new();
    zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text).expect("zstd");
    let good = |value: &serde_json::Value| value.as_str().map(|word| word == "ok");
    let truth = |line| {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        Truth {
            seq: value["seq"].as_u64().expect("seq"),
            t: value["t"].as_str().expect("t").into(),
            current: good(&value["current"]),
            at_time: good(&value["at_time"]),
        }
    };
    text.lines().map(truth).collect()
}
