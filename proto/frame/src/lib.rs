//! The frame stream: what flows between the tools, over pipes, files and rings.
//!
//! This room knows bytes alone. It opens nothing, and it does not know what an event says: the
//! bytes of an event are carried exactly as they came off the socket, and what a stage finds out
//! about them is appended as a section.
//!
//! # Byte table
//!
//! A stream is a magic and then frames. A magic in mid-stream begins the stream anew (host ids
//! and all), so that `cat a.frames b.frames` is a stream.
//!
//! ```text
//! stream  = magic frame*  ( magic frame* )*
//! magic   = "SVRN" "frm1"                 8 bytes; the last byte is the version
//! frame   = header payload
//! payload = body section*
//! section = u16 tag | u16 zero | u32 length | bytes
//! ```
//!
//! All integers are little-endian.
//!
//! | offset | size | field       | meaning                                                        |
//! |-------:|-----:|-------------|----------------------------------------------------------------|
//! |      0 |    4 | payload_len | bytes behind the header, at most [`PAYLOAD_BYTES_MAX`]         |
//! |      4 |    1 | kind        | [`Kind`]                                                       |
//! |      5 |    1 | flags       | [`flags`]; the upper four are critical                         |
//! |      6 |    2 | reserved    | zero                                                           |
//! |      8 |    4 | host        | [`HostId`]; 0 where no host is meant                           |
//! |     12 |    4 | epoch       | the host's epoch (a host that restarted at seq 1 has a new one)|
//! |     16 |    8 | seq         | the upstream sequence number                                   |
//! |     24 |    8 | time_ns     | when the event was received, nanoseconds since 1970 (to 2554)  |
//! |     32 |    4 | body_len    | how much of the payload is the body; the rest is sections      |
//! |     36 |    4 | crc32c      | CRC-32C of bytes 0 to 36                                       |
//!
//! The first four bytes of the magic, read as a length, are 1,314,018,899: over every limit, so a
//! magic is never mistaken for a header. The header's checksum covers the lengths, so they are
//! trusted before anything behind them is read, and a limit is enforced before memory is taken.
//!
//! What a reader must do with what it does not know: a kind or a section passes through it
//! untouched; a critical flag (`0xf0`) is an error that names the flag.
//!
//! What is checked: magic, header checksum, reserved zero, lengths against the limits and each
//! other, sections against the payload. The payload has no checksum of its own: a pipe needs
//! none, events are proved by hash and signature, and the archive has its own.
//!
//! A clean end is an [`Kind::END`] frame. A stream that stops without one is torn.
//!
//! The smallest clean stream, a magic and an `end` frame:
//!
//! ```text
//! 53 56 52 4e 66 72 6d 31  00 00 00 00 06 00 00 00
//! 00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
//! 00 00 00 00 00 00 00 00  00 00 00 00 68 c4 f0 77
//! ```
//!
//! # Versions
//!
//! * `1`: the first.
#![warn(clippy::indexing_slicing)]

pub mod hole;
pub mod host;
pub mod mark;
pub mod number;
pub mod repo;
pub mod verdict;

mod decode;
mod encode;
mod header;
mod section;

pub use decode::{Decoder, Item, Located, fuzz_decoder};
pub use encode::{put, put_as, put_magic, put_with, put_with_two};
pub use header::{Frame, HEADER_BYTES, Header, HostId, Kind, flags};
pub use section::{SECTION_HEADER_BYTES, Section, Sections, Tag};

/// What a stream begins with.
pub const MAGIC: [u8; 8] = *b"SVRNfrm1";

/// The longest payload: an event at its limit and the sections of every stage behind it.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// The longest event that a host may send (atproto, "Event Stream": 5 MB).
pub const EVENT_BYTES_MAX: usize = 5_000_000;

