//! Makes the corpus of each target from the fixtures: what real servers sent, and its parts.
//!
//! `corpus FIXTURES CORPUS`: from `tests/fixtures` into a folder for each target.

use std::error::Error;
use std::path::Path;

/// One event in so many, and the same of a directory's lines.
const EVERY: usize = 97;

struct Corpus<'p> {
    folder: &'p Path,
    count: usize,
}

impl Corpus<'_> {
    fn put(&mut self, target: &str, bytes: &[u8]) -> std::io::Result<()> {
        let folder = self.folder.join(target);
        std::fs::create_dir_all(&folder)?;
        self.count += 1;
        std::fs::write(folder.join(format!("fixture-{}", self.count)), bytes)
    }

    fn event(&mut self, body: &[u8]) -> Result<(), Box<dyn Error>> {
        self.put("event", body)?;
        self.put("undo", body)?;
        let header = frame::Header::new(frame::Kind::EVENT, 1);
        let mut stream = frame::MAGIC.to_vec();
        frame::put(&mut stream, &header, body)?;
        self.put("frame", &stream)?;
        let event = atproto::event::parse(body)?;
        let Some((car, _)) = event.blocks() else { return Ok(()) };
        self.put("car", car)?;
        self.put("repo", car)?;
        for block in atproto::car::parse(car)?.blocks() {
            let block = block?.data;
            self.put("cbor", block)?;
            self.put("dag_cbor", block)?;
            if atproto::commit::parse(block).is_ok() {
                self.put("commit", block)?;
            } else if atproto::mst::Node::parse(block).is_ok() {
                self.put("mst", block)?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(fixtures), Some(folder)) = (args.next(), args.next()) else {
        return Err("usage: corpus FIXTURES CORPUS".into());
    };
    let (fixtures, folder) = (Path::new(&fixtures), Path::new(&folder));
    let mut corpus = Corpus { folder, count: 0 };
    let packed = std::fs::read(fixtures.join("refnet/firehose.u32be.zst"))?;
    let capture = zstd::decode_all(&packed[..])?;
    let (mut rest, mut number) = (&capture[..], 0);
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        if number % EVERY == 0 {
            corpus.event(body)?;
        }
        (rest, number) = (tail, number + 1);
    }
    corpus.put("frame", &std::fs::read(fixtures.join("archive/input.frames"))?)?;
    let export = std::fs::read_to_string(fixtures.join("refnet/plc-export.jsonl"))?;
    for line in export.lines().step_by(EVERY / 8) {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if let Some(key) = line["operation"]["verificationMethods"]["atproto"].as_str() {
            corpus.put("did_key", key.as_bytes())?;
        }
    }
    Ok(())
}
