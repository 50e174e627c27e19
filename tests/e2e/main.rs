//! The tools together: real processes, real pipes, rings and sockets. Read in this order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "tests fail by panicking"
)]

// What every tool does alike: help, version, terminals, torn and foreign input, closed output.
mod manners;
// The verdicts on a capture of the official servers, against an independent program's.
mod verdicts;
// Scenarios that a relay's authors test it by: what goes through and what does not.
mod scenarios;
// Bytes in are bytes out, through the whole chain and the archive.
mod exact;
// The same over rings.
mod rings;
// What goes wrong with rings.
mod joints;
// What pipes are asked for, and how many system calls it takes.
mod calls;
// Any stage killed at any moment, the chain started again: the same archive.
mod kill;
// The archive's own promises: kills, flipped bits, old archives written anew.
mod archive;
// Many segments and few open files.
mod limits;
// What the README does with an archive by other people's tools.
mod recipes;
// Accounts that move between hosts, sleep, and come back.
mod moves;
// One stage several times, between a split and a merge.
mod branches;
// Gaps, closed by whole repositories.
mod heals;
// Hosts, copies, relays: what is dropped and what never is.
mod copies;
// What a running stage says of itself, where a person looks.
mod figures;
// Handles, did:web, and what an index says of itself.
mod identities;
// The directory, fetched and followed: limits, both interfaces, the stream, faults.
mod directory;
// The index kept current through kills: plc-fetch and index-build joined by a pipe.
mod current;
// Hundreds of hosts at once, each event counted.
mod siege;
// The script of `make live`, whose stages die.
mod live;
// The two commands of the README.
mod demo;

use std::path::{Path, PathBuf};

use e2e::{Chain, Sim, fixture};

/// The official servers' capture, served over a WebSocket, and an index made of its directory.
struct Refnet {
    sim: Sim,
    dir: tempfile::TempDir,
}

impl Refnet {
    fn start(args: &[&str]) -> Refnet {
        let capture = fixture("refnet/firehose.u32be.zst");
        let plc = fixture("refnet/plc-export.jsonl");
        let mut all = vec!["--replay", text(&capture), "--plc", text(&plc)];
        all.extend(args);
        let refnet = Refnet { sim: Sim::start(&all), dir: tempfile::tempdir().unwrap() };
        let (ops, index) = (refnet.path("ops"), refnet.path("did.idx"));
        Chain::new()
            .stage("plc-fetch", &["--url", &refnet.sim.plc, "--out", text(&ops), "--allow-private"])
            .succeed();
        Chain::new().stage("index-build", &["--ops", text(&ops), "--out", text(&index)]).succeed();
        refnet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn index(&self) -> String {
        text(&self.path("did.idx")).to_owned()
    }

    /// The arguments of a tap that takes everything the hosts have and ends when they fall silent.
    fn tap(&self) -> Vec<&str> {
        let mut args = vec!["--allow-private", "--cursor", "0", "--until-idle", "2"];
        self.sim.hosts.iter().for_each(|host| args.extend(["--host", host]));
        args
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
