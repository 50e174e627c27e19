//! The header of a frame and the frame itself, borrowed from the bytes it was read from.
//! The byte table is in the room's doc.

use crate::section::{Section, Sections, Tag};

/// The length of a header.
pub const HEADER_BYTES: usize = CRC_AT + size_of::<u32>();

pub(crate) const PAYLOAD_LEN_AT: usize = 0;
pub(crate) const KIND_AT: usize = PAYLOAD_LEN_AT + size_of::<u32>();
pub(crate) const FLAGS_AT: usize = KIND_AT + size_of::<u8>();
pub(crate) const RESERVED_AT: usize = FLAGS_AT + size_of::<u8>();
pub(crate) const HOST_AT: usize = RESERVED_AT + size_of::<u16>();
pub(crate) const EPOCH_AT: usize = HOST_AT + size_of::<u32>();
pub(crate) const SEQ_AT: usize = EPOCH_AT + size_of::<u32>();
pub(crate) const TIME_AT: usize = SEQ_AT + size_of::<u64>();
pub(crate) const BODY_LEN_AT: usize = TIME_AT + size_of::<u64>();
pub(crate) const CRC_AT: usize = BODY_LEN_AT + size_of::<u32>();

const _: () = assert!(HEADER_BYTES == 40);

/// What a frame is. Kinds that are not named here pass through every tool untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// An event of a host: the body is its bytes as they came off the socket.
    pub const EVENT: Kind = Kind(1);
    /// The name of a host id, see [`crate::host`].
    pub const HOST: Kind = Kind(2);
    /// A barrier: what has been handed on, see [`crate::mark`].
    pub const MARK: Kind = Kind(3);
    /// A stretch that a host could not send again, see [`crate::hole`].
    pub const HOLE: Kind = Kind(4);
    /// The state of a healed account: commit, and path to CID.
    pub const REPO: Kind = Kind(5);
    /// The clean end of a stream. Its body is empty.
    pub const END: Kind = Kind(6);

    /// The kind's name as `frame-cat` shows it; `None` for a kind that this version does not know.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Kind::EVENT => Some("event"),
            Kind::HOST => Some("host"),
            Kind::MARK => Some("mark"),
            Kind::HOLE => Some("hole"),
            Kind::REPO => Some("repo"),
            Kind::END => Some("end"),
            _ => None,
        }
    }
}

/// The bits of a header's flags. A tool passes those of the lower half on as they are.
pub mod flags {
    /// Record blocks of the event were taken out: it is exempt from exactness.
    pub const REDACTED: u8 = 0x01;
    /// A tool that does not understand a flag of this half must not go on.
    pub const CRITICAL: u8 = 0xf0;
}

/// A host's number within one stream, given by its `host` frame. Each magic begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HostId(pub u32);

/// What the header says, without the lengths, which belong to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// See [`flags`].
    pub flags: u8,
    /// The host that the frame came from or speaks of; 0 where there is none.
    pub host: HostId,
    /// The host's epoch.
    pub epoch: u32,
    /// The upstream sequence number.
    pub seq: u64,
    /// When it was received, nanoseconds since 1970.
    pub time_ns: u64,
}

impl Header {
    /// A header of this kind and time, with everything else zero.
    #[must_use]
    pub fn new(kind: Kind, time_ns: u64) -> Header {
        Header { kind, flags: 0, host: HostId(0), epoch: 0, seq: 0, time_ns }
    }
}

/// A whole frame, borrowed from the bytes that it was read from. All its lengths were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the header says.
    pub header: Header,
    pub(crate) bytes: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) sections: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The body: for an event, its bytes as they came off the socket.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The sections, in the order in which they were appended.
    #[must_use]
    pub fn sections(&self) -> Sections<'a> {
        Sections { rest: self.sections }
    }

    /// The bytes of the section with this tag, if there is one.
    #[must_use]
    pub fn section(&self, tag: Tag) -> Option<&'a [u8]> {
        self.sections().find(|section| section.tag == tag).map(|Section { data, .. }| data)
    }

    /// Header and payload as they stand in the stream.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
