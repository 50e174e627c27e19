//! The header page: the first page of the shared memory, in front of the bytes of the ring.
//!
//! The memory is one page of header and `capacity` bytes of data. A position counts bytes since
//! the ring was made and never goes back; the byte at position `p` lies at `p % capacity` of the
//! data. What is unread is `head - tail`, what is free is `capacity - (head - tail)`.
//!
//! | offset | size | word | written by | meaning |
//! |---|---|---|---|---|
//! | 0 | 8 | `magic` | writer, once | `SVRNring` |
//! | 8 | 4 | `version` | writer, once | 1 |
//! | 12 | 4 | `header_bytes` | writer, once | size of this page; the data begin here |
//! | 16 | 8 | `capacity` | writer, once | size of the data: a power of two, whole pages |
//! | 24 | 104 | | | 0 |
//! | 128 | 8 | `head` | writer | position behind the last byte published |
//! | 136 | 4 | `writer_closed` | writer | 0; 1 = closed in order, `head` is final |
//! | 140 | 116 | | | 0 |
//! | 256 | 8 | `tail` | reader | position of the first byte not yet consumed |
//! | 264 | 4 | `reader_closed` | reader | 0; 1 = detached in order |
//! | 268 | 116 | | | 0 |
//! | 384 | 4 | `reader_bell` | both | futex word: not 0 = the reader sleeps, or is about to |
//! | 388 | 124 | | | 0 |
//! | 512 | 4 | `writer_bell` | both | futex word: not 0 = the writer sleeps, or is about to |
//! | 516 | 4 | | | 0 |
//! | 520 | 8 | `writer_wants` | writer | the `tail` from which on waking the writer pays |
//! | 528 | 112 | | | 0 |
//! | 640 | | | | to the end of the page: 0, not looked at |
//!
//! Words are in the machine's byte order, both sides being processes of one machine. Each group
//! begins 128 bytes after the one before: processors fetch cache lines in pairs, and a side that
//! writes its own word must not take the other's line away.
//!
//! Magic, version and sizes must be as in the handshake. `head` must lie between the last `head`
//! seen and `tail + capacity`, `tail` between the last `tail` seen and `head`, the closed words
//! must be 0 or 1: else [`Error::Corrupt`](crate::Error::Corrupt). A side keeps its own position
//! to itself and never reads it back. Bells and `writer_wants` can hold anything: the worst they
//! can do is a wake-up too many, or one so late that it comes with the other's next.
//!
//! Version 1 is the first. The smallest header page (4 KiB of data) begins
//! ```text
//! 00000000  53 56 52 4e 72 69 6e 67  01 00 00 00 00 10 00 00  |SVRNring........|
//! 00000010  00 10 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//! ```

use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the page and every message on the socket begin with.
pub(super) const MAGIC: [u8; 8] = *b"SVRNring";

/// Version of the page and of the handshake.
pub(super) const VERSION: u32 = 1;

/// The header page, of which any content is a valid value: every word is an atomic integer.
#[repr(C)]
pub(super) struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    header_bytes: AtomicU32,
    capacity: AtomicU64,
    _fixed: [AtomicU64; 13],
    pub(super) head: AtomicU64,
    pub(super) writer_closed: AtomicU32,
    _writer: [AtomicU32; 29],
    pub(super) tail: AtomicU64,
    pub(super) reader_closed: AtomicU32,
    _reader: [AtomicU32; 29],
    pub(super) reader_bell: AtomicU32,
    _reader_bell: [AtomicU32; 31],
    pub(super) writer_bell: AtomicU32,
    _writer_bell: AtomicU32,
    pub(super) writer_wants: AtomicU64,
    _wants: [AtomicU64; 14],
}

const _: () = assert!(offset_of!(Header, version) == 8);
const _: () = assert!(offset_of!(Header, header_bytes) == 12);
const _: () = assert!(offset_of!(Header, capacity) == 16);
const _: () = assert!(offset_of!(Header, head) == 128);
const _: () = assert!(offset_of!(Header, writer_closed) == 136);
const _: () = assert!(offset_of!(Header, tail) == 256);
const _: () = assert!(offset_of!(Header, reader_closed) == 264);
const _: () = assert!(offset_of!(Header, reader_bell) == 384);
const _: () = assert!(offset_of!(Header, writer_bell) == 512);
const _: () = assert!(offset_of!(Header, writer_wants) == 520);
const _: () = assert!(size_of::<Header>() == 640);

impl Header {
    /// Writes what never changes. The memory is fresh, so that everything else is 0.
    pub(super) fn stamp(&self, header_bytes: u32, capacity: u64) {
        self.magic.store(u64::from_le_bytes(MAGIC), Ordering::Relaxed);
        self.version.store(VERSION, Ordering::Relaxed);
        self.header_bytes.store(header_bytes, Ordering::Relaxed);
        self.capacity.store(capacity, Ordering::Release);
    }

    /// Whether the page says what the handshake said.
    pub(super) fn is_stamped(&self, header_bytes: u32, capacity: u64) -> bool {
        self.capacity.load(Ordering::Acquire) == capacity
            && self.magic.load(Ordering::Relaxed) == u64::from_le_bytes(MAGIC)
            && self.version.load(Ordering::Relaxed) == VERSION
            && self.header_bytes.load(Ordering::Relaxed) == header_bytes
    }
}
