//! The loop: one thread, one wait, and every host in its turn.
//!
//! Work at one host is bounded (one scratch full of data), then the next has its turn. What TLS
//! still holds of a host after that, no readiness will tell of, so such hosts stand in a list and
//! nothing is waited for while there are any.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cli::{Cli, Output, Wakes};
use net::tls::ClientConfig;
use net::ws::{Interest, Scratch};
use stats::{Counter, State};

use crate::ask::Asker;
use crate::budget::{Crowd, NewNames};
use crate::census::Census;
use crate::clock::Clock;
use crate::descriptors::Descriptors;
use crate::discover::Discovery;
use crate::errands::Errands;
use crate::host::{Host, Phase, State as HostState};
use crate::poller::{Poller, Token};
use crate::quota::Quotas;
use crate::rejects::Rejects;
use crate::resume::Cursors;
use crate::settings::Settings;
use crate::sources::Sources;
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
    /// Host `n` has the id `n + 1` and stays where it is.
    pub(crate) hosts: Vec<Host>,
    /// Canonical name to the place in that list.
    pub(crate) numbers: HashMap<String, usize>,
    pub(crate) sources: Sources,
    pub(crate) cursors: Cursors,
    pub(crate) discovery: Discovery,
    /// The first lists have been taken: what appears from here on is a new host.
    pub(crate) has_begun: bool,
    pub(crate) new_names: NewNames,
    /// When names that had to wait for their budget are looked at again.
    pub(crate) arrange_at: Option<Instant>,
    pub(crate) told_of_budget: bool,
    pub(crate) crowd: Crowd,
    pub(crate) quotas: Quotas,
    /// Memory held for messages that are not complete.
    pub(crate) unfinished: usize,
    pub(crate) descriptors: Descriptors,
    pub(crate) stream: Stream<'c>,
    pub(crate) poller: Poller,
    pub(crate) errands: Errands,
    hangups: Wakes,
    pub(crate) scratch: Scratch,
    /// Hosts that hold data which has left their sockets.
    pub(crate) holding: VecDeque<usize>,
    pub(crate) clock: Clock,
    /// When the hosts are to be looked at next, and at which first.
    pub(crate) look_at: Instant,
    pub(crate) look_from: usize,
    /// Since when nothing has come from any host.
    pub(crate) quiet_since: Instant,
    began: Instant,
    /// Nobody reads the output any longer. Ending it tells why.
    output_gone: bool,
    gauges: Gauges,
    census: Census,
    /// How often a host was left alone for a day, and told to rest.
    pub(crate) refusals: Counter,
    pub(crate) rests: Counter,
    shown: (Instant, u64),
}

struct Gauges {
    connected: Counter,
    waiting: Counter,
    dead: Counter,
}

/// What a tap is made of.
pub(crate) struct Parts<'c> {
    pub(crate) settings: Settings,
    pub(crate) sources: Sources,
    pub(crate) discover: Vec<net::Endpoint>,
    pub(crate) cursors: Cursors,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) output: Output<'c>,
    pub(crate) rejects: Option<Rejects>,
}

