//! The loop: one thread, one wait, and every host in its turn.
//!
//! Work at one host is bounded (one scratch full of data), then the next has its turn. What TLS
//! still holds of a host after that, no readiness will tell of, so such hosts stand in a list and
//! nothing is waited for while there are any.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cli::{Cli, Output};
use frame::HostId;
use net::tls::ClientConfig;
use net::ws::{Interest, Scratch};
use stats::{Counter, State};

use crate::clock::Clock;
use crate::dns::Resolver;
use crate::host::{Host, Phase};
use crate::hosts::Target;
use crate::poller::{Poller, Token};
use crate::rejects::Rejects;
use crate::resume::Cursors;
use crate::settings::Settings;
use crate::stream::Stream;

/// Things are looked at at least so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reading, and nothing else.
const READ: Interest = Interest { read: true, write: false };

/// The tap.
pub(crate) struct Tap<'c> {
    pub(crate) cli: &'c Cli,
    pub(crate) settings: Settings,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) stream: Stream<'c>,
    pub(crate) poller: Poller,
    pub(crate) resolver: Resolver,
    pub(crate) scratch: Scratch,
    /// Hosts that hold data which has left their sockets.
    pub(crate) holding: VecDeque<usize>,
    pub(crate) clock: Clock,
    /// When the hosts are to be looked at next.
    pub(crate) look_at: Instant,
    /// Since when nothing has come from any host.
    pub(crate) quiet_since: Instant,
    began: Instant,
    /// Nobody reads the output any longer. Ending it tells why.
    output_gone: bool,
    gauges: Gauges,
    shown: (Instant, u64),
}

struct Gauges {
    connected: Counter,
    waiting: Counter,
    dead: Counter,
}

