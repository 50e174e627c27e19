//! What can go wrong with a page: making one, and reading one that others wrote.

use std::io;
use std::path::PathBuf;

/// Why a page was not made or not read. None of these is a reason for a tool to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A page is named after its tool, so the tool's name has to be fit for a file name.
    #[error(
        "tool name {0:?} does not suit a stats page: 1 to {max} of a-z, 0-9 and -",
        max = crate::place::TOOL_BYTES_MAX
    )]
    ToolName(String),

    /// The page's file could not be made, locked or mapped there.
    #[error("no stats page in {}: {source}", dir.display())]
    Create {
        /// The directory that was tried last.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The directory of pages could not be listed.
    #[error("cannot list the stats pages in {}: {source}", dir.display())]
    List {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file named like a page could not be opened or read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),

    /// A directory, device, link or pipe that is named like a page.
    #[error("not a regular file")]
    NotAFile,

    /// A page has one size; another size is another thing, or a page cut short by someone.
    #[error("{found} bytes, where a page has {expected}")]
    Size {
        /// Bytes the file has.
        found: u64,
        /// Bytes a page has.
        expected: u64,
    },

    /// The first eight bytes say that this is no page, or one that is not yet filled in.
    #[error("no stats page (it begins with {0:02x?})")]
    Magic([u8; 8]),

    /// A page of another version of this software.
    #[error("stats page of version {found}, where this program reads version {expected}")]
    Version {
        /// Version in the page.
        found: u64,
        /// Version read here.
        expected: u64,
    },

    /// A count in the page is over what the page can hold.
    #[error("offset {offset}: {found} is over the limit of {limit}")]
    Limit {
        /// Byte offset in the page.
        offset: usize,
        /// What stands there.
        found: u64,
        /// The most that may stand there.
        limit: u64,
    },

    /// A text in the page is not UTF-8, or holds control characters that a terminal would obey.
    #[error("offset {offset}: not a printable text")]
    Text {
        /// Byte offset in the page.
        offset: usize,
    },

    /// More pages than any machine runs tools: somebody else fills the directory.
    #[error("{limit} pages were read before this one, which is the limit")]
    TooMany {
        /// Pages that are read at most.
        limit: usize,
    },

    /// The writer was changing its description each time this was read.
    #[error("its description is being written")]
    Busy,
}
