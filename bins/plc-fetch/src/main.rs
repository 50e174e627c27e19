//! `plc-fetch`: the PLC directory's operations, fetched and kept as JSON lines.

mod ask;
mod bisect;
mod directory;
mod fetch;
mod follow;
mod frames;
mod import;
mod intake;
mod limiter;
mod page;
mod progress;
mod seen;
mod sink;
mod state;
mod store;
mod stream;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use cli::units::Span;
use cli::{Cli, Common, Sockets, Tool};
use didindex::DidIndex;
use net::Policy;

use crate::ask::Asker;
use crate::directory::Directory;
use crate::fetch::{Fetch, Place};
use crate::follow::Follow;
use crate::import::Tries;
use crate::intake::{Intake, Numbered};
use crate::limiter::Limiter;
use crate::progress::Progress;
use crate::seen::BACK_MS;
use crate::sink::Sink;
use crate::state::State;
use crate::store::{Last, Store, Stored};
use crate::wait::Wait;

/// Fetches the operations of a PLC directory and keeps them as files of JSON lines
///
/// Goes on from where the last run stopped, however it stopped; an operation is stored once,
/// exactly as the directory sent it. DIR holds 000001.jsonl.zst and so on, each a row of zstd
/// frames of whole lines. Ends when the directory has nothing more, or goes on asking with
/// --follow.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The directory
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://plc.directory",
        env = "SOVEREIGN_PLC"
    )]
    url: String,

    /// Where to keep operations: a folder (made if missing), or `-` to print them as JSON lines
    #[arg(short, long, value_name = "DIR", default_value = "-", env = "SOVEREIGN_OPS")]
    out: PathBuf,

    /// Begin behind this time (such as 2026-01-31T00:00:00Z) if DIR holds nothing
    #[arg(long, value_name = "TIME", value_parser = page::time_ms)]
    after: Option<u64>,

    /// First take in a dump: a folder or the URL of one, with 000001.jsonl.zst and so on (bundles,
    /// whose hashes are checked) or 1668643200.jsonl.gz and so on (weeks)
    #[arg(long, value_name = "DIR|URL", env = "SOVEREIGN_IMPORT")]
    import: Option<String>,

    /// End when the dump is taken in
    #[arg(long, requires = "import")]
    import_only: bool,

    /// Print lines, too, once they are stored in DIR
    #[arg(long)]
    tee: bool,

    /// Begin where this did.idx has read up to, with --out -
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["after", "tee"])]
    resume: Option<PathBuf>,

    /// Go on with new operations as they come: streamed where the directory does that
    #[arg(long)]
    follow: bool,

    /// How often --follow asks a directory that has no stream
    #[arg(long, value_name = "TIME", default_value = "800ms", env = "SOVEREIGN_EVERY")]
    every: Span,

    /// How long the directory has for an answer
    #[arg(long, value_name = "TIME", default_value = "60s", env = "SOVEREIGN_TIMEOUT")]
    timeout: Span,

    /// How many failures in a row end the run; --follow never gives up
    #[arg(long, value_name = "N", default_value = "10", env = "SOVEREIGN_RETRIES")]
    retries: u32,

    /// The first pause after a failure; later ones grow to 1 minute
    #[arg(long, value_name = "TIME", default_value = "1s", hide = true)]
    retry: Span,

    /// Operations in a file before the next one is begun
    #[arg(long, value_name = "N", default_value = "100000", hide = true)]
    file_lines: u64,

    /// Print what was fetched as a JSON object at the end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sockets: Sockets,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "plc-fetch";
    const EXAMPLE: &'static str = "\
plc-fetch --url https://plc.directory --out ops/
plc-fetch --url https://plc.directory --out ops/ --follow
plc-fetch --import https://plc.t3.storage.dev/plc.directory --out ops/
plc-fetch --follow --resume did.idx | index-build --update did.idx";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let to_stdout = self.out.as_os_str() == "-";
        let prints = to_stdout || self.tee;
        if prints && self.json {
            return Err(cli::usage("--json and operations would mix on standard output"));
        }
        if self.resume.is_some() && !to_stdout {
            return Err(cli::usage("--resume is for --out -; a folder says itself where to go on"));
        }
        let url = self.url.trim_end_matches('/').to_owned();
        cli.stats().set_inputs(&[&url]);
        cli.stats().set_output(&self.out.to_string_lossy());
        let wait = Wait::new(cli, prints);
        let policy = Policy { allow_private: self.sockets.allow_private };
        let client = net::http::Client::new(policy, self.sockets.ca.as_deref(), self.timeout.0)?;
        let (store, stored) = if to_stdout {
            (None, Stored::default())
        } else {
            let (store, stored) = Store::open(&self.out, self.file_lines.max(1), cli)?;
            (Some(store), stored)
        };
        let state = match &store {
            Some(store) => state::load(&store.state_path(), &url),
            None => State::new(&url),
        };
        let after = match &self.resume {
            Some(index) => Some(resume_ms(index)?),
            None => self.after,
        };
        let place = begin(&stored, &state, after);
        let failures_max = if self.follow { u32::MAX } else { self.retries };
        let limiter = Limiter::new(state.limit(), self.retry.0);
        let asker = Asker::start(client, policy)?;
        let mut directory = Directory::new(url, asker, limiter, failures_max, wait);
        if let Some(window) = state.window {
            directory.go_on(window);
        }
        let intake = Intake::new(Sink::new(store, prints), stored, after, cli);
        let progress = Progress::new(cli);
        let mut fetch = Fetch {
            cli,
            directory,
            intake,
            state,
            place,
            progress,
            interfaces: Vec::new(),
            imported: 0,
            remembered: Instant::now(),
        };
        let done = self.fetch(&mut fetch, wait);
        fetch.remember();
        done?;
        if self.json { progress::report(&fetch) } else { Ok(()) }
    }
}

impl Args {
    fn fetch(&self, fetch: &mut Fetch<'_>, wait: Wait<'_>) -> anyhow::Result<()> {
        if let Some(from) = &self.import {
            let tries = Tries { failures_max: self.retries, pause_first: self.retry.0 };
            if !import::run(fetch, from, tries, wait)? {
                return Ok(());
            }
        }
        if self.import_only || !fetch.catch_up()? || !self.follow {
            return Ok(());
        }
        let tls = net::tls::client_config(self.sockets.ca.as_deref())?;
        let source = stream::Source::new(&fetch.directory.url, tls, self.timeout.0)?;
        Follow::new(source, self.every.0, self.retry.0, wait).run(fetch)
    }
}

/// Where to begin.
fn begin(stored: &Stored, state: &State, after: Option<u64>) -> Place {
    let numbered = |last: &Last| {
        let seq = last.seq.filter(|_| state.is_numbered(last.at))?;
        Some(Numbered { seq, name: last.name.clone() })
    };
    match (stored.last.as_ref().and_then(numbered), stored.seen.newest_ms().or(after)) {
        (Some(last), _) => Place::Behind(last),
        // Operations can appear a little after later ones: every run goes on from a minute back
        // and drops what it has.
        (None, Some(_)) if stored.last.is_some() => {
            Place::Probe(stored.seen.newest_ms().unwrap_or(0).saturating_sub(BACK_MS))
        }
        (None, Some(after)) => Place::Probe(after),
        (None, None) => Place::Begin,
    }
}

/// A time that an index has read all operations up to.
fn resume_ms(index: &Path) -> anyhow::Result<u64> {
    let index = DidIndex::open(index).with_context(|| index.display().to_string())?;
    Ok(index.cursor().created_ms.saturating_sub(BACK_MS))
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
