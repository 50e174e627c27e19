//! What can go wrong with a ring, with what a person needs to set it right.

use std::io;
use std::path::PathBuf;

use crate::{NAME_BYTES_MAX, Side};

/// Every failure of this room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This system has no futex, no sealed memory, or no 64-bit pointers.
    #[error("rings are Linux only; use a pipe or a file")]
    LinuxOnly,

    /// The name could not be a file name, or would lead out of the directory.
    #[error("ring name {name:?} is not 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    Name {
        /// The name as given.
        name: Box<str>,
    },

    /// The capacity cannot be mapped twice in a row.
    #[error(
        "a ring of {bytes} bytes is not possible; the capacity is a power of two from {bytes_min} to {bytes_max}"
    )]
    Capacity {
        /// The capacity asked for or offered.
        bytes: u64,
        /// The least possible: one page.
        bytes_min: u64,
        /// The most possible.
        bytes_max: u64,
    },

    /// The directory in which rings meet is not private to this user.
    #[error("directory {} belongs to user {owner} with mode {mode:04o}; it must belong to user {user} with mode 0700", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// Who this process runs as.
        user: u32,
    },

    /// A socket, lock or directory on the way could not be made or opened.
    #[error("{}", path.display())]
    Path {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// There is a writer, or a reader, of this ring already.
    #[error("ring:{name} has a {side} already: {}", holder(*pid, tool.as_deref()))]
    Busy {
        /// The ring.
        name: Box<str>,
        /// The side that is taken.
        side: Side,
        /// The process that holds it, if it has said so.
        pid: Option<u32>,
        /// What that process is called, in at most 15 bytes.
        tool: Option<Box<str>>,
    },

    /// The memory for the ring could not be had, all of it, at the start.
    #[error("no memory for a ring of {bytes} bytes")]
    NoMemory {
        /// What was asked for.
        bytes: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// A system call failed that does not depend on anything a person can name.
    #[error("{call}")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// Whoever answers on the socket runs as somebody else.
    #[error("process {pid} at the other end of the ring belongs to user {uid}")]
    Foreign {
        /// The process.
        pid: u32,
        /// Its user.
        uid: u32,
    },

    /// The other side says something that is not the ring protocol.
    #[error("process {pid} at the other end does not speak the ring protocol")]
    NotARing {
        /// The process.
        pid: u32,
    },

    /// The two tools are of different releases.
    #[error(
        "process {pid} speaks version {theirs} of the ring protocol, this tool version {ours}; install both from one release"
    )]
    Version {
        /// The process at the other end.
        pid: u32,
        /// Its version.
        theirs: u32,
        /// The version of this room.
        ours: u32,
    },

    /// The other side connected and then said nothing.
    #[error("process {pid} at the other end of the ring has been silent for {wait_ms} ms")]
    Silent {
        /// The process.
        pid: u32,
        /// How long it was given.
        wait_ms: u64,
    },

    /// The other side hung up before the ring was agreed on.
    #[error("process {pid} hung up while the ring was agreed on")]
    HungUp {
        /// The process.
        pid: u32,
    },

    /// The writer handed over memory that is not safe to map.
    #[error("process {pid} offers memory that is {fault}")]
    Memory {
        /// The process.
        pid: u32,
        /// What is wrong with it.
        fault: Fault,
    },

    /// The reader would not have the memory that this side offered.
    #[error("process {pid} refused the memory of the ring: {fault}")]
    Refused {
        /// The reader.
        pid: u32,
        /// What it found.
        fault: Fault,
    },

    /// A word of the shared page holds what it cannot hold.
    #[error("ring word {word} reads {value}, where only {least} to {most} is possible")]
    Corrupt {
        /// The word.
        word: Word,
        /// What it read.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },

    /// More bytes in one piece than a ring of this capacity can promise to hold.
    #[error("{bytes} bytes in one piece are over the {bytes_max} that this ring can promise")]
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// Half the capacity.
        bytes_max: u64,
    },

    /// The caller published or consumed more than it had been given.
    #[error("{bytes} bytes handed back of {held} that were given out")]
    Overrun {
        /// Bytes the caller named.
        bytes: u64,
        /// Bytes it had.
        held: u64,
    },

    /// The writer ended without closing the ring.
    #[error("the writer of the ring, process {pid}, ended without closing it")]
    WriterDied {
        /// The process.
        pid: u32,
    },

    /// The reader ended without detaching.
    #[error("the reader of the ring, process {pid}, died")]
    ReaderDied {
        /// The process.
        pid: u32,
    },

    /// The reader has had enough and left in order, as one who closes a pipe.
    #[error("the reader of the ring, process {pid}, has left")]
    ReaderDetached {
        /// The process.
        pid: u32,
    },

    /// The wait was ended by a signal handler, a watched descriptor, a waker or
    /// [`Patience::stop`](crate::Patience::stop). Nothing changed.
    #[error("interrupted")]
    Interrupted,

    /// [`Patience::limit`](crate::Patience::limit) is over.
    #[error("nobody came to the other end of the ring in time")]
    TimedOut,
}

/// What is wrong with memory that a writer offers. The numbers go over the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum Fault {
    /// No descriptor came with the offer, or more than one.
    Missing = 1,
    /// It could be made smaller or larger under the reader's feet, which is SIGBUS.
    NotSealed = 2,
    /// Its length is not that of the header page and the capacity.
    Size = 3,
    /// Its pages are not all there, so that a later touch could fail.
    NotReserved = 4,
    /// The capacity or the page size is not one that this side can map.
    Capacity = 5,
    /// Its header page does not say what the offer says.
    Header = 6,
    /// The system would not map it.
    Mapping = 7,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Missing => "not there",
            Fault::NotSealed => "not sealed against shrinking and growing",
            Fault::Size => "of another size than agreed",
            Fault::NotReserved => "not reserved",
            Fault::Capacity => "of a capacity or page size that cannot be mapped here",
            Fault::Header => "without the header of a ring",
            Fault::Mapping => "not possible to map",
        })
    }
}

/// A word of the shared page that is checked each time it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Word {
    /// Bytes published so far, the writer's.
    Head,
    /// Bytes consumed so far, the reader's.
    Tail,
    /// Whether the writer closed the ring.
    WriterClosed,
    /// Whether the reader detached.
    ReaderClosed,
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Word::Head => "head",
            Word::Tail => "tail",
            Word::WriterClosed => "writer_closed",
            Word::ReaderClosed => "reader_closed",
        })
    }
}

fn holder(pid: Option<u32>, tool: Option<&str>) -> String {
    match (pid, tool) {
        (Some(pid), Some(tool)) => format!("process {pid} ({tool})"),
        (Some(pid), None) => format!("process {pid}"),
        (None, _) => "a process that has just started".to_owned(),
    }
}
