//! Joining hosts, and joining them again: look-ups, connections, pauses, and who is silent.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use net::ws::{Connection, Limits};

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
        let mut joins = 0;
        for index in 0..self.hosts.len() {
            let Some(host) = self.hosts.get_mut(index) else { break };
            match host.due(now, &self.settings) {
                Due::Later(None) => {}
                Due::Later(Some(when)) => self.look_at = self.look_at.min(when),
                Due::Connect if joins == JOINS_MAX => {
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
        if endpoint.address().is_none() {
            self.resolver.ask(index, endpoint);
            return Ok(());
        }
        // An address needs no thread.
        let found = net::dns::resolve(endpoint, self.settings.policy);
        self.found(index, found)
    }

    /// Takes the answers of the resolver.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn take_answers(&mut self) -> anyhow::Result<()> {
        for (index, found) in self.resolver.answers() {
            self.found(index, found)?;
        }
        Ok(())
    }

    fn found(
        &mut self,
        index: usize,
        found: Result<Vec<SocketAddr>, net::Error>,
    ) -> anyhow::Result<()> {
        match found {
            Ok(mut addresses) => {
                addresses.reverse();
                if let Some(host) = self.hosts.get_mut(index) {
                    host.addresses = addresses;
                }
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
        self.look_at = self.look_at.min(until);
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
        if let Some(host) = self.hosts.get_mut(index) {
            host.watched = None;
            host.backoff.reset();
        }
        self.find(index)
    }

    /// A connection is lost, or was not to be had. The next address is tried, or the host later.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn lost(&mut self, index: usize, error: &anyhow::Error) -> anyhow::Result<()> {
        let now = self.clock.now();
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        // Closing it takes it off the watch.
        host.connection = None;
        host.watched = None;
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
        let until = now + host.backoff.pause().max(asked);
        let was_open = host.phase == Phase::Open;
        host.phase = Phase::Waiting(until);
        host.failures += 1;
        host.private = private && !host.reached;
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
