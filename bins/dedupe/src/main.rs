//! `dedupe`: what comes again from the same side is dropped, and nothing else.

mod source;
mod window;

use std::process::ExitCode;

use anyhow::Context;
use atproto::identity::{self, Key};
use cli::{Cli, Common, Filter, Item, Tool, usage};
use frame::host::HostTable;
use frame::{Frame, Kind};

use crate::source::Sources;
use crate::window::{SLOT_BYTES, Window};

/// Drops what a host sends again, and what a second relay repeats
///
/// A copy is dropped only if the same content came before from the same host, or from any relay
/// if this one comes from a relay: another host's copy could be refused for who sent it, so the
/// true one behind it must stay. What the same content is does not depend on seq, time or the
/// encoding of the envelope. Copies that go through are settled by sig-verify and archive-pack.
#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    io: Filter,

    /// How many of the newest events are remembered, at least. The default is an hour at 2,000
    /// events/s and takes 183 MiB when full; -v says what another one takes
    #[arg(long, value_name = "EVENTS", default_value_t = 7_200_000, env = "SOVEREIGN_WINDOW")]
    window: usize,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "dedupe";
    const EXAMPLE: &'static str = "\
pds-tap --hosts hosts.txt | dedupe | sig-verify --index did.idx | archive-pack --out archive/";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if self.window == 0 || self.window > isize::MAX as usize / SLOT_BYTES / 4 {
            return Err(usage(format!("--window {}: not a number of events", self.window)));
        }
        let mut filter = Copies::new(self.window, cli)?;
        let memory = cli::units::show_bytes(filter.window.bytes());
        cli.info(format_args!("remembering {} events takes {memory} when full", self.window));
        let (mut input, mut output) = self.io.open(cli)?;
        loop {
            if input.idle()? {
                output.flush()?;
            }
            match input.next()? {
                None => return output.finish(),
                Some(Item::Start) => {
                    filter.start();
                    output.start()?;
                }
                Some(Item::Frame(frame)) => {
                    if !filter.is_copy(&frame)? {
                        output.put(&frame)?;
                    }
                }
            }
        }
    }
}

/// Tells copies from events.
struct Copies<'c> {
    cli: &'c Cli,
    /// Random at each start, so that nobody outside can aim at a collision.
    key: Key,
    hosts: HostTable,
    sources: Sources,
    window: Window,
}

impl<'c> Copies<'c> {
    fn new(window: usize, cli: &'c Cli) -> anyhow::Result<Copies<'c>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("random key")?;
        let (hosts, sources) = (HostTable::default(), Sources::new(&key));
        Ok(Copies { cli, key: Key(key), hosts, sources, window: Window::new(window) })
    }

    /// A new stream: its host ids mean other hosts, what was seen stays seen.
    fn start(&mut self) {
        self.hosts.clear();
        self.sources.clear();
    }

    fn is_copy(&mut self, frame: &Frame<'_>) -> anyhow::Result<bool> {
        if frame.header.kind == Kind::HOST {
            self.hosts.apply(frame)?;
            self.sources.forget(frame.header.host);
        }
        if frame.header.kind != Kind::EVENT {
            return Ok(false);
        }
        let header = frame.header;
        let host = self.hosts.get(header.host).with_context(|| {
            format!("an event of host id {}, which no `host` frame names", header.host.0)
        })?;
        let identity = identity::of(&self.key, host.name, header.epoch, header.seq, frame.body());
        let source = self.sources.mark_of(header.host, host);
        let seen = self.window.insert(u128::from_le_bytes(identity) ^ source);
        if seen {
            self.cli.stats().dropped(1);
        }
        Ok(seen)
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
