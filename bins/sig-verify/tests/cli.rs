//! `sig-verify` alone: its manners, its rules, its keys, and how it waits for a directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking"
)]

#[path = "cli/directory.rs"]
mod directory;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/forge.rs"]
mod forge;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/index.rs"]
mod index;

// What it is: a stage with the manners of all stages.
#[path = "cli/manners.rs"]
mod manners;
// The capture and its independent verdicts.
#[path = "cli/refnet.rs"]
mod refnet;
// The rules, one by one.
#[path = "cli/damage.rs"]
mod damage;
#[path = "cli/rules.rs"]
mod rules;
#[path = "cli/trees.rs"]
mod trees;
// What an account did last.
#[path = "cli/chain.rs"]
mod chain;
// Several threads.
#[path = "cli/jobs.rs"]
mod jobs;
// Which keys count.
#[path = "cli/identity.rs"]
mod identity;
// Hosts, relays, and accounts that are away.
#[path = "cli/activity.rs"]
mod activity;
// Look-ups, and what goes on meanwhile.
#[path = "cli/resolve.rs"]
mod resolve;
// did:web.
#[path = "cli/web.rs"]
mod web;
// Gaps, and how they are closed.
#[path = "cli/heal.rs"]
mod heal;
// What is known of accounts, from one run to the next.
#[path = "cli/archived.rs"]
mod archived;
#[path = "cli/state.rs"]
mod state;
// More waits than there is room for.
#[path = "cli/pressure.rs"]
mod pressure;
// The real network, where a recording is at hand.
#[path = "cli/wild.rs"]
mod wild;
