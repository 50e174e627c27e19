//! A file of a dump: what is in it, and its lines, some at a time.
//!
//! What packs it is told by its first bytes and not by its name: a server may have unpacked it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::index::hex;
use crate::page;

/// Longest line; operations have some thousand bytes.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Longest skippable frame that is read.
const LABEL_BYTES_MAX: u64 = 1 << 20;

/// Skippable frames of zstd begin with 0x184D2A50 to 0x184D2A5F.
const SKIPPABLE: u32 = 0x184D_2A50;

const BUFFER_BYTES: usize = 256 << 10;

/// What a bundle of the newer form says of itself, in a skippable frame before all others.
#[derive(Debug, Deserialize)]
pub(super) struct Label {
    origin: Option<String>,
    pub(super) content_hash: Option<String>,
    pub(super) parent_hash: Option<String>,
}

/// What is in a file, once all of it was read.
#[derive(Debug)]
pub(super) struct Content {
    /// SHA-256 of what is packed, in hex.
    pub(super) hash: String,
    pub(super) lines: u64,
    pub(super) label: Option<Label>,
}

impl Content {
    /// Reads a file to its end, so that whatever its packing checks is checked. Nothing if it is
    /// stopped.
    pub(super) fn of(file: &mut File, stop: impl Fn() -> bool) -> io::Result<Option<Self>> {
        let label = label(file)?;
        file.seek(SeekFrom::Start(0))?;
        let mut reader = open(file.try_clone()?)?;
        let (mut hash, mut lines, mut last) = (Sha256::new(), 0, b'\n');
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = reader.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            hash.update(bytes);
            lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            last = bytes.last().copied().unwrap_or(last);
            if stop() {
                return Ok(None);
            }
        }
        lines += u64::from(last != b'\n');
        Ok(Some(Self { hash: hex(&hash.finalize()), lines, label }))
    }

    /// Where its operations come from, if it says so.
    pub(super) fn origin(&self) -> Option<String> {
        self.label.as_ref().and_then(|label| label.origin.clone())
    }
}

/// Reads the skippable frame at the beginning, if there is one that says something we know.
fn label(file: &mut File) -> io::Result<Option<Label>> {
    let mut head = [0; 8];
    if file.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let [a, b, c, d, length @ ..] = head;
    let length = u64::from(u32::from_le_bytes(length));
    if u32::from_le_bytes([a, b, c, d]) & !0xf != SKIPPABLE || length > LABEL_BYTES_MAX {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Unpacks a file that is at its beginning.
fn open(file: File) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let head: Vec<u8> = reader.fill_buf()?.iter().take(4).copied().collect();
    Ok(match *head.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(zstd::Decoder::with_buffer(reader)?)
        }
        _ => Box::new(reader),
    })
}

/// Whole lines of a file, some at a time.
pub(super) struct Chunks {
    reader: BufReader<Box<dyn Read>>,
    bytes: usize,
    /// Lines that were handed out, and of them those of the last chunk.
    lines: usize,
    last: usize,
}

impl Chunks {
    /// The file is to be at its beginning. A chunk is about so long.
    pub(super) fn new(file: File, bytes: usize) -> io::Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, open(file)?);
        Ok(Self { reader, bytes, lines: 0, last: 0 })
    }

    /// The next lines, each with its end but perhaps the last of all.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = Vec::with_capacity(self.bytes + BUFFER_BYTES);
        self.last = self.lines;
        while chunk.len() < self.bytes {
            let before = chunk.len();
            let limit = LINE_BYTES_MAX as u64;
            (&mut self.reader).take(limit).read_until(b'\n', &mut chunk)?;
            if chunk.len() - before == LINE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if chunk.len() == before {
                break;
            }
            self.lines += 1;
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// The number in the file of a line of the last chunk that is no operation.
    pub(super) fn line(&self, error: &page::Error) -> usize {
        self.last + error.line()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_file_is_the_same_however_it_is_packed() {
        let text = b"one\ntwo\nthree";
        let frames = |parts: &[&[u8]]| -> Vec<u8> {
            parts.iter().flat_map(|part| zstd::encode_all(*part, 1).unwrap()).collect()
        };
        let label = br#"{"origin":"https://a","content_hash":"x","parent_hash":""}"#;
        let mut labelled =
            [&SKIPPABLE.to_le_bytes()[..], &(label.len() as u32).to_le_bytes()].concat();
        labelled.extend_from_slice(label);
        labelled.extend(frames(&[b"one\ntw", b"o\nthree"]));
        let packed = [
            text.to_vec(),
            gzip(text),
            [gzip(b"one\n"), gzip(b"two\nthree")].concat(),
            frames(&[text]),
            labelled,
        ];
        for (number, packed) in packed.iter().enumerate() {
            let mut opened = file(packed);
            let content = Content::of(&mut opened, || false).unwrap().unwrap();
            assert_eq!(content.lines, 3);
            assert_eq!(content.hash, hex(&Sha256::digest(text)), "{number}");
            assert_eq!(content.origin().is_some(), number == 4);
            opened.seek(SeekFrom::Start(0)).unwrap();
            let mut chunks = Chunks::new(opened, 5).unwrap();
            let mut found = Vec::new();
            while let Some(chunk) = chunks.next().unwrap() {
                found.push(String::from_utf8(chunk).unwrap());
            }
            assert_eq!(found, ["one\ntwo\n", "three"]);
        }
    }

    #[test]
    fn a_file_that_breaks_off_or_is_damaged_is_an_error() {
        let text = "{}\n".repeat(5000);
        let whole = gzip(text.as_bytes());
        let mut flipped = whole.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        for packed in [&whole[..whole.len() - 9], &whole[..12], &flipped] {
            assert!(Content::of(&mut file(packed), || false).is_err());
        }
        let whole = zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert!(Content::of(&mut file(&whole[..whole.len() - 1]), || false).is_err());
    }
}
