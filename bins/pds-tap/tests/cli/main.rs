//! `pds-tap` alone, against real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod server;
mod tap;

/// What every event goes through: bytes, order, cursors, marks.
mod delivery;
/// Who is listened to: lists, relays that know hosts, who is denied, budgets.
mod discovery;
/// What they do wrong in a stream.
mod faults;
/// What hosts and networks do wrong before there is a stream, and instead of one.
mod joining;
/// How much, how fast, how long: limits of a host, and the pressure of a slow reader.
mod limits;
/// Names that the tests give to hosts, and take away.
mod names;
/// Arguments, signals, and the reader of the output.
mod process;
