//! The harness of the end-to-end tests: the built binaries, run as people run them.
//!
//! Nothing of ours is linked but the frame stream's codec, which a test needs to look into a
//! stream. Everything else is seen from outside: processes, pipes, rings, sockets, files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a harness fails by panicking"
)]

mod build;
mod chain;
mod fed;
mod fixture;
mod machine;
mod pty;
mod siege;
mod siege_chain;
mod sim;

pub use build::{TOOLS, bin};
pub use chain::{Chain, Ended, Running, json_lines, tool};
pub use fed::fed;
pub use fixture::{Truth, fixture, refnet_events, split, truths};
pub use machine::machine;
pub use pty::Pty;
pub use siege::{Report, Siege};
pub use siege_chain::{ChainReport, ChainSiege};
pub use sim::Sim;

use std::time::{Duration, Instant};

/// Waits until `done` says so, and fails with `what` after a minute.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