impl<'c> Tap<'c> {
    /// Gets everything ready; nothing is connected yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(
        cli: &'c Cli,
        settings: Settings,
        targets: Vec<Target>,
        cursors: &Cursors,
        tls: Arc<ClientConfig>,
        output: Output<'c>,
        rejects: Option<Rejects>,
    ) -> anyhow::Result<Self> {
        let names = targets.iter().filter(|target| target.endpoint.address().is_none()).count();
        let resolver = Resolver::start(settings.policy, names).context("threads for look-ups")?;
        let poller = Poller::new().context("epoll")?;
        poller.add(resolver.fd(), Token::Resolver, READ)?;
        poller.add(cli.stop_fd(), Token::Signal, READ)?;
        if let Some(fd) = output.watched() {
            poller.add(fd, Token::Output, Interest { read: false, write: false })?;
        }
        let host = |(number, target): (u32, Target)| {
            let cursor = cursors.of(&target.endpoint.canonical, target.role);
            Host::new(target, HostId(number), cursor, settings.retry)
        };
        let stats = cli.stats();
        let gauges = Gauges {
            connected: stats.gauge("hosts-connected"),
            waiting: stats.gauge("hosts-waiting"),
            dead: stats.gauge("hosts-dead"),
        };
        let now = Instant::now();
        Ok(Self {
            cli,
            settings,
            tls,
            // Id 0 stands for no host.
            hosts: (1..).zip(targets).map(host).collect(),
            stream: Stream::start(cli, output, rejects)?,
            poller,
            resolver,
            scratch: Scratch::new(),
            holding: VecDeque::new(),
            clock: Clock::default(),
            look_at: now,
            quiet_since: now,
            began: now,
            output_gone: false,
            gauges,
            shown: (now, 0),
        })
    }

    /// Listens until a signal, or until all have been silent for as long as was asked for.
    ///
    /// # Errors
    /// What the system says; [`cli::OutputClosed`]; no host at an address that may be used.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        match self.listen_to_all() {
            Ok(()) => self.stream.finish(&mut self.hosts),
            Err(error) => {
                self.stream.abandon();
                Err(error)
            }
        }
    }

    fn listen_to_all(&mut self) -> anyhow::Result<()> {
        while !self.cli.stopping() && !self.output_gone && !self.is_over()? {
            self.wait()?;
            let began = Instant::now();
            self.turn()?;
            // What takes long here is a full output.
            self.clock.stood(began.elapsed());
        }
        for connection in self.hosts.iter_mut().filter_map(|host| host.connection.as_mut()) {
            connection.close();
        }
        Ok(())
    }

    /// Waits until there is something to do. Everything is handed on before that.
    fn wait(&mut self) -> anyhow::Result<()> {
        if self.poller.wait(Duration::ZERO)? || !self.holding.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        self.stream.output().flush()?;
        self.clock.stood(began.elapsed());
        let timeout = self.timeout();
        let began = Instant::now();
        self.cli.stats().wait(State::Input, || self.poller.wait(timeout))?;
        // What takes much longer than was asked for is a process that was stopped.
        self.clock.stood(began.elapsed().saturating_sub(timeout));
        Ok(())
    }

    fn timeout(&self) -> Duration {
        let now = self.clock.now();
        let mut timeout = self.look_at.saturating_duration_since(now).min(LOOK_EVERY);
        if let Some(at) = self.stream.mark_at() {
            timeout = timeout.min(at.saturating_duration_since(Instant::now()));
        }
        if let Some(idle) = self.settings.until_idle {
            timeout = timeout.min((self.quiet_since + idle).saturating_duration_since(now));
        }
        if let Some(limit) = self.settings.run_for {
            timeout = timeout.min(limit.saturating_sub(self.began.elapsed()));
        }
        timeout
    }

    /// One turn for everybody who wants something.
    fn turn(&mut self) -> anyhow::Result<()> {
        let mut n = 0;
        while let Some(token) = self.poller.ready(n) {
            n += 1;
            match token {
                Token::Host(index) => self.serve(index)?,
                Token::Resolver => self.take_answers()?,
                Token::Output => self.output_gone = true,
                // The loop ends by itself.
                Token::Signal => {}
            }
        }
        for _ in 0..self.holding.len() {
            let Some(index) = self.holding.pop_front() else { break };
            if let Some(host) = self.hosts.get_mut(index) {
                host.queued = false;
            }
            self.serve(index)?;
        }
        if self.clock.now() >= self.look_at {
            self.look()?;
            if self.shown.0.elapsed() >= LOOK_EVERY {
                self.show();
            }
        }
        if self.stream.mark_at().is_some_and(|at| Instant::now() >= at) {
            self.stream.mark(&mut self.hosts)?;
        }
        Ok(())
    }

    /// Whether there is nothing more to wait for.
    fn is_over(&self) -> anyhow::Result<bool> {
        if self.hosts.iter().all(|host| host.private) {
            anyhow::bail!(
                "no host has a public address; --allow-private lets private ones be reached"
            );
        }
        let Settings { run_for, bytes_max, until_idle, .. } = self.settings;
        let written = self.stream.written();
        if run_for.is_some_and(|limit| self.began.elapsed() >= limit)
            || bytes_max.is_some_and(|limit| written >= limit)
        {
            return Ok(true);
        }
        let Some(idle) = until_idle else { return Ok(false) };
        let quiet = self.clock.now().saturating_duration_since(self.quiet_since);
        Ok(quiet >= idle && self.holding.is_empty() && self.hosts.iter().all(|host| host.settled))
    }

    /// Says how it stands: in the statistics, and to people who look.
    fn show(&mut self) {
        let count = |is: fn(&Host) -> bool| self.hosts.iter().filter(|host| is(host)).count();
        let connected = count(|host| host.phase == Phase::Open);
        let dead = count(Host::is_dead);
        let waiting = self.hosts.len() - connected - dead;
        self.gauges.connected.set(connected as u64);
        self.gauges.waiting.set(waiting as u64);
        self.gauges.dead.set(dead as u64);
        self.stream.voice.breathe();
        let (shown, before) = self.shown;
        let events = self.cli.stats().snapshot().counts.events_out;
        self.shown = (Instant::now(), events);
        if self.cli.progress() {
            let rate = events.saturating_sub(before) as f64 / shown.elapsed().as_secs_f64();
            self.cli.show(format_args!(
                "{connected} of {} hosts connected, {dead} dead; {events} events, {rate:.0}/s",
                self.hosts.len()
            ));
        }
    }
}
