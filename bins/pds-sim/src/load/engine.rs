//! The loop: events come to be at their rate, and every subscriber is told as fast as it reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::Plan;
use super::door::Door;
use super::host::{Host, Join};
use super::peer::{Gone, Peer, Wish, put_message, reset};
use super::pool::Pool;
use super::sizes::Sizes;
use crate::stats::Stats;

/// How long the loop waits while events come, and when none do.
const TICK: EpollTimeout = EpollTimeout::ZERO;
const TICK_MS: u16 = 1;
const IDLE_MS: u16 = 50;
/// Readiness taken at a time.
const READY_MAX: usize = 512;
/// About as much is written to a socket at a time, and so often before others have their turn.
const BATCH_BYTES: usize = 64 << 10;
const BATCHES_MAX: usize = 8;
/// What a client says is read in pieces of this size.
const SCRATCH_BYTES: usize = 16 << 10;
/// Pause between two looks at things that need no haste.
const LOOK: Duration = Duration::from_millis(500);

const DOOR: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// All hosts and their connections.
pub struct Engine {
    plan: Plan,
    door: Door,
    hosts: Vec<Host>,
    peers: Vec<Option<Peer>>,
    /// Places in `peers` that are empty.
    free: Vec<usize>,
    sender: Sender,
    sizes: Sizes,
    epoll: Epoll,
    scratch: Vec<u8>,
    /// Hosts that have something to send, or may have.
    due: VecDeque<usize>,
    /// Hosts that ever had a subscriber.
    met: usize,
    /// Since when the events are waited for, and since when they come.
    begun: Option<Instant>,
    started: Option<Instant>,
    made: u64,
    behind_max: Duration,
    /// Hosts that are away, the next to come back first.
    away: VecDeque<(Instant, usize)>,
    gone_away: u64,
    looked: Instant,
    /// What the statistics page has been told.
    shown: (u64, u64),
}

/// What is needed to send events.
struct Sender {
    pool: Pool,
    stats: Arc<Stats>,
    drop_every: Option<u64>,
    batch: Vec<u8>,
}

/// Whether a connection has something to be sent.
enum After {
    /// Not before its socket takes it, or more comes.
    Wait,
    /// At once, when others have had their turn.
    Go,
    /// It is to be broken.
    Cut,
}

impl Sender {
    /// Sends a subscriber what it has not been told, as far as its socket takes it.
    fn send(&mut self, host: &Host, peer: &mut Peer) -> Result<After, Gone> {
        let Some(mut position) = peer.position else { return Ok(After::Wait) };
        for _ in 0..BATCHES_MAX {
            if peer.is_blocked {
                return Ok(After::Wait);
            }
            let left = self.drop_every.map_or(u64::MAX, |every| every.saturating_sub(peer.sent));
            let begin = position;
            self.batch.clear();
            while self.batch.len() < BATCH_BYTES && position - begin < left {
                let Some(time_ns) = host.time(position) else { break };
                put_message(self.pool.bytes(peer.host, position), &mut self.batch)?;
                self.pool.put(peer.host, position, time_ns, &mut self.batch);
                position += 1;
            }
            let count = position - begin;
            if count == 0 {
                return Ok(After::Wait);
            }
            peer.tell(&self.batch)?;
            peer.position = Some(position);
            peer.sent += count;
            self.stats.events_sent.add(count);
            self.stats.bytes_sent.add(self.batch.len() as u64);
            if count == left {
                return Ok(After::Cut);
            }
        }
        Ok(After::Go)
    }
}

impl Engine {
    /// Everything ready, and nobody there yet.
    pub fn new(
        plan: Plan,
        door: Door,
        pool: Pool,
        sizes: Sizes,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
        epoll.add(&door, EpollEvent::new(EpollFlags::EPOLLIN, DOOR))?;
        let drop_every = plan.drop_every;
        Ok(Self {
            plan,
            hosts: (0..door.hosts()).map(|_| Host::default()).collect(),
            door,
            peers: Vec::new(),
            free: Vec::new(),
            sender: Sender { pool, stats, drop_every, batch: Vec::new() },
            sizes,
            epoll,
            scratch: vec![0; SCRATCH_BYTES],
            due: VecDeque::new(),
            met: 0,
            begun: None,
            started: None,
            made: 0,
            behind_max: Duration::ZERO,
            away: VecDeque::new(),
            gone_away: 0,
            looked: Instant::now(),
            shown: (0, 0),
        })
    }

    /// Events so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// How late an event came to be at the most, by the rate that was asked for.
    pub fn behind_max(&self) -> Duration {
        self.behind_max
    }

