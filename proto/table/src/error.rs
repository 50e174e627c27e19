//! What can be wrong with a table or its file.

use std::{io, path::PathBuf};

/// Why a table was not opened, not filled or not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin with the magic.
    #[error("begins with {found:02x?}, which is no table")]
    NotATable {
        /// The first eight bytes, as far as there are any.
        found: [u8; 8],
    },
    /// A version that this program does not read.
    #[error("table version {found}, and this program reads version {known}")]
    Version {
        /// What the header says.
        found: u32,
        /// The only version read.
        known: u32,
    },
    /// The header's own checksum does not hold.
    #[error("table header is damaged: checksum {found:08x}, computed {computed:08x}")]
    HeaderChecksum {
        /// What the header says.
        found: u32,
        /// CRC32C of the bytes before it.
        computed: u32,
    },
    /// Sizes in the header that no table has.
    #[error("table header has impossible sizes: {homes} homes, {entries} entries")]
    Sizes {
        /// Homes the header speaks of.
        homes: u64,
        /// Entries the header speaks of.
        entries: u64,
    },
    /// The table is for other keys or values than the reader's.
    #[error(
        "table of {key}-byte keys and {value}-byte values, wanted {key_wanted} and {value_wanted}"
    )]
    Shape {
        /// Key size in the header, bytes.
        key: u32,
        /// Value size in the header, bytes.
        value: u32,
        /// Key size of the reader, bytes.
        key_wanted: u32,
        /// Value size of the reader, bytes.
        value_wanted: u32,
    },
    /// Fewer (or more) bytes than the header speaks of.
    #[error("table takes {expected} bytes and there are {found}")]
    Length {
        /// What the header's sizes add up to.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// There is no room for what came.
    #[error("table is full: {entries} entries came for {slots} slots")]
    Full {
        /// Entries that came.
        entries: u64,
        /// Slots it has.
        slots: u64,
    },
    /// An entry came whose hash is below that of the one before it.
    #[error("an entry came out of the order of hashes")]
    Order,
    /// The key is in the table already.
    #[error("the key is there already")]
    Repeated,
    /// What is written to refused.
    #[error("cannot write the table")]
    Write(#[source] io::Error),
    /// Another process is writing the same file.
    #[error("{} is being written by process {holder}", path.display())]
    Busy {
        /// The file that would be made.
        path: PathBuf,
        /// Process id in the lock file, 0 when it could not be read.
        holder: u32,
    },
    /// The file is there and was not to be replaced.
    #[error("{} exists", path.display())]
    Exists {
        /// The file that would be made.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The file does not begin with the magic of a live one.
    #[error("begins with {found:02x?}, which is no live file")]
    NotLive {
        /// The first eight bytes, as far as there are any.
        found: [u8; 8],
    },
    /// Sizes that no live file has.
    #[error("{words} words and an area of {area_bytes} bytes, which cannot be")]
    LiveSizes {
        /// Words it would have.
        words: u64,
        /// Bytes of its area.
        area_bytes: u64,
    },
    /// A live file could not be given its room, read or mapped.
    #[error("cannot map")]
    Map(#[source] io::Error),
    /// No random bytes for the hash key.
    #[error("no random bytes for the hash key")]
    Random(#[source] io::Error),
}
