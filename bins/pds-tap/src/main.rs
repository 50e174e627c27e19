//! `pds-tap`: listens to hosts and writes their events as frames, losing none and repeating none.

mod backoff;
mod clock;
mod cursor;
mod dns;
mod envelope;
mod host;
mod hosts;
mod join;
mod limits;
mod poller;
mod rejects;
mod resume;
mod serve;
mod settings;
mod stream;
mod tap;
mod voice;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cli::units::{Bytes, Span};
use cli::{Cli, Common, Out, Sockets, Tool};
use net::{Endpoint, Policy};

use crate::cursor::Patience;
use crate::hosts::Target;
use crate::rejects::Rejects;
use crate::resume::Cursors;
use crate::settings::{OnReset, Settings};
use crate::tap::Tap;

/// Listens to hosts and writes their events as frames
///
/// Every host's events come out as the bytes that came off its socket, in the host's order, each
/// once. Lost connections are made again for ever, behind the last event that was handed on. Marks
/// in the stream say up to where everything has been handed on; archive-pack stores them, and
/// --resume goes on from there.
#[derive(Debug, clap::Parser)]
struct Args {
    /// A PDS to listen to, such as wss://pds.example.com or ws://127.0.0.1:2583; may be repeated
    #[arg(long = "host", value_name = "URL", value_parser = hosts::parse)]
    named: Vec<Endpoint>,

    /// A relay to listen to; may be repeated
    #[arg(long = "relay", value_name = "URL", value_parser = hosts::parse)]
    relays: Vec<Endpoint>,

    /// A file of PDSes, one a line, # begins a comment; - is standard input
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_HOSTS")]
    hosts: Vec<PathBuf>,

    #[command(flatten)]
    out: Out,

    /// Go on from the last marks in this archive
    #[arg(long, value_name = "ARCHIVE", env = "SOVEREIGN_RESUME")]
    resume: Option<PathBuf>,

    /// Begin behind this seq at hosts that the archive has no mark of; 0 is all that a host has.
    /// Without it they are joined live, or at 0 if the archive has marks of others
    #[arg(long, value_name = "SEQ", env = "SOVEREIGN_CURSOR")]
    cursor: Option<u64>,

    /// End, with 0, when every host has been silent that long
    #[arg(long, value_name = "TIME", env = "SOVEREIGN_UNTIL_IDLE")]
    until_idle: Option<Span>,

    /// End, with 0, after that long
    #[arg(long = "for", value_name = "TIME", env = "SOVEREIGN_FOR")]
    run_for: Option<Span>,

    /// End, with 0, when that much has been written
    #[arg(long, value_name = "SIZE", env = "SOVEREIGN_MAX_BYTES")]
    max_bytes: Option<Bytes>,

    /// What to do about a host that has begun anew, at seq 1
    #[arg(long, value_enum, default_value = "epoch", env = "SOVEREIGN_ON_RESET")]
    on_reset: OnReset,

    /// Keep what is no event here, as frames; 1 GiB at most
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_REJECTS")]
    rejects: Option<PathBuf>,

    #[command(flatten)]
    sockets: Sockets,

    /// The first pause before a host is tried again; later ones grow to 5 minutes
    #[arg(long, value_name = "TIME", default_value = "1s", hide = true)]
    retry: Span,

    /// How long a host may be silent before it is asked whether it is there
    #[arg(long, value_name = "TIME", default_value = "30s", hide = true)]
    ping: Span,

    /// How long a host has to answer that
    #[arg(long, value_name = "TIME", default_value = "60s", hide = true)]
    answer: Span,

    /// How long a host may say that its seqs have begun anew before that is believed
    #[arg(long, value_name = "TIME", default_value = "3m", hide = true)]
    reset_after: Span,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "pds-tap";
    const EXAMPLE: &'static str = "\
pds-tap --host wss://pds.example.com | frame-cat
pds-tap --hosts hosts.txt --resume archive/ | sig-verify --index did.idx | archive-pack --out archive/";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let settings = self.settings();
        let targets = hosts::collect(&self.named, &self.relays, &self.hosts, settings.policy)?;
        let tls = net::tls::client_config(self.sockets.ca.as_deref())?;
        let output = self.out.open(cli)?;
        let rejects = self.rejects.as_deref().map(Rejects::open).transpose()?;
        let cursors = Cursors::open(self.resume.as_deref(), self.cursor)?;
        limits::make_room(targets.len(), cli);
        if self.cursor == Some(0) && targets.iter().any(Target::is_public) {
            cli.warn(format_args!(
                "--cursor 0 takes the whole window of each new host: 3 days of events as a rule, \
                 which is some 630 GB for the whole network"
            ));
        }
        Tap::new(cli, settings, targets, &cursors, tls, output, rejects)?.run()
    }
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            policy: Policy { allow_private: self.sockets.allow_private },
            until_idle: self.until_idle.map(|Span(duration)| duration),
            run_for: self.run_for.map(|Span(duration)| duration),
            bytes_max: self.max_bytes.map(|Bytes(bytes)| bytes),
            on_reset: self.on_reset,
            patience: Patience { times: 3, span: self.reset_after.0 },
            retry: self.retry.0.max(Duration::from_millis(1)),
            ping: self.ping.0,
            answer: self.answer.0,
            ..Settings::default()
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