/// What can be wrong with a frame stream. Offsets count from the beginning of the input.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The input does not begin with the magic.
    #[error("offset {offset}: this is not a frame stream: it begins with {found}")]
    NotFrames {
        /// Where the magic was expected.
        offset: u64,
        /// What was there.
        found: Found,
    },
    /// The magic is ours, its version is not.
    #[error("offset {offset}: frame stream version {found:?}, this tool reads version '1'")]
    Version {
        /// Where the magic stands.
        offset: u64,
        /// The last four bytes of the magic, as text.
        found: String,
    },
    /// The checksum of a header does not hold.
    #[error("offset {offset}: the checksum of a frame header does not hold: the stream is damaged")]
    HeaderChecksum {
        /// Where the header stands.
        offset: u64,
    },
    /// A frame over the limit.
    #[error("offset {offset}: frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// Where the header stands.
        offset: u64,
        /// The payload's length.
        bytes: u64,
        /// The limit that it breaks.
        limit: u64,
    },
    /// A body that is longer than its payload, or reserved bytes that are not zero.
    #[error("offset {offset}: a frame header contradicts itself")]
    Header {
        /// Where the header stands.
        offset: u64,
    },
    /// A flag that must be understood, and is not.
    #[error(
        "offset {offset}: frame flag {flag:#04x} must be understood and is not: a newer tool made this stream"
    )]
    CriticalFlag {
        /// Where the header stands.
        offset: u64,
        /// The unknown flag.
        flag: u8,
    },
    /// A section that reaches behind its payload.
    #[error("offset {offset}: a section reaches behind the end of its frame")]
    Section {
        /// Where the frame's header stands.
        offset: u64,
    },
    /// The body of a control frame does not have the form of its kind.
    #[error("a {kind} frame has a body of {bytes} bytes that does not have its form")]
    Body {
        /// The name of the kind.
        kind: &'static str,
        /// The length of the body.
        bytes: usize,
    },
    /// The section does not have the form of its tag.
    #[error("a {tag} section of {bytes} bytes does not have its form")]
    SectionBody {
        /// The name of the tag.
        tag: &'static str,
        /// The length of the section.
        bytes: usize,
    },
}

/// What stood where the magic was expected, so that the message can say which tool makes the
/// right thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A zstd frame.
    Zstd,
    /// A gzip member.
    Gzip,
    /// JSON text.
    Json,
    /// An archive segment or log of ours.
    Archive,
    /// A `did.idx`.
    Index,
    /// Events behind big-endian lengths, as captures have them.
    Capture,
    /// Something else: its first bytes.
    Bytes([u8; 8]),
}

impl Found {
    /// Guesses from the first eight bytes.
    #[must_use]
    pub fn of(bytes: [u8; 8]) -> Found {
        let [a, b, c, d, e, ..] = bytes;
        match [a, b, c, d] {
            [0x28, 0xb5, 0x2f, 0xfd] => Found::Zstd,
            [0x1f, 0x8b, ..] => Found::Gzip,
            [b'{' | b'[', ..] => Found::Json,
            _ if bytes.starts_with(b"SVRNseg") || bytes.starts_with(b"SVRNlog") => Found::Archive,
            _ if bytes.starts_with(b"SVRNidx") || bytes.starts_with(b"SVRNdid") => Found::Index,
            // A CBOR map with two entries, "op" and "t", behind a length under 16 MiB.
            [0, _, _, _] if e == 0xa2 || e == 0xa1 => Found::Capture,
            _ => Found::Bytes(bytes),
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Found::Zstd => f.write_str("a zstd frame (zstdcat it first)"),
            Found::Gzip => f.write_str("gzip (zcat it first)"),
            Found::Json => f.write_str("JSON (pds-tap and archive-cat make frames, frame-cat reads them)"),
            Found::Archive => f.write_str("a part of an archive (archive-cat its folder)"),
            Found::Index => f.write_str("a did.idx (did-lookup reads it, sig-verify takes it as --index)"),
            Found::Capture => f.write_str("a capture of events behind lengths (pds-sim --replay serves it, pds-tap makes frames of it)"),
            Found::Bytes(bytes) => {
                write!(f, "the bytes")?;
                bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
                f.write_str(" (pds-tap and archive-cat make frames)")
            }
        }
    }
}
