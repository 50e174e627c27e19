//! A single-producer single-consumer byte ring in shared memory, for two stages of a pipeline
//! that run on one machine.
//!
//! A pipe copies every byte twice and enters the kernel for every buffer. Here the writer fills
//! the very pages that the reader looks at, and neither enters the kernel while both are busy.
//! What a pipe does well is kept: a full ring blocks the writer and drops nothing, an idle one
//! costs no CPU, a side that ends is noticed however it ended, and nothing outlives the two
//! processes but a name.
//!
//! The room knows bytes, not frames, and nothing of arguments, signals or exit codes.
//!
//! * [`Writer`] and [`Reader`] are the two sides; either may be started first ([`Address`] says
//!   where they meet, [`Patience`] how long the first waits for the second).
//! * The shared page is described in `layout.rs`, the conversation on the socket in
//!   `handshake.rs`, why no wake-up is ever lost in `shared.rs`: the only unsafe module.
//!
//! # How a side's end is told
//! The two keep the socket on which they met. Its hang-up is the end of a side, `kill -9`
//! included; a thread blocked on it wakes the other side. An orderly end is told apart by a word
//! in shared memory that is set before the socket closes:
//!
//! | what ended | how | the other side gets |
//! |---|---|---|
//! | writer | [`Writer::close`] | [`Ready::End`] after the last byte |
//! | writer | killed, aborted, or dropped without `close` (an error path: half a stream must not pass for a whole one) | [`Error::WriterDied`] after the last byte that was published |
//! | reader | [`Reader::detach`] or dropped | [`Error::ReaderDetached`] |
//! | reader | killed, aborted, or unwound by a panic | [`Error::ReaderDied`] |
//!
//! # Who is trusted
//! The peer is a process of the same user (checked), so it is not an enemy; but it may be broken.
//! Whatever it says is read once and checked before use: the seals and the size of the memory, and
//! every position. Nonsense is a typed error. Bytes that a broken writer alters after it
//! published them are the reader's to survive, as with a file that changes while it is mapped.
//!
//! # Example
//! ```
//! # #[cfg(target_os = "linux")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let name = format!("doc-{}", std::process::id());
//! # let reader_name = name.clone();
//! use ring::{CAPACITY_BYTES, Patience, Reader, Ready, Writer};
//! # let other = std::thread::spawn(move || {
//! # let name = reader_name;
//! let mut reader = Reader::attach(&name, Patience::default())?; // in one process
//! while reader.wait()? == Ready::More {
//!     let count = reader.data()?.len();
//!     reader.consume(count)?;
//! }
//! # Ok::<(), ring::Error>(()) });
//! let mut writer = Writer::create(&name, CAPACITY_BYTES, Patience::default())?; // in another
//! writer.reserve(5)?.copy_from_slice(b"bytes");
//! writer.publish(5)?;
//! writer.close()?;
//! # other.join().map_err(|_| "reader")??; Ok(()) }
//! # #[cfg(not(target_os = "linux"))] fn main() {}
//! ```

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

mod address;
mod error;

pub use address::{Address, NAME_BYTES_MAX};
pub use error::{Error, Fault, Word};

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use linux::{Reader, Waker, Writer};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod stub;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub use stub::{Reader, Waker, Writer};

/// Capacity that tools ask for: what is written is still in the processor's cache when it is read.
/// Each position is written anew in every lap, so that 32 MiB cost three times as much a byte
/// however little of it is full (`make bench-ring`). What is longer than half of it goes in
/// pieces, and is for the reader to put together.
pub const CAPACITY_BYTES: usize = 1 << 20;

/// Largest capacity that either side accepts, in bytes.
pub const CAPACITY_BYTES_MAX: usize = 1 << 32;

/// One of the two ends of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that publishes bytes.
    Writer,
    /// The end that consumes them.
    Reader,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Writer => "writer",
            Side::Reader => "reader",
        })
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ready {
    /// What was asked for is there: bytes for a reader, room for a writer.
    More,
    /// The writer closed the ring: there will be no more bytes than are there already.
    End,
    /// A signal handler ran, a watched descriptor spoke or [`Waker::wake`] was called. Nothing
    /// changed; waiting again is fine.
    Interrupted,
    /// The time given is over.
    TimedOut,
}

/// What is to be noticed about a descriptor that a side watches while it is blocked on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Something can be read from it (a signal pipe, an eventfd).
    Readable,
    /// Its other end is gone (the pipe or ring that the side writes to).
    HungUp,
}

/// How long the side that comes first waits for the other. The default waits for ever, as opening
/// a FIFO does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience<'a> {
    /// Ends the wait with [`Error::Interrupted`] once it is readable.
    pub stop: Option<BorrowedFd<'a>>,
    /// Ends the wait with [`Error::TimedOut`].
    pub limit: Option<Duration>,
}
