//! The contents and the footer: where the parts of a segment are. Byte tables in [`super`].

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::bytes::{Take, covered};
use crate::error::{Cause, Damage};
use crate::{Error, disk};

/// No part is longer when it is decoded.
pub(crate) const PART_BYTES_MAX: usize = 512 << 20;
/// More than any version has.
const PARTS_MAX: usize = 256;

const FOOTER_MAGIC: [u8; 8] = *b"SVRNsft1";
pub(crate) const FOOTER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 40;
/// A reader that does not know the part must not go on.
const CRITICAL: u8 = 1;

/// How a part's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Zstd,
}

/// Where a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) tag: u16,
    pub(crate) coding: Coding,
    pub(crate) offset: u64,
    pub(crate) again: Option<u64>,
    pub(crate) length: usize,
    pub(crate) raw: usize,
    pub(crate) crc: u32,
}

impl Part {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tag.to_le_bytes());
        out.push(u8::from(self.coding == Coding::Zstd));
        out.push(if super::part::is_critical(self.tag) { CRITICAL } else { 0 });
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.again.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&(self.length as u32).to_le_bytes());
        out.extend_from_slice(&(self.raw as u32).to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    /// `Ok(None)` for a part that this version does not know and may skip.
    fn read(entry: &[u8]) -> Result<Option<Part>, Cause> {
        let mut take = Take::new(entry);
        let mut fields = || {
            let (tag, coding, flags) = (take.u16()?, take.u8()?, take.u8()?);
            take.u32()?;
            let (offset, again) = (take.u64()?, take.u64()?);
            let (length, raw, crc) = (take.u32()?, take.u32()?, take.u32()?);
            Some((tag, coding, flags, offset, again, length, raw, crc))
        };
        let (tag, coding, flags, offset, again, length, raw, crc) =
            fields().ok_or(Cause::Truncated)?;
        let known = super::part::name(tag) != "part" && coding <= 1;
        if !known {
            return if flags & CRITICAL == 0 { Ok(None) } else { Err(Cause::Form("contents")) };
        }
        let coding = if coding == 0 { Coding::Plain } else { Coding::Zstd };
        let again = (again != 0).then_some(again);
        let (length, raw) = (length as usize, raw as usize);
        if length > PART_BYTES_MAX || raw > PART_BYTES_MAX {
            return Err(Cause::TooLong);
        }
        if coding == Coding::Plain && length != raw {
            return Err(Cause::Form("contents"));
        }
        Ok(Some(Part { tag, coding, offset, again, length, raw, crc }))
    }
}

/// What the footer says, and the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) number: u32,
    pub(crate) events: u32,
    pub(crate) first: u64,
    pub(crate) parts: Vec<Part>,
}

impl Contents {
    /// Both copies of contents and footer, for a file that is `end` bytes long so far.
    pub(crate) fn to_bytes(&self, end: u64) -> Vec<u8> {
        let mut entries = Vec::new();
        self.parts.iter().for_each(|part| part.put(&mut entries));
        let length = entries.len() as u64;
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&FOOTER_MAGIC);
        footer.extend_from_slice(&self.number.to_le_bytes());
        footer.extend_from_slice(&self.events.to_le_bytes());
        footer.extend_from_slice(&self.first.to_le_bytes());
        footer.extend_from_slice(&end.to_le_bytes());
        footer.extend_from_slice(&(end + length).to_le_bytes());
        footer.extend_from_slice(&(length as u32).to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&entries).to_le_bytes());
        let file = end + 2 * length + 2 * FOOTER_BYTES as u64;
        footer.extend_from_slice(&file.to_le_bytes());
        footer.extend_from_slice(&[0; 4]);
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        [&entries[..], &entries, &footer, &footer].concat()
    }

    /// Finds the parts of the segment in this file.
    pub(crate) fn read(file: &File, path: &Path) -> Result<Contents, Error> {
        let len = disk::len(file, path)?;
        let mut cause = Cause::Truncated;
        for copy in 1..=2 {
            let Some(at) = len.checked_sub(copy * FOOTER_BYTES as u64) else { break };
            match Contents::read_by_footer(file, path, at, len) {
                Ok(contents) => return Ok(contents),
                Err(Error::Damaged(damage)) if copy == 1 => cause = damage.cause,
                Err(Error::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Damage::at(path, len.saturating_sub(FOOTER_BYTES as u64), cause).into())
    }

    fn read_by_footer(file: &File, path: &Path, at: u64, len: u64) -> Result<Contents, Error> {
        let mut bytes = [0; FOOTER_BYTES];
        read_at(file, path, at, &mut bytes)?;
        let footer = Footer::read(&bytes).map_err(|cause| Damage::at(path, at, cause))?;
        if footer.file != len || footer.length > PARTS_MAX * ENTRY_BYTES {
            return Err(Damage::at(path, at, Cause::Form("footer")).into());
        }
        let mut cause = Cause::Checksum;
        for offset in [footer.contents, footer.again] {
            let mut entries = vec![0; footer.length];
            match read_at(file, path, offset, &mut entries) {
                Ok(()) if crc32c::crc32c(&entries) == footer.crc => {
                    match entries.chunks_exact(ENTRY_BYTES).map(Part::read).collect() {
                        Ok::<Vec<Option<Part>>, _>(parts) => return Ok(footer.contents(parts)),
                        Err(wrong) => cause = wrong,
                    }
                }
                Ok(()) | Err(Error::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Damage::at(path, footer.contents, cause).into())
    }

    pub(crate) fn part(&self, tag: u16) -> Option<&Part> {
        self.parts.iter().find(|part| part.tag == tag)
    }

    /// The number behind its last event.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.events))
    }
}

struct Footer {
    number: u32,
    events: u32,
    first: u64,
    contents: u64,
    again: u64,
    length: usize,
    crc: u32,
    file: u64,
}

impl Footer {
    fn read(bytes: &[u8; FOOTER_BYTES]) -> Result<Footer, Cause> {
        let mut take = Take::new(covered(bytes, FOOTER_MAGIC)?);
        let mut fields = || {
            take.u64()?;
            Some(Footer {
                number: take.u32()?,
                events: take.u32()?,
                first: take.u64()?,
                contents: take.u64()?,
                again: take.u64()?,
                length: take.u32()? as usize,
                crc: take.u32()?,
                file: take.u64()?,
            })
        };
        fields().ok_or(Cause::Truncated)
    }

    fn contents(&self, parts: Vec<Option<Part>>) -> Contents {
        Contents {
            number: self.number,
            events: self.events,
            first: self.first,
            parts: parts.into_iter().flatten().collect(),
        }
    }
}

/// Fills `bytes` from this offset; a file that ends before that is damage.
pub(crate) fn read_at(
    file: &File,
    path: &Path,
    offset: u64,
    bytes: &mut [u8],
) -> Result<(), Error> {
    file.read_exact_at(bytes, offset).map_err(|source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => Damage::at(path, offset, Cause::Truncated).into(),
        _ => Error::io(path, "read", source),
    })
}
