//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as Group, Parser, ValueEnum};
use cli::units::Span;

use crate::fault::Share;
use crate::mix::Mix;
use crate::plc_limit::{Limits, Outage, RetryAfter};

/// A whole AT Protocol network on this machine: a PLC directory and any number of hosts
///
/// The accounts of the network have real keys, real trees and real signed commits, made from a
/// seed; or a capture of real hosts is served again, byte for byte. When everything listens, one
/// JSON line on standard output says where: {"plc","hosts","ca"}, and "relay" and "dns" if asked for.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(flatten)]
    pub network: Network,
    #[command(flatten)]
    pub made: MadeUp,
    #[command(flatten)]
    pub replay: Replay,
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub plc: Plc,
    #[command(flatten)]
    pub faults: Faults,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub common: cli::Common,
}

/// How hosts get addresses of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spread {
    /// One address, a port each.
    Port,
    /// One port, an address each: 127.0.0.1, 127.0.0.2, ...
    Address,
}

/// When the live events begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// As soon as everything listens.
    Now,
    /// When the first subscriber is there.
    First,
    /// When every host has had a subscriber.
    All,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "The network")]
pub struct Network {
    /// Number of hosts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub hosts: u32,

    /// Where the first host listens; with port 0 each host has a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Whether further hosts have the next ports or the next addresses
    #[arg(long, value_enum, default_value_t = Spread::Port)]
    pub spread: Spread,

    /// Where the directory listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub plc_listen: SocketAddr,

    /// Also answer as a name server (UDP) about the handles of the accounts
    #[arg(long, value_name = "ADDR", conflicts_with = "replay")]
    pub dns_listen: Option<SocketAddr>,

    /// Also listen as a relay that lists the hosts
    #[arg(long)]
    pub relay: bool,

    /// Hosts speak TLS, with certificates of an authority made for this run
    #[arg(long, requires = "ca_out")]
    pub tls: bool,

    /// Where to write the authority's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub ca_out: Option<PathBuf>,

    /// Ping subscribers that are told nothing for so long; 0 never
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub ping: Span,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "A network that is made up")]
pub struct MadeUp {
    /// Decides everything that is chosen
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Accounts at the beginning, spread evenly over the hosts
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub accounts: usize,

    /// Records that each of them has at the beginning; with any, their births are not told
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub records: usize,

    /// How many of them are did:web, each with its document at the host of its name
    #[arg(long, value_name = "N", default_value_t = 0, requires = "tls")]
    pub web: usize,

    /// Events in all; then hosts stay, and are silent [default: no end]
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,

    /// Events that are there before anyone can connect; births always are
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub backfill: u64,

    /// Live events a second over all hosts; 0 is as fast as they are read
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = not_negative)]
    pub rate: f64,

    /// What happens how often: NAME=WEIGHT,... (all=0,create=9,rotate=1)
    #[arg(long, value_name = "MIX", default_value = "create=720")]
    pub mix: Mix,

    /// Events that a host keeps for cursors [default: all with --events, else 100000]
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,

    /// Time of the first event (ISO); fixes all times, so that a seed gives the same bytes
    #[arg(long, value_name = "TIME", value_parser = iso_time)]
    pub start_time: Option<u64>,

    /// Write what was made, with the verdict on each event, when all is made or at the end
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub truth: Option<PathBuf>,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "A network that was recorded")]
pub struct Replay {
    /// Serve this capture: events behind big-endian u32 lengths, plain or zstd
    #[arg(long, value_name = "FILE", conflicts_with_all = ["accounts", "records", "web", "events", "rate", "mix", "window", "start_time", "forge", "damage", "seed"])]
    pub replay: Option<PathBuf>,

    /// The directory is this export (JSON lines)
    #[arg(long, value_name = "FILE", requires = "replay")]
    pub plc: Option<PathBuf>,

    /// Events a second [default: as fast as they are read]
    #[arg(long, value_name = "N", requires = "replay", conflicts_with = "realtime", value_parser = positive)]
    pub speed: Option<f64>,

