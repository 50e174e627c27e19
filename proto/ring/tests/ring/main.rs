//! Rings used as stages use them: through the face of the room, and mostly by real processes.
// What a test may do, the functions that tests share may do too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::exit, clippy::print_stderr)]
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

/// The directory, the pattern of bytes and the other process that all tests share.
mod stage;

/// Blocking: a full ring, an idle one, and what ends a wait.
mod blocking;
/// A side that ends, in every way and at any moment.
mod ends;
/// Joining: either side first, names that are taken, sockets left over, no memory.
mod joining;
/// What is read is what was written, whatever the sizes.
mod model;
