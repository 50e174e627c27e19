//! Names as people write them, each looked up where names of its kind are known.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context;
use cli::{Cli, Text};
use diddoc::{Handle, NotHandle, web};
use didindex::DidIndex;

use crate::answer::{self, Outcome};
use crate::live::{Live, Upstreams};

/// Longest line of standard input that is taken for a name.
const NAME_BYTES_MAX: u64 = 4096;

/// Looks names up, one after the other.
pub(crate) struct Names<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) index: &'a mut DidIndex,
    pub(crate) upstreams: &'a Upstreams<'a>,
    /// Started by the first name that needs it.
    live: Option<Live<'a>>,
    asked: u64,
    unknown: u64,
    unproved: u64,
}

impl<'a> Names<'a> {
    pub(crate) fn new(cli: &'a Cli, index: &'a mut DidIndex, upstreams: &'a Upstreams<'a>) -> Self {
        Self { cli, index, upstreams, live: None, asked: 0, unknown: 0, unproved: 0 }
    }

    /// Looks a name up and prints what is known.
    ///
    /// # Errors
    /// If it cannot be printed, or the network not be asked at all.
    pub(crate) fn look_up(&mut self, name: &str, out: &mut Text<'_>) -> anyhow::Result<()> {
        let did = name.strip_prefix("at://").unwrap_or(name);
        // It may be kept current while standard input is waited for.
        self.index.refresh()?;
        let outcome = if web::is_web(did) {
            answer::web(live(&mut self.live, self.upstreams)?, did, out)?
        } else if did.starts_with("did:") {
            answer::did(self.index, did, out)?
        } else {
            match Handle::parse(name) {
                Ok(handle) => {
                    let live = live(&mut self.live, self.upstreams)?;
                    answer::handle(self.index, live, &handle, self.cli, out)?
                }
                Err(NotHandle::Syntax) => answer::nothing(name, out)?,
                Err(error) => answer::unresolved(did, error.to_string(), out)?,
            }
        };
        self.asked += 1;
        self.unknown += u64::from(outcome == Outcome::Unknown);
        self.unproved += u64::from(outcome == Outcome::Unproved);
        Ok(())
    }

    /// Looks up what standard input lists. Whenever it has nothing more at hand the answers go
    /// out.
    ///
    /// # Errors
    /// If standard input is a terminal (misuse) or cannot be read; as [`Names::look_up`].
    pub(crate) fn look_up_stdin(&mut self, out: &mut Text<'_>) -> anyhow::Result<()> {
        if io::stdin().is_terminal() {
            return Err(cli::usage("name a DID or a handle: did-lookup did.idx did:plc:..."));
        }
        let mut input = io::BufReader::new(io::stdin());
        let mut line = Vec::new();
        loop {
            if input.buffer().is_empty() {
                out.flush()?;
            }
            line.clear();
            let read = io::Read::take(&mut input, NAME_BYTES_MAX).read_until(b'\n', &mut line);
            if read.context("standard input")? == 0 {
                return Ok(());
            }
            let name = String::from_utf8_lossy(&line);
            match name.trim() {
                "" => {}
                name => self.look_up(name, out)?,
            }
        }
    }

    /// Says whether every name was an account's.
    ///
    /// # Errors
    /// How many were not.
    pub(crate) fn finish(self, index_name: impl std::fmt::Display) -> anyhow::Result<()> {
        let Names { asked, unknown, unproved, .. } = self;
        let unknown_said = format!("{unknown} of {asked} DIDs are not in {index_name}");
        let unproved_said = format!("{unproved} of {asked} names could not be verified");
        match (unknown, unproved) {
            (0, 0) => Ok(()),
            (_, 0) => anyhow::bail!(unknown_said),
            (0, _) => anyhow::bail!(unproved_said),
            _ => anyhow::bail!("{unknown_said}; {unproved_said}"),
        }
    }
}

/// Those who are asked, started by the first name that needs them.
fn live<'l, 'a>(
    live: &'l mut Option<Live<'a>>,
    upstreams: &'a Upstreams<'a>,
) -> anyhow::Result<&'l Live<'a>> {
    let started = match live.take() {
        Some(started) => started,
        None => Live::new(upstreams)?,
    };
    Ok(live.insert(started))
}
