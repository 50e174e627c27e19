//! Against the world: recordings, vectors, another implementation, damage.

// Helpers are not in a #[test], where these are allowed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod data;

// Everything that real servers sent reads, hashes and agrees with itself.
mod recorded;
// Names, commits and whole repositories that others made.
mod vectors;
// Strict reading against `serde_ipld_dagcbor`.
mod differential;
// Damaged recordings do no harm.
mod hostile;
// After warm-up nothing is allocated.
mod allocation;
