//! `pds-sim` as a process: what it serves, read by clients that know nothing of it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/proof.rs"]
mod proof;

/// Load: many hosts, made events, cursors, breaks.
#[path = "cli/load.rs"]
mod load;
/// Events that are made up: keys, signatures, chains, faults.
#[path = "cli/made_up.rs"]
mod made_up;
/// The directory and the other queries of hosts.
#[path = "cli/queries.rs"]
mod queries;
/// Captures, byte for byte.
#[path = "cli/replay.rs"]
mod replay;
/// Cursors, backpressure, broken connections, TLS, the end.
#[path = "cli/serving.rs"]
mod serving;