impl<'c> Tap<'c> {
    /// Gets everything ready; nothing is connected yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(cli: &'c Cli, parts: Parts<'c>) -> anyhow::Result<Self> {
        let Parts { settings, sources, discover, cursors, tls, ca, output, rejects } = parts;
        let errands = Errands::new(settings.policy, Asker::new(settings.policy, ca))?;
        let hangups = Wakes::hangups().context("signal handlers")?;
        let poller = Poller::new().context("epoll")?;
        poller.add(errands.fd(), Token::Errands, READ)?;
        poller.add(cli.stop_fd(), Token::Signal, READ)?;
        poller.add(hangups.fd(), Token::Hangup, READ)?;
        if let Some(fd) = output.watched() {
            poller.add(fd, Token::Output, Interest { read: false, write: false })?;
        }
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
            hosts: Vec::new(),
            numbers: HashMap::new(),
            sources,
            cursors,
            discovery: Discovery::new(discover, (settings.discover, settings.retry), now),
            has_begun: false,
            new_names: NewNames::new(settings.new_names, now),
            arrange_at: None,
            told_of_budget: false,
            crowd: Crowd::new(settings.crowd),
            quotas: Quotas::new((settings.events_a_second, settings.rate_over), settings.accounts),
            unfinished: 0,
            descriptors: Descriptors::default(),
            stream: Stream::start(cli, output, rejects)?,
            poller,
            errands,
            hangups,
            scratch: Scratch::new(),
            holding: VecDeque::new(),
            clock: Clock::default(),
            look_at: now,
            look_from: 0,
            quiet_since: now,
            began: now,
            output_gone: false,
            gauges,
            census: Census::new(stats),
            refusals: stats.named("hosts-refused"),
            rests: stats.named("rests"),
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
        self.tell_left_out(self.sources.left_out());
        self.arrange()?;
        self.has_begun = self.discovery.is_empty();
        while !self.cli.stopping() && !self.output_gone && !self.is_over()? {
            self.wait()?;
            self.turn()?;
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
                Token::Host(index) => self.serve_in_time(index)?,
                Token::Errands => self.take_answers()?,
                Token::Hangup if self.hangups.take() => self.read_again()?,
                Token::Output => self.output_gone = true,
                // The loop ends by itself.
                Token::Signal | Token::Hangup => {}
            }
        }
        for _ in 0..self.holding.len() {
            let Some(index) = self.holding.pop_front() else { break };
            if let Some(host) = self.hosts.get_mut(index) {
                host.queued = false;
            }
            self.serve_in_time(index)?;
        }
        let began = Instant::now();
        self.see_to_the_rest()?;
        self.clock.stood(began.elapsed());
        Ok(())
    }

    /// Serves a host. What takes long in that is a full output: the clock stands still then, before
    /// anybody is judged by it.
    fn serve_in_time(&mut self, index: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        self.serve(index)?;
        self.clock.stood(began.elapsed());
        Ok(())
    }

    /// What is to be done by time rather than for a socket.
    fn see_to_the_rest(&mut self) -> anyhow::Result<()> {
        self.bound_unfinished()?;
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
        if !self.hosts.is_empty() && self.hosts.iter().all(|host| host.private) {
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
        let is_settled = |host: &Host| host.settled || host.phase == Phase::Left;
        Ok(quiet >= idle
            && self.holding.is_empty()
            && self.discovery.is_settled()
            && self.hosts.iter().all(is_settled))
    }

    /// Says how it stands: in the statistics, and to people who look.
    fn show(&mut self) {
        let count = |state| self.hosts.iter().filter(|host| host.state() == state).count();
        let connected = count(HostState::Connected);
        let dead = count(HostState::Dead) + count(HostState::Refused);
        let waiting = count(HostState::Waiting);
        self.gauges.connected.set(connected as u64);
        self.gauges.waiting.set(waiting as u64);
        self.gauges.dead.set(dead as u64);
        self.census.take(&self.hosts);
        self.stream.voice.breathe();
        let (shown, before) = self.shown;
        let events = self.cli.stats().snapshot().counts.events_out;
        self.shown = (Instant::now(), events);
        if self.cli.progress() {
            let rate = events.saturating_sub(before) as f64 / shown.elapsed().as_secs_f64();
            let all = connected + waiting + dead;
            let furthest = self.hosts.iter().max_by_key(|host| host.lag.ns());
            let behind = furthest.map_or_else(String::new, |host| {
                let seconds = host.lag.ns() as f64 / 1e9;
                format!("; furthest behind is {} by {seconds:.1} s", host.name())
            });
            self.cli.show(format_args!(
                "{connected} of {all} hosts connected, {dead} dead; {events} events, \
                 {rate:.0}/s{behind}"
            ));
        }
    }
}
