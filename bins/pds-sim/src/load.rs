//! Load: ten thousand hosts in one thread, to measure what listens to them.
//!
//! A network that is to be measured against has to cost next to nothing itself. So the events are
//! a [`pool`], made and signed before anyone connects; when a host sends one of them, it gets the
//! host's next number and the time of that moment to the nanosecond, and nothing else is done. A
//! host remembers of its events those times alone: pool and times give the same bytes again to
//! whoever comes with a cursor. What is measured reads the time in the event and knows how old it
//! is.
//!
//! All hosts share one listening socket, bound to the loopback device: which one a connection is
//! to, its own address says. TLS is real, with a certificate for every address.
//!
//! Or each host sends what its own accounts did (`--copies`), for chains that prove it: then the
//! pool has every event, and the truth about each of them.
//!
//! [`sizes`] says how much each host sends, [`host`] what it has sent, [`peer`] is a connection,
//! and [`engine`] the loop over all of them.

mod door;
mod engine;
mod host;
mod peer;
mod pool;
mod sizes;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::args::{Args, Start};
use crate::network;
use crate::stats::Stats;
use crate::truth::write_whole;
use door::Door;
use engine::Engine;
use pool::Pool;
use sizes::Sizes;

/// What the loop is to do.
struct Plan {
    /// Events a second over all hosts.
    rate: f64,
    /// How many in all.
    events: u64,
    /// How many hosts have to have had a subscriber before they begin, and how long after that.
    start: usize,
    settle: Duration,
    /// Hosts that go away each second, and for how long.
    churn: f64,
    away: Duration,
    /// A connection is reset after so many events.
    drop_every: Option<u64>,
    /// Silence after which a subscriber is pinged.
    ping: Option<Duration>,
    /// End when all has been sent and all have left.
    once: bool,
    seed: u64,
}

impl Plan {
    fn of(args: &Args) -> Result<Self> {
        if args.made.rate <= 0.0 {
            return Err(cli::usage("--load needs a --rate above 0"));
        }
        let hosts = args.network.hosts as usize;
        Ok(Self {
            rate: args.made.rate,
            events: args.made.events.unwrap_or(u64::MAX),
            start: match args.run.start {
                Start::Now => 0,
                Start::First => 1,
                Start::All => hosts,
            },
            settle: args.run.settle.0,
            churn: args.load.churn,
            away: args.load.away.0,
            drop_every: args.faults.drop_conn,
            ping: (!args.network.ping.0.is_zero()).then_some(args.network.ping.0),
            once: args.run.once,
            seed: args.made.seed,
        })
    }
}

/// Serves load until it is told to stop.
pub fn run(args: &Args, cli: &cli::Cli) -> Result<()> {
    let mut plan = Plan::of(args)?;
    let count = args.network.hosts as usize;
    let door = Door::open(&args.network)?;
    let names: Vec<String> = (0..count).map(|number| door.address(number).to_string()).collect();
    let (path, pem) =
        (args.network.ca_out.as_deref().context("--load needs --ca-out")?, door.pem());
    write_whole(path, |out| Ok(out.write_all(pem.as_bytes())?))?;

    let (makers, directory, mut world) = network::made_up(args, names.clone(), Arc::default())?;
    if let (Some(copies), Some(path)) = (args.load.copies, &args.made.truth) {
        let (first, copies) = (pool::FIRST_SEQ as i64, copies as i64);
        world.write_truth_renumbered(path, |seq| first + (seq - 1) * copies)?;
    }
    // It holds all repositories.
    drop(world);
    let pool = match args.load.copies {
        None => Pool::shared(makers.into_iter().flat_map(|host| host.log.all()))?,
        Some(copies) => Pool::own(makers.into_iter().map(|host| host.log.all()), copies)?,
    };

    let stats = Arc::new(Stats::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let plc = runtime.block_on(network::serve_directory(args, directory, Arc::clone(&stats)))?;

    let sizes = match pool.events() {
        None => Sizes::new(count, plan.seed),
        Some(events) => {
            let events: Vec<u64> = events.collect();
            plan.events = events.iter().sum();
            Sizes::of(events.into_iter(), plan.seed)
        }
    };
    let mut engine = Engine::new(plan, door, pool, sizes, Arc::clone(&stats))?;
    network::ready(args, &names, &plc, None, None)?;
    let truth = args.made.truth.as_ref().filter(|_| args.load.copies.is_none());
    engine.run(cli, |hosts| match truth {
        None => Ok(()),
        Some(path) => write_whole(path, |out| {
            for (name, host) in names.iter().zip(hosts) {
                let (first, events) = (pool::FIRST_SEQ, host.len());
                let line = json!({"type": "host", "host": name, "first": first, "events": events});
                writeln!(out, "{line}")?;
            }
            Ok(())
        }),
    })?;
    if args.run.counts {
        let mut counts = stats.json(engine.made());
        counts["behind_ns_max"] = json!(engine.behind_max().as_nanos() as u64);
        network::print(&counts.to_string())?;
    }
    // Nobody waits for the directory's connections.
    runtime.shutdown_background();
    Ok(())
}
