//! The block table: what `car-extract` appends to an event.
//!
//! | offset | size | meaning |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 1 | bytes of an entry: 16 |
//! | 2 | 2 | reserved, 0 |
//! | 4 | 4 | u32: number of entries |
//!
//! and for each block of the event's CAR, in the order of the CAR:
//!
//! | offset | size | meaning |
//! |---|---|---|
//! | 0 | 4 | u32: offset of the data in the event |
//! | 4 | 4 | u32: length of the data |
//! | 8 | 4 | u32: offset of the 36 bytes of the CID in the event |
//! | 12 | 1 | role: 0 other, 1 commit, 2 record, 3 tree node |
//! | 13 | 1 | flags: bit 0, a block under this CID came before in the CAR |
//! | 14 | 2 | reserved, 0 |
//!
//! All integers are little-endian. An unknown role reads as other, unknown flags
//! are ignored; another version or entry size is an error. Every block in a table
//! was hashed to its CID when the table was made, but a table is only as good as
//! whoever wrote it: a proof hashes for itself.
//!
//! ```text
//! 01 10 00 00  01 00 00 00                            one entry
//! 5c 00 00 00  d7 00 00 00  38 00 00 00  01 00 00 00  a commit of 215 bytes
//! ```

/// Bytes in front of the entries.
pub const HEADER_BYTES: usize = 8;
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 16;
const VERSION: u8 = 1;

/// What a block is to the event that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Role {
    /// Nothing that the event names leads to it.
    Other = 0,
    /// The signed commit.
    Commit = 1,
    /// The record of an operation.
    Record = 2,
    /// A node of the tree.
    Node = 3,
}

/// Where a block lies in its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the data in the event.
    pub offset: u32,
    /// Length of the data.
    pub length: u32,
    /// Offset of the CID's 36 bytes in the event.
    pub cid_offset: u32,
    /// What it is to the event.
    pub role: Role,
    /// A block under this CID came before in the CAR.
    pub again: bool,
}

/// Why bytes are no block table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shorter than its header, or not as long as its count says.
    #[error("block table of {length} bytes instead of {wanted}")]
    Length {
        /// What was found.
        length: usize,
        /// What it has to be.
        wanted: usize,
    },
    /// Another version or entry size.
    #[error("block table version {version} with entries of {entry_bytes} bytes")]
    Version {
        /// The version.
        version: u8,
        /// Bytes of an entry.
        entry_bytes: u8,
    },
    /// A block that reaches over the end of the event.
    #[error("block {index} of the table reaches over the end of the event")]
    Range {
        /// Which one.
        index: usize,
    },
}

/// Appends a block table to `out`.
pub fn put(out: &mut Vec<u8>, spans: &[Span]) {
    out.reserve(HEADER_BYTES + spans.len() * ENTRY_BYTES);
    out.extend_from_slice(&[VERSION, ENTRY_BYTES as u8, 0, 0]);
    out.extend_from_slice(&(spans.len() as u32).to_le_bytes());
    for span in spans {
        out.extend_from_slice(&span.offset.to_le_bytes());
        out.extend_from_slice(&span.length.to_le_bytes());
        out.extend_from_slice(&span.cid_offset.to_le_bytes());
        out.extend_from_slice(&[span.role as u8, u8::from(span.again), 0, 0]);
    }
}

/// Reads the block table of an event of `event_bytes` bytes.
pub fn read(table: &[u8], event_bytes: usize) -> Result<Spans<'_>, Error> {
    let length = table.len();
    let Some((&[version, entry_bytes, _, _, a, b, c, d], entries)) =
        table.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(Error::Length { length, wanted: HEADER_BYTES });
    };
    if version != VERSION || usize::from(entry_bytes) != ENTRY_BYTES {
        return Err(Error::Version { version, entry_bytes });
    }
    let count = u32::from_le_bytes([a, b, c, d]) as usize;
    let wanted = count.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES);
    if length != wanted {
        return Err(Error::Length { length, wanted });
    }
    let spans = Spans { entries };
    for (index, span) in spans.clone().enumerate() {
        let inside =
            |offset: u32, length: u32| u64::from(offset) + u64::from(length) <= event_bytes as u64;
        if !inside(span.offset, span.length) || !inside(span.cid_offset, 36) {
            return Err(Error::Range { index });
        }
    }
    Ok(spans)
}

/// The entries of a block table.
#[derive(Debug, Clone)]
pub struct Spans<'a> {
    entries: &'a [u8],
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let (entry, rest) = self.entries.split_first_chunk::<ENTRY_BYTES>()?;
        self.entries = rest;
        let &[a, b, c, d, e, f, g, h, i, j, k, l, role, flags, _, _] = entry;
        Some(Span {
            offset: u32::from_le_bytes([a, b, c, d]),
            length: u32::from_le_bytes([e, f, g, h]),
            cid_offset: u32::from_le_bytes([i, j, k, l]),
            role: match role {
                1 => Role::Commit,
                2 => Role::Record,
                3 => Role::Node,
                _ => Role::Other,
            },
            again: flags & 1 != 0,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.entries.len() / ENTRY_BYTES;
        (count, Some(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation_decodes() {
        let mut bytes = vec![1, 0x10, 0, 0, 1, 0, 0, 0];
        bytes.extend([0x5c, 0, 0, 0, 0xd7, 0, 0, 0, 0x38, 0, 0, 0, 1, 0, 0, 0]);
        let spans: Vec<Span> = read(&bytes, 400).unwrap().collect();
        let commit =
            Span { offset: 92, length: 215, cid_offset: 56, role: Role::Commit, again: false };
        assert_eq!(spans, [commit]);
        let mut out = Vec::new();
        put(&mut out, &spans);
        assert_eq!(out, bytes);
    }

    #[test]
    fn a_table_that_does_not_fit_is_an_error() {
        let mut bytes = Vec::new();
        let span = Span { offset: 50, length: 10, cid_offset: 14, role: Role::Node, again: true };
        put(&mut bytes, &[span, span]);
        assert_eq!(read(&bytes, 60).unwrap().collect::<Vec<_>>(), [span, span]);
        assert_eq!(read(&bytes, 59).unwrap_err(), Error::Range { index: 0 });
        assert_eq!(read(&bytes[..39], 60).unwrap_err(), Error::Length { length: 39, wanted: 40 });
        assert_eq!(read(&bytes[..7], 60).unwrap_err(), Error::Length { length: 7, wanted: 8 });
        bytes[0] = 2;
        assert_eq!(read(&bytes, 60).unwrap_err(), Error::Version { version: 2, entry_bytes: 16 });
    }

    #[test]
    fn an_unknown_role_reads_as_other() {
        let mut bytes = Vec::new();
        let span = Span { offset: 36, length: 0, cid_offset: 0, role: Role::Record, again: false };
        put(&mut bytes, &[span]);
        bytes[HEADER_BYTES + 12] = 9;
        bytes[HEADER_BYTES + 13] = 0xfe;
        assert_eq!(read(&bytes, 36).unwrap().next().unwrap().role, Role::Other);
    }
}
