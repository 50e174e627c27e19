//! What `pds-tap` is told on its command line.

use std::path::PathBuf;
use std::time::Duration;

use cli::units::{Bytes, Span};
use cli::{Common, Out, Sockets};
use net::{Endpoint, Policy};

use crate::budget::CrowdLimits;
use crate::cursor::Patience;
use crate::hosts;
use crate::settings::{OnReset, Settings};

/// Listens to hosts and writes their events as frames
///
/// Every host's events come out as the bytes that came off its socket, in the host's order, each
/// once. Lost connections are made again for ever, behind the last event that was handed on. Marks
/// in the stream say up to where everything has been handed on; archive-pack stores them, and
/// --resume goes on from there.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// A PDS to listen to, such as wss://pds.example.com or ws://127.0.0.1:2583; may be repeated
    #[arg(long = "host", value_name = "URL", value_parser = hosts::parse)]
    pub(crate) named: Vec<Endpoint>,

    /// A relay to listen to; may be repeated
    #[arg(long = "relay", value_name = "URL", value_parser = hosts::parse)]
    pub(crate) relays: Vec<Endpoint>,

    /// A file of PDSes, one a line, # begins a comment; - is standard input. Read again on SIGHUP:
    /// hosts that have appeared are joined, hosts that are gone are left
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_HOSTS")]
    pub(crate) hosts: Vec<PathBuf>,

    /// Join the hosts that this relay lists, too, and those that it lists later; may be repeated
    #[arg(long, value_name = "URL", env = "SOVEREIGN_DISCOVER", value_delimiter = ',', value_parser = hosts::parse)]
    pub(crate) discover: Vec<Endpoint>,

    /// How often its list is read again
    #[arg(long, value_name = "TIME", default_value = "1h", env = "SOVEREIGN_DISCOVER_EVERY")]
    pub(crate) discover_every: Span,

    /// A file of hosts, domains (with all below them) and addresses that are never listened to, one
    /// a line. Read again on SIGHUP
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_DENY")]
    pub(crate) deny: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) out: Out,

    /// Go on from the last marks in this archive
    #[arg(long, value_name = "ARCHIVE", env = "SOVEREIGN_RESUME")]
    pub(crate) resume: Option<PathBuf>,

    /// Begin behind this seq at hosts that the archive has no mark of; 0 is all that a host has.
    /// Without it they are joined live, or at 0 if the archive has marks of others
    #[arg(long, value_name = "SEQ", env = "SOVEREIGN_CURSOR")]
    pub(crate) cursor: Option<u64>,

    /// End, with 0, when every host has been silent that long
    #[arg(long, value_name = "TIME", env = "SOVEREIGN_UNTIL_IDLE")]
    pub(crate) until_idle: Option<Span>,

    /// End, with 0, after that long
    #[arg(long = "for", value_name = "TIME", env = "SOVEREIGN_FOR")]
    pub(crate) run_for: Option<Span>,

    /// End, with 0, when that much has been written
    #[arg(long, value_name = "SIZE", env = "SOVEREIGN_MAX_BYTES")]
    pub(crate) max_bytes: Option<Bytes>,

    /// What to do about a host that has begun anew, at seq 1
    #[arg(long, value_enum, default_value = "epoch", env = "SOVEREIGN_ON_RESET")]
    pub(crate) on_reset: OnReset,

    /// Keep what is no event here, as frames; 1 GiB at most
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_REJECTS")]
    pub(crate) rejects: Option<PathBuf>,

    /// Take up at most so many new names a day from lists
    #[arg(long, value_name = "N", default_value_t = 20_000, env = "SOVEREIGN_NEW_NAMES")]
    pub(crate) new_names: u32,

    /// Listen to at most so many hosts of lists at one address; 0 is no limit [default: 100 at
    /// public addresses]
    #[arg(long, value_name = "N", env = "SOVEREIGN_PER_ADDRESS")]
    pub(crate) per_address: Option<u32>,

    /// Listen to at most so many hosts of lists below one registrable domain; 0 is no limit
    /// [default: 500]
    #[arg(long, value_name = "N", env = "SOVEREIGN_PER_DOMAIN")]
    pub(crate) per_domain: Option<u32>,

    /// Take at most so many events a second from one PDS, over ten minutes, and read the rest
    /// later; 0 is no limit [default: 2000 for hosts of lists at public addresses]
    #[arg(long, value_name = "N", env = "SOVEREIGN_HOST_RATE")]
    pub(crate) host_rate: Option<u32>,

    /// Leave a PDS alone for a day that speaks for more accounts than that; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 4_000_000, env = "SOVEREIGN_HOST_ACCOUNTS")]
    pub(crate) host_accounts: u64,

    /// Hold at most so much of messages that are not complete; beyond it the longest is cut, and
    /// asked for again
    #[arg(long, value_name = "SIZE", default_value = "256MiB", env = "SOVEREIGN_UNFINISHED")]
    pub(crate) unfinished: Bytes,

    #[command(flatten)]
    pub(crate) sockets: Sockets,

    /// The first pause before a host is tried again; later ones grow to 5 minutes
    #[arg(long, value_name = "TIME", default_value = "1s", hide = true)]
    pub(crate) retry: Span,

    /// How long a host may be silent before it is asked whether it is there
    #[arg(long, value_name = "TIME", default_value = "30s", hide = true)]
    pub(crate) ping: Span,

    /// How long a host has to answer that
    #[arg(long, value_name = "TIME", default_value = "60s", hide = true)]
    pub(crate) answer: Span,

    /// How long a host may say that its seqs have begun anew before that is believed
    #[arg(long, value_name = "TIME", default_value = "3m", hide = true)]
    pub(crate) reset_after: Span,

    /// How long an address has until the WebSocket is open
    #[arg(long, value_name = "TIME", default_value = "20s", hide = true)]
    pub(crate) connect: Span,

    /// The time over which a host's rate is taken
    #[arg(long, value_name = "TIME", default_value = "10m", hide = true)]
    pub(crate) host_rate_over: Span,

    /// How long any message may take to arrive
    #[arg(long, value_name = "TIME", default_value = "60s", hide = true)]
    pub(crate) grace: Span,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Args {
    /// How patient the tap is to be.
    pub(crate) fn settings(&self) -> Settings {
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
            connect: self.connect.0,
            grace: self.grace.0,
            new_names: self.new_names,
            crowd: CrowdLimits { per_address: self.per_address, per_domain: self.per_domain },
            events_a_second: self.host_rate,
            rate_over: self.host_rate_over.0,
            accounts: self.host_accounts,
            unfinished: usize::try_from(self.unfinished.0).unwrap_or(usize::MAX),
            discover: self.discover_every.0,
        }
    }
}
