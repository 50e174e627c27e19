//! What can be wrong with an index.

use std::{io, path::PathBuf};

/// Why an index was not opened, not built or not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file does not begin with the magic.
    #[error("begins with {found:02x?}, which is no did.idx; index-build makes one")]
    NotAnIndex {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The log beside it does not begin with the magic.
    #[error("the log begins with {found:02x?}, which is no log of an index; build the index anew")]
    NotALog {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The log beside it lacks operations that the index has seen.
    #[error("the log is damaged at {offset}: it has {found} operations of {expected}")]
    Log {
        /// Behind the last whole record.
        offset: u64,
        /// Operations in it that the index itself does not know.
        found: u64,
        /// How many there were.
        expected: u64,
    },
    /// A slot of the delta beside it is damaged.
    #[error("the delta is damaged: slot {place}")]
    Delta {
        /// Its place.
        place: u32,
    },
    /// A version that this program does not read.
    #[error(
        "did.idx version {found}, and this program reads version {known}; build it anew: \
         index-build --force"
    )]
    Version {
        /// What the head says.
        found: u32,
        /// The only version read.
        known: u32,
    },
    /// The checksum of the head does not hold.
    #[error("head is damaged: checksum {found:08x}, computed {computed:08x}")]
    HeadChecksum {
        /// What the head says.
        found: u32,
        /// CRC32C of the bytes before it.
        computed: u32,
    },
    /// The checksum of a section does not hold.
    #[error("{section} is damaged: checksum {found:08x}, computed {computed:08x}")]
    SectionChecksum {
        /// Which section.
        section: &'static str,
        /// What the head says.
        found: u32,
        /// CRC32C of its bytes.
        computed: u32,
    },
    /// A section lies where none can, or is of no possible size.
    #[error("{section} is said to be at {offset} and of {bytes} bytes, which cannot be")]
    Section {
        /// Which section.
        section: &'static str,
        /// Where it is said to be.
        offset: u64,
        /// How long it is said to be.
        bytes: u64,
    },
    /// The file is not as long as its head says.
    #[error("the head speaks of {expected} bytes and the file has {found}")]
    Length {
        /// What the head says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The table in it is no table.
    #[error(transparent)]
    Table(#[from] table::Error),
    /// A DID was added without an operation.
    #[error("no operation for a DID")]
    NoOperation,
    /// A host name that no host has.
    #[error("host name of {bytes} bytes is over the limit of {limit}")]
    HostName {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// More of something than its 32-bit number can count.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
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
}
