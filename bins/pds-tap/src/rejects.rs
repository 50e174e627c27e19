//! What could not be read, kept for study: a frame stream in a file of its own.
//!
//! Each run appends a stream of its own (a magic in mid-stream is a new stream), after a torn end
//! that a killed run may have left has been cut off. The file is bounded, because what fills it is
//! chosen by strangers.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use frame::host::Role;
use frame::verdict::{Rule, Verdict};
use frame::{Decoder, Header, HostId, Kind, Tag};

/// The file doesn't grow beyond this.
const BYTES_MAX: u64 = 1 << 30;

/// How much of an older file is read at a time, to find its whole part.
const READ_BYTES: usize = 1 << 20;

/// The file of rejects.
pub(crate) struct Rejects {
    path: PathBuf,
    file: File,
    bytes: u64,
    named: Vec<bool>,
    buffer: Vec<u8>,
}

impl Rejects {
    /// Opens or makes the file, which has to be a frame stream if there is something in it.
    ///
    /// # Errors
    /// What the system says, or what is wrong with the file.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<(File, u64)> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let bytes = whole_bytes(&mut file)?;
            file.set_len(bytes)?;
            file.seek(SeekFrom::Start(bytes))?;
            Ok((file, bytes))
        };
        let (file, bytes) = open().with_context(|| path.display().to_string())?;
        let mut buffer = Vec::new();
        frame::put_magic(&mut buffer);
        Ok(Self { path: path.into(), file, bytes, named: Vec::new(), buffer })
    }

    /// Keeps the bytes of an event that was refused under a rule. `false` when the file is full.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn keep(
        &mut self,
        (host, role, name): (HostId, Role, &str),
        time_ns: u64,
        rule: Rule,
        bytes: &[u8],
    ) -> anyhow::Result<bool> {
        if self.bytes + self.buffer.len() as u64 + bytes.len() as u64 > BYTES_MAX {
            return Ok(false);
        }
        let index = host.0 as usize;
        if self.named.len() <= index {
            self.named.resize(index + 1, false);
        }
        if let Some(named) = self.named.get_mut(index).filter(|named| !**named) {
            *named = true;
            frame::host::put(&mut self.buffer, host, role, name)?;
        }
        let header = Header { host, ..Header::new(Kind::EVENT, time_ns) };
        let verdict = Verdict::refused(rule).to_bytes();
        let sections = [(Tag::VERDICT, Some(&verdict[..])), (Tag::NUMBER, None)];
        frame::put_with_two(&mut self.buffer, &header, bytes, sections)?;
        self.write()?;
        Ok(true)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        frame::put(&mut self.buffer, &Header::new(Kind::END, cli::now_ns()), b"")?;
        self.write()
    }

    /// At once and in one piece: a kill leaves at most one torn end.
    fn write(&mut self) -> anyhow::Result<()> {
        self.file.write_all(&self.buffer).with_context(|| self.path.display().to_string())?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// How much of a file is whole frames.
fn whole_bytes(file: &mut File) -> anyhow::Result<u64> {
    let mut decoder = Decoder::default();
    let mut buffer = Vec::new();
    let mut chunk = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(decoder.offset());
        }
        buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let mut used = 0;
        while let Some((_, taken)) = decoder.next(buffer.get(used..).unwrap_or_default())? {
            used += taken;
        }
        buffer.drain(..used);
    }
}

#[cfg(test)]
mod tests {
    use frame::Item;

    use super::*;

    const HOST: (HostId, Role, &str) = (HostId(3), Role::Pds, "a.example");

    fn read(path: &Path) -> Vec<String> {
        let bytes = std::fs::read(path).unwrap();
        let mut decoder = Decoder::default();
        let mut rest = bytes.as_slice();
        let mut items = Vec::new();
        while let Some((item, used)) = decoder.next(rest).unwrap() {
            items.push(match item {
                Item::Start => "start".into(),
                Item::Frame(frame) if frame.header.kind == Kind::EVENT => {
                    let section = frame.section(Tag::VERDICT).unwrap();
                    let rule = Verdict::from_bytes(section).unwrap().rule.unwrap();
                    format!("{rule} {}", String::from_utf8_lossy(frame.body()))
                }
                Item::Frame(frame) => frame.header.kind.name().unwrap().into(),
            });
            rest = &rest[used..];
        }
        items
    }

    #[test]
    fn each_run_appends_a_stream_and_a_torn_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.frames");
        let mut rejects = Rejects::open(&path).unwrap();
        assert!(rejects.keep(HOST, 7, Rule::BAD_FRAME, b"one").unwrap());
        assert!(rejects.keep(HOST, 8, Rule::BAD_FRAME, b"two").unwrap());
        drop(rejects);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let mut rejects = Rejects::open(&path).unwrap();
        assert!(rejects.keep(HOST, 9, Rule::BAD_FRAME, b"three").unwrap());
        rejects.finish().unwrap();
        Rejects::open(&path).unwrap().finish().unwrap();
        assert_eq!(
            read(&path),
            [
                "start",
                "host",
                "bad-frame one",
                "start",
                "host",
                "bad-frame three",
                "end",
                "start",
                "end"
            ]
        );
    }

    #[test]
    fn another_kind_of_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter.txt");
        std::fs::write(&path, "not a stream of frames").unwrap();
        assert!(Rejects::open(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"not a stream of frames");
    }
}
