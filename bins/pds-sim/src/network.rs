//! A running network: everything that listens, what it serves, and its end.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Notify, oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::args::{Args, Network as Where, Spread, Start};
use crate::capture::Capture;
use crate::clock::{Clock, now_us};
use crate::host::{Host, lock};
use crate::life::{Pace, Playback, live, wait_for_hosts};
use crate::load;
use crate::log::{Event, Log};
use crate::names::{self, Names};
use crate::plc::Directory;
use crate::plc_http::{self, Manner, Served};
use crate::serve::{Door, serve, serve_plain};
use crate::stats::Stats;
use crate::subscribe::Hub;
use crate::tls::Authority;
use crate::truth::write_whole;
use crate::world::{Plan, World};
use crate::xrpc;

/// Events that a host keeps when there is no end of them.
const WINDOW: usize = 100_000;
/// Pause between two looks of the statistics page at the counts.
const SHOW: Duration = Duration::from_millis(500);
/// Addresses in one certificate.
pub const ADDRESSES_MAX: usize = 200;

/// What makes the events.
enum Source {
    World(Arc<Mutex<World>>),
    Playback(Arc<Playback>),
}

/// Runs a network until it is told to stop.
pub fn run(args: &Args, cli: &cli::Cli) -> Result<()> {
    raise_file_limit();
    if args.load.load {
        return load::run(args, cli);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(network(args, cli));
    // The maker's thread is not waited for: a first signal ends everything at once.
    runtime.shutdown_background();
    result
}

/// Each host and each subscriber is an open file. As many as the system lets us have.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it cannot be raised, `accept` will say so in its time.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

async fn network(args: &Args, cli: &cli::Cli) -> Result<()> {
    let listeners = listen(&args.network).await?;
    let names: Vec<String> = listeners.iter().map(|(_, address)| address.to_string()).collect();
    let authority = args.network.tls.then(Authority::new).transpose()?;
    let acceptors = acceptors(authority.as_ref(), &listeners)?;

    let stats = Arc::new(Stats::default());
    let hub = Arc::new(Hub {
        stats: Arc::clone(&stats),
        met: watch::channel(0).0,
        gone: Notify::new(),
        drop_every: args.faults.drop_conn,
        ping: (!args.network.ping.0.is_zero()).then_some(args.network.ping.0),
        next_id: AtomicU64::new(0),
    });
    let called = Arc::new(Names::default());
    let before = usize::try_from(args.made.backfill).unwrap_or(usize::MAX);
    let (hosts, directory, source) = match &args.replay.replay {
        Some(file) => {
            let capture = Capture::read(file)?;
            let hosts = recorded_hosts(args, &capture, names);
            let directory = args.replay.plc.as_deref().map(Directory::read).transpose()?;
            let split = args.replay.split.is_some();
            let playback = Playback::new(&capture, hosts.clone(), split, pace(args), before);
            playback.begin(if pace(args) == Pace::AtOnce { usize::MAX } else { before });
            (hosts, Arc::new(directory.unwrap_or_default()), Source::Playback(Arc::new(playback)))
        }
        None => {
            let (hosts, directory, world) = made_up(args, names, Arc::clone(&called))?;
            (hosts, directory, Source::World(Arc::new(Mutex::new(world))))
        }
    };

    for ((listener, _), (host, tls)) in listeners.into_iter().zip(hosts.iter().zip(acceptors)) {
        let door = Door { listener, tls, host: Arc::clone(host) };
        let router = xrpc::hosts(Arc::clone(&hub)).merge(names::router(Arc::clone(&called)));
        tokio::spawn(serve(door, router, Arc::clone(&stats)));
    }
    let relay = match args.network.relay {
        true => Some(TcpListener::bind((args.network.plc_listen.ip(), 0)).await?),
        false => None,
    };
    let relay_url = match &relay {
        Some(relay) => Some(format!("http://{}", relay.local_addr()?)),
        None => None,
    };
    if let Some(relay) = relay {
        tokio::spawn(serve_plain(relay, xrpc::relay(hosts.clone())));
    }
    let plc_url = serve_directory(args, directory, Arc::clone(&stats)).await?;

    if let (Some(authority), Some(path)) = (&authority, &args.network.ca_out) {
        write_whole(path, |out| Ok(out.write_all(authority.pem().as_bytes())?))?;
    }
    let dns = match args.network.dns_listen {
        Some(address) => {
            let socket = UdpSocket::bind(address)
                .await
                .with_context(|| format!("{address}: the name server cannot listen"))?;
            let address = socket.local_addr()?;
            tokio::spawn(names::serve(socket, called));
            Some(address)
        }
        None => None,
    };
    let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
    ready(args, &names, &plc_url, relay_url.as_deref(), dns)?;
    until_the_end(args, cli, &hub, &hosts, &source).await?;

    let made = match &source {
        Source::World(world) => lock(world).made(),
        Source::Playback(playback) => playback.events(),
    };
    if let (Source::World(world), Some(path)) = (&source, &args.made.truth) {
        lock(world).write_truth(path)?;
    }
    if args.run.counts {
        print(&stats.json(made).to_string())?;
    }
    Ok(())
}

/// Serves the directory from here on, and says where.
pub async fn serve_directory(
    args: &Args,
    directory: Arc<Directory>,
    stats: Arc<Stats>,
) -> Result<String> {
    let plc = TcpListener::bind(args.network.plc_listen)
        .await
        .with_context(|| format!("{}: the directory cannot listen", args.network.plc_listen))?;
    let plc_url = format!("http://{}", plc.local_addr()?);
    let faults = &args.faults;
    let manner = Manner {
        limits: faults.plc_limit.clone(),
        retry_after: faults.plc_retry_after,
        headers: faults.plc_headers,
        outage: faults.plc_outage,
        old: args.plc.plc_old,
        page: args.plc.plc_page,
        window: args.plc.plc_window,
        drop_every: faults.drop_conn,
    };
    let served = Served::new(directory, manner, stats);
    tokio::spawn(serve_plain(plc, plc_http::router(Arc::new(served))));
    Ok(plc_url)
}

/// Lets the events come, and returns when it is time to go.
async fn until_the_end(
    args: &Args,
    cli: &cli::Cli,
    hub: &Hub,
    hosts: &[Arc<Host>],
    source: &Source,
) -> Result<()> {
    let stopped = stopped(cli)?;
    let life = live_on(args, hub, hosts, source);
    let all_gone = async {
        life.await?;
        if !args.run.once {
            return std::future::pending().await;
        }
        loop {
            let gone = hub.gone.notified();
            if hosts.iter().all(|host| host.is_done()) {
                return Ok(());
            }
            gone.await;
        }
    };
    tokio::select! {
        _ = stopped => Ok(()),
        ended = all_gone => ended,
        () = show(cli, &hub.stats) => Ok(()),
    }
}

/// Keeps the statistics page of the process current, for ever.
async fn show(cli: &cli::Cli, stats: &Stats) {
    let (mut events, mut bytes) = (0, 0);
    loop {
        tokio::time::sleep(SHOW).await;
        let (events_now, bytes_now) = (stats.events_sent.get(), stats.bytes_sent.get());
        cli.stats().events_out(events_now - events);
        cli.stats().bytes_out(bytes_now - bytes);
        (events, bytes) = (events_now, bytes_now);
    }
}

/// Word of the first signal. A thread waits for it, so that it is heard however busy the network
/// is.
fn stopped(cli: &cli::Cli) -> Result<oneshot::Receiver<()>> {
    let stop = cli.stop_fd().try_clone_to_owned()?;
    let (say, heard) = oneshot::channel();
    std::thread::spawn(move || {
        let mut polled = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        while let Err(Errno::EINTR) = poll(&mut polled, PollTimeout::NONE) {}
        // Nobody hears it when the network has ended by itself.
        let _ = say.send(());
    });
    Ok(heard)
}

/// Waits for the beginning and then lets everything come.
async fn live_on(args: &Args, hub: &Hub, hosts: &[Arc<Host>], source: &Source) -> Result<()> {
    let wanted = match args.run.start {
        Start::Now => 0,
        Start::First => 1,
        Start::All => hosts.len(),
    };
    wait_for_hosts(hub.met.subscribe(), wanted).await;
    tokio::time::sleep(args.run.settle.0).await;
    match source {
        Source::Playback(playback) => {
            let before = usize::try_from(args.made.backfill).unwrap_or(usize::MAX);
            playback.run(before).await;
            Ok(())
        }
        Source::World(world) => {
            let (making, hosts) = (Arc::clone(world), hosts.to_vec());
            let (rate, truth) = (args.made.rate, args.made.truth.clone());
            let maker = tokio::task::spawn_blocking(move || {
                live(&making, &hosts, rate)?;
                truth.map_or(Ok(()), |path| lock(&making).write_truth(&path))
            });
            maker.await.context("the maker of events is gone")?
        }
    }
}

/// Binds a socket for each host.
async fn listen(network: &Where) -> Result<Vec<(TcpListener, SocketAddr)>> {
    let mut listeners = Vec::new();
    for number in 0..network.hosts {
        let address = address_of(network, number)
            .with_context(|| format!("{}: no room for {number} hosts", network.listen))?;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{address}: host {number} cannot listen"))?;
        let address = listener.local_addr()?;
        listeners.push((listener, address));
    }
    Ok(listeners)
}

fn address_of(network: &Where, number: u32) -> Option<SocketAddr> {
    let (ip, port) = (network.listen.ip(), network.listen.port());
    match network.spread {
        Spread::Port if port == 0 => Some(network.listen),
        Spread::Port => {
            let port = port.checked_add(u16::try_from(number).ok()?)?;
            Some(SocketAddr::new(ip, port))
        }
        Spread::Address => {
            let IpAddr::V4(ip) = ip else { return (number == 0).then_some(network.listen) };
            let ip = u32::from(ip).checked_add(number)?;
            Some(SocketAddr::new(IpAddr::V4(ip.into()), port))
        }
    }
}

/// The TLS of each host; a certificate is shared by as many as fit.
fn acceptors(
    authority: Option<&Authority>,
    listeners: &[(TcpListener, SocketAddr)],
) -> Result<Vec<Option<TlsAcceptor>>> {
    let Some(authority) = authority else { return Ok(vec![None; listeners.len()]) };
    let mut acceptors = Vec::with_capacity(listeners.len());
    for group in listeners.chunks(ADDRESSES_MAX) {
        let addresses: BTreeSet<IpAddr> = group.iter().map(|(_, address)| address.ip()).collect();
        let acceptor = authority.acceptor(&addresses)?;
        acceptors.extend(vec![Some(acceptor); group.len()]);
    }
    Ok(acceptors)
}

fn pace(args: &Args) -> Pace {
    match (args.replay.speed, args.replay.realtime) {
        (Some(speed), _) => Pace::Speed(speed),
        (None, Some(factor)) => Pace::Realtime(factor),
        (None, None) if args.made.backfill > 0 => Pace::Speed(f64::INFINITY),
        (None, None) => Pace::AtOnce,
    }
}

/// Hosts that serve a capture: each all of it, or each the accounts that fall to it.
fn recorded_hosts(args: &Args, capture: &Capture, names: Vec<String>) -> Vec<Arc<Host>> {
    let count = names.len();
    let events = |number: Option<usize>| -> Arc<[Event]> {
        let events = capture.events.iter();
        let own = events.filter(|event| number.is_none_or(|own| event.account % count == own));
        own.map(|event| event.event.clone()).collect()
    };
    let split = args.replay.split.is_some();
    let shared = events(None);
    let oldest = shared.first().map_or(0, |event| event.seq);
    let mut hosts = Vec::with_capacity(count);
    for (number, name) in names.into_iter().enumerate() {
        let own = if split { events(Some(number)) } else { Arc::clone(&shared) };
        hosts.push(Arc::new(Host::new(name, Log::recorded(oldest, own))));
    }
    for (own, did, account) in capture.accounts() {
        for (number, host) in hosts.iter().enumerate() {
            if !split || own % count == number {
                host.add_account(did.clone(), account.clone());
            }
        }
    }
    hosts
}

/// Hosts whose accounts are made up, with all that is there before anyone connects.
pub fn made_up(
    args: &Args,
    names: Vec<String>,
    called: Arc<Names>,
) -> Result<(Vec<Arc<Host>>, Arc<Directory>, World)> {
    let made = &args.made;
    let scheme = if args.network.tls { "https" } else { "http" };
    let endpoints = names.iter().map(|name| format!("{scheme}://{name}")).collect();
    let window = made.window.unwrap_or(if made.events.is_some() { usize::MAX } else { WINDOW });
    let hosts: Vec<Arc<Host>> =
        names.into_iter().map(|name| Arc::new(Host::new(name, Log::new(window)))).collect();
    let directory = Arc::new(Directory::default());
    let plan = Plan {
        seed: made.seed,
        accounts: made.accounts,
        records: made.records,
        web: made.web,
        events: made.events,
        mix: made.mix.clone(),
        forge: args.faults.forge,
        damage: args.faults.damage,
        truth: made.truth.is_some(),
        crowd: args.plc.plc_crowd,
        late: args.plc.plc_late,
    };
    // At most 10 ms between two events that were there before.
    let step_us = if made.rate > 0.0 { (1e6 / made.rate).clamp(1.0, 1e4) as u64 } else { 1000 };
    let clock = match made.start_time {
        Some(start_us) => Clock::new(start_us, step_us, true),
        None => {
            // So long ago that all of the past is over by now: births and operations of the
            // directory take some milliseconds each.
            let accounts = made.accounts as u64 * (30_000 + made.records as u64 * 2 * step_us);
            let past_us = 2_000_000 + accounts + made.backfill * 5 * (step_us + 500);
            Clock::new(now_us().saturating_sub(past_us), step_us, false)
        }
    };
    let mut world =
        World::new(plan, clock, hosts.clone(), endpoints, Arc::clone(&directory), called)?;
    world.populate()?;
    while world.made() < made.backfill && !world.is_over() {
        world.step()?;
    }
    Ok((hosts, directory, world))
}

/// Where everything listens.
#[derive(Serialize)]
struct Ready<'a> {
    plc: &'a str,
    hosts: Vec<String>,
    ca: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<SocketAddr>,
}

/// Says that everything listens, and where.
pub fn ready(
    args: &Args,
    names: &[String],
    plc: &str,
    relay: Option<&str>,
    dns: Option<SocketAddr>,
) -> Result<()> {
    let scheme = if args.network.tls { "wss" } else { "ws" };
    let hosts: Vec<String> = names.iter().map(|name| format!("{scheme}://{name}")).collect();
    let ca = args.network.ca_out.as_deref();
    let line = serde_json::to_string(&Ready { plc, hosts, ca, relay, dns })?;
    if let Some(path) = &args.run.ready_file {
        write_whole(path, |out| Ok(writeln!(out, "{line}")?))?;
    }
    print(&line)
}

/// Prints a line. Nobody need listen: a script may read the file alone.
pub fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