    /// Goes on until a signal, or (with `once`) until all is done. `told` is called once, when all
    /// events have come to be, or at the end.
    pub fn run(&mut self, cli: &cli::Cli, told: impl FnOnce(&[Host]) -> Result<()>) -> Result<()> {
        self.epoll.add(cli.stop_fd(), EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let mut told = Some(told);
        let mut ready = vec![EpollEvent::empty(); READY_MAX];
        while !cli.stopping() {
            let count = match self.epoll.wait(&mut ready, self.timeout()) {
                Err(Errno::EINTR) => 0,
                result => result?,
            };
            for event in &ready[..count] {
                match event.data() {
                    DOOR => self.let_in(),
                    // The loop ends by itself.
                    STOP => {}
                    number => self.attend(number as usize, event.events()),
                }
            }
            self.let_come();
            for _ in 0..self.due.len() {
                self.send_next();
            }
            if self.looked.elapsed() >= LOOK {
                self.look(cli);
            }
            if self.made >= self.plan.events {
                if let Some(told) = told.take() {
                    told(&self.hosts)?;
                }
                if self.plan.once && self.is_done() {
                    break;
                }
            }
        }
        self.look(cli);
        told.map_or(Ok(()), |told| told(&self.hosts))
    }

    fn timeout(&self) -> EpollTimeout {
        let comes = self.started.is_some() && self.made < self.plan.events;
        match (self.due.is_empty(), comes) {
            (false, _) => TICK,
            (true, true) => EpollTimeout::from(TICK_MS),
            (true, false) => EpollTimeout::from(IDLE_MS),
        }
    }

    /// Takes the connections that wait.
    fn let_in(&mut self) {
        while let Some((tcp, host)) = self.door.accept() {
            self.sender.stats.connections.add(1);
            let known = host.and_then(|number| Some((number, self.hosts.get(number)?)));
            let Some((number, host)) = known else { continue };
            if host.is_away {
                reset(&tcp);
                continue;
            }
            let Some(config) = self.door.config(number) else { continue };
            let Ok(peer) = Peer::new(tcp, config, number) else { continue };
            let place = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            let watch = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
            if self.epoll.add(&peer, watch).is_ok() {
                self.hosts[number].peers.push(place);
                self.peers[place] = Some(peer);
            } else {
                self.free.push(place);
            }
        }
    }

    /// A connection is ready.
    fn attend(&mut self, place: usize, ready: EpollFlags) {
        let Some(mut peer) = self.peers.get_mut(place).and_then(Option::take) else { return };
        let served = self.serve(&mut peer, ready);
        self.keep(place, peer, served);
    }

    fn serve(&mut self, peer: &mut Peer, ready: EpollFlags) -> Result<(), Gone> {
        if ready.contains(EpollFlags::EPOLLOUT) {
            peer.flush()?;
        }
        let heard = if ready.intersects(!EpollFlags::EPOLLOUT) {
            peer.hear(&mut self.scratch)
        } else {
            Ok(Wish::Nothing)
        };
        if heard.is_err() && peer.is_shaking_hands() {
            self.sender.stats.handshakes_failed.add(1);
        }
        let host = &mut self.hosts[peer.host];
        if let Wish::Events(cursor) = heard? {
            self.sender.stats.subscriptions.add(1);
            peer.position = Some(match host.join(cursor) {
                Join::At(position) => position,
                Join::Outdated(position) => {
                    peer.tell_outdated()?;
                    position
                }
                Join::Future => return peer.tell_future(),
            });
            if !std::mem::replace(&mut host.met, true) {
                self.met += 1;
            }
        }
        // There may be something for it, and more than it takes at once.
        self.is_due(peer.host);
        Ok(())
    }

    /// Goes on with a connection, or ends it.
    fn keep(&mut self, place: usize, mut peer: Peer, served: Result<(), Gone>) {
        let watched = served.and_then(|()| {
            if peer.is_blocked != peer.is_watched_for_room {
                let mut flags = EpollFlags::EPOLLIN;
                flags.set(EpollFlags::EPOLLOUT, peer.is_blocked);
                self.epoll.modify(&peer, &mut EpollEvent::new(flags, place as u64))?;
                peer.is_watched_for_room = peer.is_blocked;
            }
            Ok(())
        });
        match watched {
            Ok(()) => self.peers[place] = Some(peer),
            Err(Gone) => self.part(place, &peer),
        }
    }

    /// A connection is over. Dropping it closes the socket, which takes it off the watch.
    fn part(&mut self, place: usize, peer: &Peer) {
        let host = &mut self.hosts[peer.host];
        host.peers.retain(|other| *other != place);
        if let (false, Some(position)) = (peer.is_blocked, peer.position) {
            host.delivered = host.delivered.max(position);
        }
        self.free.push(place);
    }

    /// Breaks a connection.
    fn cut(&mut self, place: usize, peer: Peer) {
        self.sender.stats.resets.add(1);
        self.part(place, &peer);
        peer.reset();
    }

    /// A host has something to send, or may have.
    fn is_due(&mut self, number: usize) {
        if !std::mem::replace(&mut self.hosts[number].is_due, true) {
            self.due.push_back(number);
        }
    }

    /// Lets the events come to be whose time has come.
    fn let_come(&mut self) {
        let now = Instant::now();
        if self.begun.is_none() && self.met >= self.plan.start {
            self.begun = Some(now);
        }
        if self.started.is_none() {
            self.started = self.begun.map(|begun| begun + self.plan.settle).filter(|at| now >= *at);
        }
        let Some(started) = self.started else { return };
        let elapsed = now.saturating_duration_since(started).as_secs_f64();
        let target = ((elapsed * self.plan.rate) as u64).min(self.plan.events);
        if self.made < target {
            let due = Duration::from_secs_f64((self.made + 1) as f64 / self.plan.rate);
            let behind = Duration::from_secs_f64(elapsed).saturating_sub(due);
            self.behind_max = self.behind_max.max(behind);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        while self.made < target {
            self.made += 1;
            let number = self.sizes.pick();
            self.hosts[number].say(time_ns);
            self.is_due(number);
        }
        self.churn(now, elapsed);
    }

    /// Lets hosts go away and come back.
    fn churn(&mut self, now: Instant, elapsed: f64) {
        while let Some((_, number)) = self.away.front().filter(|(until, _)| now >= *until) {
            self.hosts[*number].is_away = false;
            self.away.pop_front();
        }
        let target = match self.made < self.plan.events {
            true => (elapsed * self.plan.churn) as u64,
            false => 0,
        };
        while self.gone_away < target {
            self.gone_away += 1;
            let number = self.sizes.any();
            let host = &mut self.hosts[number];
            if std::mem::replace(&mut host.is_away, true) {
                continue;
            }
            self.away.push_back((now + self.plan.away, number));
            for place in std::mem::take(&mut host.peers) {
                if let Some(peer) = self.peers[place].take() {
                    self.cut(place, peer);
                }
            }
        }
    }

    /// Tells the subscribers of the next host that has something what they have not been told.
    fn send_next(&mut self) {
        let Some(number) = self.due.pop_front() else { return };
        self.hosts[number].is_due = false;
        // From the last to the first: one that goes moves only those behind it.
        for at in (0..self.hosts[number].peers.len()).rev() {
            let place = self.hosts[number].peers[at];
            let Some(mut peer) = self.peers[place].take() else { continue };
            match self.sender.send(&self.hosts[number], &mut peer) {
                Ok(After::Cut) => self.cut(place, peer),
                Ok(After::Wait) => self.keep(place, peer, Ok(())),
                Ok(After::Go) => {
                    self.keep(place, peer, Ok(()));
                    self.is_due(number);
                }
                Err(Gone) => self.keep(place, peer, Err(Gone)),
            }
        }
    }

    /// Pings those who are told nothing, and shows the counts.
    fn look(&mut self, cli: &cli::Cli) {
        self.looked = Instant::now();
        if let Some(ping) = self.plan.ping {
            for place in 0..self.peers.len() {
                let is_silent = |peer: &Peer| {
                    peer.position.is_some()
                        && !peer.is_blocked
                        && self.looked.saturating_duration_since(peer.told) >= ping
                };
                let Some(mut peer) = self.peers[place].take_if(|peer| is_silent(peer)) else {
                    continue;
                };
                let pinged = peer.ping();
                self.keep(place, peer, pinged);
            }
        }
        let (events, bytes) =
            (self.sender.stats.events_sent.get(), self.sender.stats.bytes_sent.get());
        cli.stats().events_out(events - self.shown.0);
        cli.stats().bytes_out(bytes - self.shown.1);
        self.shown = (events, bytes);
    }

    /// Whether all events have gone to a subscriber, and all have left.
    fn is_done(&self) -> bool {
        self.free.len() == self.peers.len()
            && self.hosts.iter().all(|host| host.delivered >= host.len())
    }
}
