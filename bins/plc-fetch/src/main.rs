//! `plc-fetch`: the PLC directory's operations, fetched and kept as JSON lines.

mod ask;
mod fetch;
mod frames;
mod pace;
mod page;
mod seen;
mod sink;
mod state;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cli::units::Span;
use cli::{Cli, Common, Sockets, Tool};
use net::Policy;

use crate::ask::Asker;
use crate::fetch::{Fetch, Plan};
use crate::pace::Pace;
use crate::sink::Sink;
use crate::store::Store;

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

    /// Go on asking for new operations
    #[arg(long)]
    follow: bool,

    /// How often --follow asks
    #[arg(long, value_name = "TIME", default_value = "5s", env = "SOVEREIGN_EVERY")]
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
plc-fetch --url https://plc.directory --out ops/ --follow";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let to_stdout = self.out.as_os_str() == "-";
        if to_stdout && self.json {
            return Err(cli::usage("--json and --out - would mix on standard output"));
        }
        let url = self.url.trim_end_matches('/').to_owned();
        cli.stats().set_inputs(&[&url]);
        cli.stats().set_output(&self.out.to_string_lossy());
        let policy = Policy { allow_private: self.sockets.allow_private };
        let client = net::http::Client::new(policy, self.sockets.ca.as_deref(), self.timeout.0)?;
        let (sink, seen) = if to_stdout {
            (Sink::Stdout, seen::Seen::default())
        } else {
            let (store, seen) = Store::open(&self.out, self.file_lines.max(1), cli)?;
            (Sink::Store(store), seen)
        };
        let learned = sink.state_path().and_then(|path| state::load(&path, &url));
        let learned = learned.map_or(Duration::ZERO, |state| state.interval());
        let plan = Plan {
            after: self.after,
            follow: self.follow.then_some(self.every.0),
            failures_max: if self.follow { u32::MAX } else { self.retries },
        };
        let pace = Pace::new(learned, self.retry.0);
        let asker = Asker::start(client)?;
        let mut fetch = Fetch::new(cli, url, asker, pace, sink, seen);
        let done = fetch.run(&plan);
        fetch.remember_pace();
        done?;
        if self.json { fetch.report() } else { Ok(()) }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