    /// As fast as it was recorded, times this
    #[arg(long, value_name = "FACTOR", requires = "replay", value_parser = positive)]
    pub realtime: Option<f64>,

    /// What hosts share the capture by: without it each has all of it
    #[arg(long, value_name = "WHAT", requires = "replay", value_parser = ["did"])]
    pub split: Option<String>,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "A network under load")]
pub struct Load {
    /// Hosts, with an address each, send the events of the backfill again and again, each under
    /// the next number and with its time to the nanosecond: --events live ones in all, at --rate,
    /// a few hosts most of them. Cheap enough for 10,000 hosts; --truth has a line for each of them
    #[arg(long, requires = "tls", conflicts_with_all = ["replay", "relay", "dns_listen", "spread", "web", "window", "start_time"])]
    pub load: bool,

    /// Each host sends what its own accounts did in the backfill instead, in order, and each event
    /// so many times in a row: a chain has all of it to prove and the rest to drop. --truth has a
    /// line for each event then, with the number under which it is sent first
    #[arg(long, value_name = "N", requires = "load", conflicts_with = "events", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub copies: Option<u64>,

    /// Hosts that go away each second: their connections are reset, and new ones too
    #[arg(long, value_name = "N", default_value_t = 0.0, requires = "load", value_parser = not_negative)]
    pub churn: f64,

    /// How long they stay away
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "load")]
    pub away: Span,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "The directory")]
pub struct Plc {
    /// It knows no sequence numbers and no stream, like the official server before 2026
    #[arg(long)]
    pub plc_old: bool,

    /// Most operations in a page of its export
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub plc_page: u64,

    /// Operations that its stream reaches back over [default: all]
    #[arg(long, value_name = "N")]
    pub plc_window: Option<usize>,

    /// So many operations in a row have the same createdAt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub plc_crowd: u32,

    /// Share of operations that appear late: with a createdAt up to 20 s before that of others
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub plc_late: Share,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "Faults")]
pub struct Faults {
    /// Share of events that a false copy goes before
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub forge: Share,

    /// Share of events that come in a damaged form only
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub damage: Share,

    /// Reset each connection, also of the directory's stream, after so many events
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    pub drop_conn: Option<u64>,

    /// Refuse requests to the directory beyond so many in a window of time (500/300s), from a time
    /// after the start on beyond others (50/2s,20s:100/2s)
    #[arg(long, value_name = "N/WINDOW,...")]
    pub plc_limit: Option<Limits>,

    /// How such a refusal says when to come again
    #[arg(long, value_enum, default_value_t = RetryAfter::Seconds)]
    pub plc_retry_after: RetryAfter,

    /// The directory says in each answer what its limit is (RateLimit-*)
    #[arg(long, requires = "plc_limit")]
    pub plc_headers: bool,

    /// The directory answers 503 in this time after the start (5s-12s)
    #[arg(long, value_name = "START-END")]
    pub plc_outage: Option<Outage>,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "The run")]
pub struct Run {
    /// When events that are not backfill begin
    #[arg(long, value_enum, default_value_t = Start::First)]
    pub start: Start,

    /// How long after that
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub settle: Span,

    /// Write the line that says where everything listens into a file too
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// End when each host's events have all gone to a subscriber and the subscribers have left
    #[arg(long)]
    pub once: bool,

    /// Print counts at the end, one JSON line
    #[arg(long)]
    pub counts: bool,
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("not a number")
}

fn not_negative(text: &str) -> Result<f64, &'static str> {
    number(text).and_then(|number| (number >= 0.0).then_some(number).ok_or("below 0"))
}

fn positive(text: &str) -> Result<f64, &'static str> {
    number(text).and_then(|number| (number > 0.0).then_some(number).ok_or("not above 0"))
}

fn iso_time(text: &str) -> Result<u64, &'static str> {
    crate::clock::parse_iso(text).ok_or("not an ISO time, such as 2026-01-01T00:00:00Z")
}
