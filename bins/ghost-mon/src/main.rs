//! Watches the running tools of a pipeline: arguments and wiring.

mod detail;
mod diagnosis;
mod disk;
mod figures;
mod health;
mod history;
mod hosts;
mod json;
mod pipeline;
mod prometheus;
mod race;
mod report;
mod sample;
mod screen;
mod serve;
mod spark;
mod status;
mod style;
mod summary;
mod table;
mod view;
mod vitals;
mod watch;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cli::units::Span;
use cli::{Cli, Common, Tool};

use crate::race::Race;
use crate::style::{Color, Style, is_dumb};
use crate::watch::{Audience, Form, Watch};

const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_ONCE: Duration = Duration::from_millis(250);
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Watch the running tools: rates, queues, refusals, latencies, and who waits for whom
///
/// Every tool counts in a page of shared memory while it runs. This reads those pages and draws
/// them in the order of the pipeline, on the terminal until q is pressed, or as text.
#[derive(clap::Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Report once and end
    #[arg(long)]
    once: bool,

    /// One JSON object a line for each tool, in every interval
    #[arg(long)]
    json: bool,

    /// List so many hosts of pds-tap, the loudest first
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    hosts: usize,

    /// Time between two looks, over which rates are counted [default: 1s, with --once 250ms]
    #[arg(long, value_name = "DURATION")]
    interval: Option<Span>,

    /// Serve metrics for Prometheus (/metrics), /healthz and a page for people over HTTP there, in
    /// place of a screen (--once and --json go before it)
    #[arg(long, value_name = "ADDR", env = "SOVEREIGN_LISTEN")]
    listen: Option<SocketAddr>,

    /// Say whether data is fresh, as /healthz does, and end with 0 or 1
    #[arg(long, conflicts_with_all = ["once", "json", "hosts", "report"])]
    health: bool,

    /// How long a stage may take nothing in before /healthz says 503
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "SOVEREIGN_FRESH")]
    fresh: Span,

    /// Sum up pages that tools kept with --stats, in place of what runs
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["once", "json", "hosts", "interval"])]
    report: Vec<PathBuf>,

    /// Where the pages lie [default: /dev/shm, else the directory for temporary files]
    #[arg(long, value_name = "DIR", env = stats::place::DIR_VARIABLE)]
    dir: Option<PathBuf>,

    /// Whether to use colour; by default on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Subcommand)]
enum Command {
    Race(Box<Race>),
}

impl Tool for Args {
    const NAME: &'static str = "ghost-mon";
    const EXAMPLE: &'static str = "ghost-mon\nghost-mon --once --json | jq .recent.events_in_per_s\nghost-mon --once --hosts 20\nghost-mon --listen 127.0.0.1:9464\nghost-mon --report stats/*\nsig-verify --index did.idx proved.frames | ghost-mon race --theirs wss://relay1.us-east.bsky.network";

    fn common(&self) -> &Common {
        match &self.command {
            Some(Command::Race(race)) => &race.common,
            None => &self.common,
        }
    }

    fn json(&self) -> bool {
        match &self.command {
            Some(Command::Race(race)) => race.json(),
            None => self.json,
        }
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if let Some(Command::Race(race)) = self.command {
            return race.run(cli);
        }
        if !self.report.is_empty() {
            return summary::print(&self.report);
        }
        let interval = self.interval.map_or(INTERVAL, |span| span.0);
        if interval < INTERVAL_MIN {
            return Err(cli::usage("--interval is under 20ms, more often than a look is worth"));
        }
        let style = Style::of_stdout(self.color);
        let form = if self.json { Form::Json } else { Form::Text(style) };
        let mut watch = Watch::new(cli, self.dir, self.hosts);
        if self.health {
            return watch.health(self.fresh.0);
        }
        if let Some(address) = self.listen.filter(|_| !self.once && !self.json) {
            watch.serve(&Audience { address, fresh: self.fresh.0 }, interval)
        } else if self.once {
            watch.once(form, self.interval.map_or(INTERVAL_ONCE, |span| span.0))
        } else if self.json || is_dumb() || !std::io::stdout().is_terminal() {
            watch.follow(form, interval)
        } else {
            watch.show(style, interval)
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
