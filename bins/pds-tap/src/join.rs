//! Joining hosts, and joining them again: look-ups, connections, pauses, and who is silent.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use net::ws::{Connection, Limits};

use crate::backoff::long;
use crate::errands::{Answer, Queue};
use crate::host::{Due, Phase};
use crate::hosts::PATH;
use crate::poller::Token;
use crate::tap::Tap;

/// At most so many hosts are joined in one look, and this long passes before the next: 500 a
/// second, which is polite to name servers and leaves time for those that are connected.
const JOINS_MAX: usize = 25;
const JOINS_EVERY: Duration = Duration::from_millis(50);

/// The time between two looks at all hosts. With ten thousand of them there is always one whose
/// time has come, and a look at all takes some tenths of a millisecond.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A connection that stood so long was a good one, though nothing may have come.
const STEADY: Duration = Duration::from_secs(60);

/// After so many failures in a row a host's name is looked up behind those of others.
const LOOK_UPS_KNOWN: u32 = 8;

/// A host that asks for more quiet than this is asked earlier all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

impl Tap<'_> {
    /// Does for each host what its time has come for.
    ///
    /// # Errors
    /// What is wrong with the output, or with this machine.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        self.look_at = now + LOOK_MAX;
        if self.arrange_at.is_some_and(|at| now >= at) {
            self.arrange()?;
        }
        self.discover()?;
        let mut joins = 0;
        // Hosts that fail at once and are due again must not be in the way of those behind them.
        let (from, count) = (self.look_from, self.hosts.len());
        for index in (from..count).chain(0..from.min(count)) {
            let Some(host) = self.hosts.get_mut(index) else { break };
            match host.due(now, &self.settings) {
                Due::Later(None) => {}
                Due::Later(Some(when)) => self.look_at = self.look_at.min(when),
                Due::Connect if joins >= JOINS_MAX => {
                    if joins == JOINS_MAX {
                        self.look_from = index;
                        joins += 1;
                    }
                    self.look_at = self.look_at.min(now + JOINS_EVERY);
                }
                Due::Connect => {
                    joins += 1;
                    self.find(index)?;
                }
                Due::Ping => {
                    host.pinged();
                    if let Some(connection) = &mut host.connection {
                        connection.ping();
                    }
                    self.listen_again(index)?;
                }
                Due::Listen => self.listen_again(index)?,
                Due::TooLong => self.lost(index, &anyhow!("the host doesn't answer"))?,
                Due::Gone => self.lost(index, &anyhow!("the host has fallen silent"))?,
                Due::TooSlow => self.lost(index, &anyhow!("the host sends too slowly"))?,
            }
        }
        self.look_at = self.look_at.max(now + LOOK_MIN);
        Ok(())
    }

    /// Finds the addresses of a host.
    fn find(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        host.phase = Phase::Looking;
        let endpoint = &host.target.endpoint;
        let room = if host.target.named { Ok(()) } else { self.crowd.has_room(endpoint) };
        if let Err(crowded) = room {
            return self.lost(index, &crowded.into());
        }
        if endpoint.address().is_none() {
            let queue = match host.is_known() && host.failures < LOOK_UPS_KNOWN {
                true => Queue::Known,
                false => Queue::Stranger,
            };
            return match self.errands.look_up(index, endpoint, queue) {
                Ok(()) => Ok(()),
                Err(error) => self.lost(index, &error.into()),
            };
        }
        // An address needs no thread.
        let found = net::dns::resolve(endpoint, self.settings.policy);
        self.found(index, found)
    }

    /// Takes what the threads have found out.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn take_answers(&mut self) -> anyhow::Result<()> {
        for answer in self.errands.answers() {
            match answer {
                Answer::Addresses(index, found) => self.found(index, found)?,
                Answer::Described(index, is_pds) => self.described(index, is_pds)?,
                Answer::Listed(number, listing) => self.listed(number, listing)?,
            }
        }
        Ok(())
    }

    fn found(
        &mut self,
        index: usize,
        found: Result<Vec<SocketAddr>, net::Error>,
    ) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        if host.phase != Phase::Looking {
            // It was left meanwhile.
            return Ok(());
        }
        match found {
            Ok(mut addresses) => {
                let deny = self.sources.deny();
                addresses.retain(|address| !deny.denies_address(address.ip()));
                addresses.reverse();
                if addresses.is_empty() {
                    return self.lost(index, &anyhow!("its address is denied"));
                }
                host.addresses = addresses;
                self.connect(index)
            }
            Err(error) => self.lost(index, &error.into()),
        }
    }

    /// Connects to the next address of a host.
    fn connect(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        let Some(address) = host.addresses.pop() else { return Ok(()) };
        let path = match host.cursor.join() {
            Some(cursor) => format!("{PATH}?cursor={cursor}"),
            None => PATH.to_owned(),
        };
        let limits = Limits { message_bytes_max: frame::EVENT_BYTES_MAX, ..Limits::default() };
        let until = self.clock.now() + self.settings.connect;
        host.phase = Phase::Trying(until);
        host.address = Some(address.ip());
        self.look_at = self.look_at.min(until);
        if !host.target.named {
            match self.crowd.enter(&host.target.endpoint, address.ip()) {
                Ok(place) => host.place = Some(place),
                Err(crowded) => return self.lost(index, &crowded.into()),
            }
        }
        match Connection::start(&host.target.endpoint, address, &path, &self.tls, limits) {
            Ok(connection) => {
                let interest = connection.interest();
                self.poller.add(&connection, Token::Host(index), interest)?;
                host.watched = Some(interest);
                host.connection = Some(connection);
                Ok(())
            }
            Err(error) => self.lost(index, &error.into()),
        }
    }

    /// Connects again at once, to a host whose cursor has begun anew.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn connect_anew(&mut self, index: usize) -> anyhow::Result<()> {
        self.release(index);
        if let Some(host) = self.hosts.get_mut(index) {
            host.backoff.reset();
        }
        self.find(index)
    }

    /// Drops a host's connection, if it has one, and all that it took.
    pub(crate) fn release(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        // Closing it takes it off the watch.
        host.connection = None;
        host.watched = None;
        if let Some(place) = host.place.take() {
            self.crowd.leave(&place);
        }
        self.unfinished -= std::mem::take(&mut host.unfinished);
    }

    /// A host is left alone for a day, for what it is or does.
    pub(crate) fn refuse(&mut self, index: usize, error: &anyhow::Error) {
        let until = self.clock.now() + long();
        self.release(index);
        let Some(host) = self.hosts.get_mut(index) else { return };
        (host.phase, host.refused, host.settled) = (Phase::Waiting(until), true, true);
        host.accounts.forget();
        self.refusals.add(1);
        self.stream.voice.loud(format_args!("{}: {error:#}; refused for a day", host.name()));
    }

    /// A connection is lost, or was not to be had. The next address is tried, or the host later.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn lost(&mut self, index: usize, error: &anyhow::Error) -> anyhow::Result<()> {
        let now = self.clock.now();
        self.release(index);
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        let trying = matches!(host.phase, Phase::Trying(_));
        if trying && !host.addresses.is_empty() && !is_answer(error) {
            return self.connect(index);
        }
        let (retry_after, private) = match error.downcast_ref::<net::Error>() {
            Some(net::Error::Status { retry_after, .. }) => (*retry_after, false),
            Some(net::Error::Private { .. }) => (None, true),
            _ => (None, false),
        };
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let was_open = host.phase == Phase::Open;
        if was_open && now.saturating_duration_since(host.opened) >= STEADY {
            host.backoff.reset();
        }
        let known = host.is_known();
        let until = now + host.backoff.pause(now, known).max(asked);
        host.phase = Phase::Waiting(until);
        host.failures += 1;
        host.private = private && !host.reached;
        if host.target.either && !host.reached {
            host.target.endpoint.tls ^= true;
        }
        if !host.settled {
            host.settled = true;
            self.quiet_since = now;
        }
        self.look_at = self.look_at.min(until);
        // What a person waits for is told once; what fails over and over, to those who ask.
        let told = was_open || (host.failures == 1 && host.target.named);
        let name = host.name();
        let seconds = until.saturating_duration_since(now).as_secs_f64();
        let voice = &mut self.stream.voice;
        match told {
            true => voice.warn(format_args!("{name}: {error:#}; tried again in {seconds:.1} s")),
            false => voice.info(format_args!("{name}: {error:#}; tried again in {seconds:.1} s")),
        }
        Ok(())
    }
}

/// Whether the host has said no, which it would also do at its other addresses.
fn is_answer(error: &anyhow::Error) -> bool {
    use net::Error::{Breach, ServerName, Status, Tls, Upgrade};
    let error = error.downcast_ref::<net::Error>();
    matches!(error, Some(Breach(_) | ServerName { .. } | Status { .. } | Tls(_) | Upgrade(_)))
}
