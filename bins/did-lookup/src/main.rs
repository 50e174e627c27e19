//! `did-lookup`: what `did.idx` says about a DID, and about itself.

mod about;
mod answer;

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cli::{Cli, Common, Text, Tool};
use didindex::{DidIndex, Error};

/// Longest line of standard input that is taken for a DID.
const DID_BYTES_MAX: u64 = 4096;

/// Looks DIDs up in did.idx and prints a JSON object for each
///
/// An object has did, status (active, no-pds, unknown-key-type, no-key, tombstoned, unknown), key
/// (the present signing key, a did:key), pds (host name) and history (from when which key was in
/// force; from is null for a key that was always the only one). Ends with 1 if a DID is unknown.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The index that index-build made
    #[arg(value_name = "INDEX")]
    index: PathBuf,

    /// DIDs to look up; without any, or with `-`, they are read from standard input, one a line
    #[arg(value_name = "DID", conflicts_with_all = ["info", "hosts", "verify"])]
    dids: Vec<String>,

    /// Print what the index holds: accounts, load, bytes, hosts, what has changed since it was
    /// built, and up to when it has read
    #[arg(long, conflicts_with_all = ["hosts", "verify"])]
    info: bool,

    /// Print the names of PDS hosts, those with most accounts first, one a line
    #[arg(long, conflicts_with = "verify")]
    hosts: bool,

    /// Read all of the index and of what lies beside it and compare their checksums
    #[arg(long)]
    verify: bool,

    /// Print --info as a JSON object
    #[arg(long, requires = "info")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "did-lookup";
    const EXAMPLE: &'static str = "\
did-lookup did.idx did:plc:ewvi7nxzyoun6zhxrhs64oiz
did-lookup did.idx --hosts | pds-tap --hosts -";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let name = self.index.display();
        let mut index = match DidIndex::open(&self.index) {
            Err(error @ Error::NotAnIndex { .. }) => {
                return Err(cli::usage(format!("{name}: {error}")));
            }
            index => index.with_context(|| name.to_string())?,
        };
        let mut out = Text::new(cli);
        if self.verify {
            index.verify().with_context(|| name.to_string())?;
            cli.info(format_args!("{name}: whole"));
            return Ok(());
        }
        if self.info {
            about::info(&index, self.json, &mut out)?;
            return out.flush();
        }
        if self.hosts {
            about::hosts(&index, &mut out)?;
            return out.flush();
        }
        let (mut asked, mut unknown) = (0u64, 0u64);
        let mut look_up = |did: &str, out: &mut Text<'_>| {
            asked += 1;
            // It may be kept current while standard input is waited for.
            index.refresh().with_context(|| name.to_string())?;
            unknown += u64::from(!answer::put(&index, did, out)?);
            anyhow::Ok(())
        };
        if self.dids.is_empty() {
            from_stdin(&mut out, &mut look_up)?;
        }
        for did in &self.dids {
            match did.as_str() {
                "-" => from_stdin(&mut out, &mut look_up)?,
                did => look_up(did, &mut out)?,
            }
        }
        out.flush()?;
        anyhow::ensure!(unknown == 0, "{unknown} of {asked} DIDs are not in {name}");
        Ok(())
    }
}

/// Looks up what standard input lists. Whenever it has nothing more at hand the answers go out.
fn from_stdin(
    out: &mut Text<'_>,
    look_up: &mut impl FnMut(&str, &mut Text<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if io::stdin().is_terminal() {
        return Err(cli::usage("name a DID: did-lookup did.idx did:plc:..."));
    }
    let mut input = io::BufReader::new(io::stdin());
    let mut line = Vec::new();
    loop {
        if input.buffer().is_empty() {
            out.flush()?;
        }
        line.clear();
        let read = io::Read::take(&mut input, DID_BYTES_MAX).read_until(b'\n', &mut line);
        if read.context("standard input")? == 0 {
            return Ok(());
        }
        let did = String::from_utf8_lossy(&line);
        match did.trim() {
            "" => {}
            did => look_up(did, out)?,
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
