//! `pds-tap` alone, against real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod server;
mod tap;

/// What every event goes through: bytes, order, cursors, marks.
mod delivery;
/// What hosts and networks do wrong.
mod faults;
/// Arguments, signals, and the reader of the output.
mod process;
