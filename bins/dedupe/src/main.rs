//! `dedupe`: what comes again is dropped where nothing is lost by it, and nothing else.

mod copies;
mod figures;
mod hosts;
mod prime;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cli::units::{Span, show_bytes};
use cli::{Cli, Common, Filter, Item, Tool, usage};
use didindex::DidIndex;

use crate::copies::Copies;

/// Drops what a host sends again, and what a second relay repeats
///
/// A copy is dropped if the same content came before from the same host, or from any relay if
/// this one comes from a relay; with --index also if it came before from the host that the
/// account is at. Any other host's event could be refused for who sent it, so the true one behind
/// it must stay. What the same content is does not depend on seq, time or the encoding of the
/// envelope. Copies that go through are settled by sig-verify and archive-pack.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    io: Filter,

    /// How many of the newest events are remembered, at least. The default is an hour at 2,000
    /// events/s and takes 237 MiB at most, all of it set aside at the start; -v says what another
    /// one takes
    #[arg(long, value_name = "EVENTS", default_value_t = WINDOW_EVENTS, env = "SOVEREIGN_WINDOW")]
    window: usize,

    /// Forget events that are older than this (by a sixth later), even if there is room
    #[arg(long, value_name = "DURATION", env = "SOVEREIGN_WINDOW_AGE")]
    window_age: Option<Span>,

    /// The index of the identity directory, as index-build makes it: with it, any copy is dropped
    /// that comes after the one from the account's own host
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_INDEX")]
    index: Option<PathBuf>,

    /// Begin with the newest 131,072 events of this archive as if they had just come, so that a chain
    /// that goes on where it stopped sends nothing twice
    #[arg(long, value_name = "ARCHIVE")]
    prime: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

/// An hour of them at 2,000 a second.
const WINDOW_EVENTS: usize = 7_200_000;

impl Tool for Args {
    const NAME: &'static str = "dedupe";
    const EXAMPLE: &'static str = "\
pds-tap --hosts hosts.txt | dedupe | sig-verify --index did.idx | archive-pack --out archive/
pds-tap --resume archive/ | dedupe --prime archive/ --index did.idx | sig-verify --index did.idx";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let Some(bytes) = copies::bytes_for(self.window) else {
            return Err(usage(format!("--window {}: not a number of events", self.window)));
        };
        let age = self.window_age.map(|Span(age)| age);
        if age.is_some_and(|age| age.is_zero()) {
            return Err(usage("--window-age of nothing: nothing would ever be known again"));
        }
        let index = self.index.as_deref().map(DidIndex::open).transpose();
        let mut copies = Copies::new(self.window, age, index?, cli.stats())?;
        cli.info(format_args!("{} events take {} at most", self.window, show_bytes(bytes)));
        if let Some(archive) = &self.prime {
            let known = prime::prime(&mut copies, archive, self.window)
                .with_context(|| format!("--prime {}", archive.display()))?;
            cli.info(format_args!("{known} events of {} are known", archive.display()));
        }
        let (mut input, mut output) = self.io.open(cli)?;
        loop {
            if input.idle()? {
                output.flush()?;
                if !input.wait_up_to(Some(figures::EVERY))? {
                    copies.publish();
                }
            }
            copies.look_ahead(&mut input)?;
            match input.next()? {
                None => {
                    copies.publish();
                    return output.finish();
                }
                Some(Item::Start) => {
                    copies.start();
                    output.start()?;
                }
                Some(Item::Frame(frame)) => {
                    if !copies.is_copy(&frame)? {
                        output.put(&frame)?;
                    }
                }
            }
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_states_what_the_default_takes() {
        let bytes = copies::bytes_for(WINDOW_EVENTS).unwrap();
        assert!(bytes <= 256 << 20);
        let help = Args::command().render_long_help().to_string();
        let stated = format!("takes {} MiB at most", bytes.div_ceil(1 << 20));
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&help).contains(&stated), "{stated}: {help}");
    }
}
