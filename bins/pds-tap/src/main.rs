//! `pds-tap`: listens to hosts and writes their events as frames, losing none and repeating none.

mod args;
mod ask;
mod backoff;
mod budget;
mod census;
mod clock;
mod cursor;
mod deny;
mod descriptors;
mod discover;
mod envelope;
mod errands;
mod host;
mod hosts;
mod join;
mod lag;
mod poller;
mod quota;
mod rejects;
mod resume;
mod roster;
mod serve;
mod settings;
mod sources;
mod stream;
mod tap;
mod voice;

use std::process::ExitCode;

use cli::{Cli, Common, Tool};

use crate::args::Args;
use crate::hosts::{LEFT_OUT, Target};
use crate::rejects::Rejects;
use crate::resume::Cursors;
use crate::sources::Sources;
use crate::tap::{Parts, Tap};

/// Connections that come and go leave holes in memory. Slabs by size fill them again, so that a tap
/// that runs for months takes no more than one that has begun; `make soak` shows it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

impl Tool for Args {
    const NAME: &'static str = "pds-tap";
    const EXAMPLE: &'static str = "\
pds-tap --host wss://pds.example.com | frame-cat
did-lookup did.idx --hosts | pds-tap --hosts - --deny deny.txt | frame-cat --events
pds-tap --hosts hosts.txt --resume archive/ | sig-verify --index did.idx | archive-pack --out archive/";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let settings = self.settings();
        let named = (&self.named[..], &self.relays[..]);
        let sources = Sources::open(named, &self.hosts, &self.deny, settings.policy)?;
        for relay in &self.discover {
            sources::may_be_named(relay, settings.policy)?;
        }
        let targets = sources.wanted();
        if targets.is_empty() && self.discover.is_empty() {
            return Err(cli::usage(match sources.left_out() {
                0 => "no host to listen to; name one with --host, --relay, --hosts or --discover"
                    .to_owned(),
                names => format!("no host to listen to; {names} {LEFT_OUT}"),
            }));
        }
        if self.cursor == Some(0) && targets.iter().any(Target::is_public) {
            cli.warn(format_args!(
                "--cursor 0 takes the whole window of each new host: 3 days of events as a rule, \
                 which is some 630 GB for the whole network"
            ));
        }
        let parts = Parts {
            settings,
            sources,
            tls: net::tls::client_config(self.sockets.ca.as_deref())?,
            output: self.out.open(cli)?,
            rejects: self.rejects.as_deref().map(Rejects::open).transpose()?,
            cursors: Cursors::open(self.resume.as_deref(), self.cursor)?,
            discover: self.discover,
            ca: self.sockets.ca,
        };
        Tap::new(cli, parts)?.run()
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
