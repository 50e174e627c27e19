//! Whether something came before: 128-bit hashes of it, remembered over a window that moves on.
//!
//! The duplicate filter sees every event twice or more, so a look-up has to cost less than
//! reading the event does, and it may never be wrong: a filter of one cache line a look-up
//! answers for what is new, and an exact set behind it confirms what the filter takes for old.
//!
//! * [`Key`] makes the hashes. It is random, and nobody outside can aim at a collision.
//! * [`Window`] remembers them, in memory that is fixed at the start.
//!
//! The room knows nothing of events, hosts or frames: what is hashed is its caller's to say.
//!
//! ```
//! use seen::{Key, Window};
//!
//! let key = Key::random()?;
//! let mut window = Window::new(1_000, None)?;
//! let hash = key.hash(|take| take(b"an event"));
//! assert!(!window.insert(hash));
//! assert!(window.insert(hash));
//! # Ok::<(), seen::Error>(())
//! ```
#![warn(clippy::indexing_slicing)]

mod filter;
mod hash;
mod pages;
mod table;
mod window;

pub use hash::Key;
pub use window::{Counts, GENERATIONS_HELD, Window};

/// What can go wrong at the start. Nothing can, afterwards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system gives no random bytes.
    #[error("no random key")]
    Random(#[source] getrandom::Error),
    /// The memory cannot be had.
    #[error("no memory for a window of {events} events, {bytes} bytes")]
    NoMemory {
        /// What the window was to hold.
        events: usize,
        /// What that takes.
        bytes: u64,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A window of nothing, or of more than a machine has addresses for.
    #[error("a window of {events} events is not possible")]
    Size {
        /// What was asked for.
        events: usize,
    },
}
