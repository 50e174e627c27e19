//! A host's socket is ready: take what it brings.

use std::time::Instant;

use anyhow::anyhow;
use frame::host::Role;
use net::ws::{Connection, Message, Progress};

use crate::cursor::Future;
use crate::envelope::{self, Envelope};
use crate::host::{Host, Phase};
use crate::poller::Token;
use crate::quota::Quotas;
use crate::settings::{OnReset, Settings};
use crate::stream::Stream;
use crate::tap::Tap;

/// Whether a connection goes on.
enum After {
    Stay,
    /// It is over, for this reason.
    Leave(anyhow::Error),
    /// The host has begun anew, and is asked again at once.
    Anew,
    /// It is over and not to be tried again.
    Stop,
    /// The host calls itself a relay: it is asked what it is.
    Ask,
    /// The host is left alone for a day, for this reason.
    Refuse(anyhow::Error),
}

impl Tap<'_> {
    /// Goes on with a host as far as its socket allows, within bounds.
    ///
    /// # Errors
    /// What is wrong with the output, or with this machine. Nothing that a host does is an error.
    pub(crate) fn serve(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get_mut(index).filter(|host| !host.is_paused()) else {
            return Ok(());
        };
        let Some(mut connection) = host.connection.take() else { return Ok(()) };
        match self.listen(index, &mut connection)? {
            After::Stay => self.keep(index, connection),
            After::Leave(error) => {
                connection.close();
                drop(connection);
                self.lost(index, &error)
            }
            After::Anew => {
                drop(connection);
                self.connect_anew(index)
            }
            After::Stop => {
                drop(connection);
                self.put_away(index, Phase::Stopped);
                Ok(())
            }
            After::Ask => {
                drop(connection);
                self.put_away(index, Phase::Asking);
                self.ask_what_it_is(index)
            }
            After::Refuse(error) => {
                connection.close();
                drop(connection);
                self.refuse(index, &error);
                Ok(())
            }
        }
    }

    fn put_away(&mut self, index: usize, phase: Phase) {
        self.release(index);
        if let Some(host) = self.hosts.get_mut(index) {
            (host.phase, host.settled) = (phase, true);
        }
    }

    fn ask_what_it_is(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get(index) else { return Ok(()) };
        match self.errands.describe(index, &host.target.endpoint) {
            Ok(()) => Ok(()),
            Err(error) => self.lost(index, &error.into()),
        }
    }

    /// Reads once, and takes every message of it.
    fn listen(&mut self, index: usize, connection: &mut Connection) -> anyhow::Result<After> {
        let progress = match connection.on_ready(&mut self.scratch) {
            Ok(progress) => progress,
            Err(error) => {
                let host = self.hosts.get(index);
                let is_posing = |server: &Option<Box<str>>| {
                    host.is_some_and(|host| host.is_posing(server.as_deref()))
                };
                return Ok(match &error {
                    net::Error::Status { server, .. } if is_posing(server) => After::Ask,
                    _ => After::Leave(error.into()),
                });
            }
        };
        let now = self.clock.now();
        let Some(host) = self.hosts.get_mut(index) else { return Ok(After::Stay) };
        let count = match progress {
            Progress::Waiting => return Ok(After::Stay),
            Progress::Opened(_) if host.is_posing(connection.server()) => return Ok(After::Ask),
            Progress::Opened(count) => {
                if !host.settled {
                    self.quiet_since = now;
                }
                host.opened(now);
                self.stream.joined(index, host);
                self.stream.voice.info(format_args!("{}: connected", host.name()));
                count
            }
            Progress::Read(count) => count,
        };
        host.heard(now, count);
        self.cli.stats().bytes_in(count as u64);
        let mut turn = Turn {
            index,
            host,
            stream: &mut self.stream,
            settings: &self.settings,
            quotas: &self.quotas,
            now,
            time_ns: cli::now_ns(),
            events: 0,
        };
        let mut input = self.scratch.bytes(count);
        let mut took_one = false;
        let mut after = After::Stay;
        while let After::Stay = after {
            after = match connection.next(&mut input) {
                Ok(None) => break,
                Ok(Some(message)) => {
                    took_one |= !matches!(message, Message::Ping(_) | Message::Pong);
                    turn.message(message)?
                }
                Err(error) => After::Leave(error.into()),
            };
        }
        self.cli.stats().events_in(turn.events);
        let said = (turn.events, count as u64);
        let is_within = connection.is_within_message();
        turn.host.note_message(now, is_within, took_one);
        let unfinished = connection.unfinished_bytes();
        self.unfinished += unfinished;
        self.unfinished -= std::mem::replace(&mut host.unfinished, unfinished);
        let is_pds = host.target.role == Role::Pds;
        if let Some(rest) =
            is_pds.then(|| host.rate.take(said, (&self.quotas, host.is_stranger()), now)).flatten()
        {
            self.rests.add(1);
            host.pause(now + rest);
            self.look_at = self.look_at.min(now + rest);
        }
        if took_one || is_within {
            self.quiet_since = now;
        }
        Ok(after)
    }

    /// Goes on with a connection: watches it for what it wants.
    fn keep(&mut self, index: usize, connection: Connection) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        let wanted = (!host.is_paused()).then(|| connection.interest());
        if wanted != host.watched {
            let token = Token::Host(index);
            match (host.watched, wanted) {
                (_, None) => self.poller.remove(&connection)?,
                (None, Some(interest)) => self.poller.add(&connection, token, interest)?,
                (Some(_), Some(interest)) => self.poller.change(&connection, token, interest)?,
            }
            host.watched = wanted;
        }
        if connection.holds_data() && !host.is_paused() && !host.queued {
            host.queued = true;
            self.holding.push_back(index);
        }
        host.connection = Some(connection);
        Ok(())
    }

    /// Listens again to a host that was paused.
    pub(crate) fn listen_again(&mut self, index: usize) -> anyhow::Result<()> {
        let taken = self.hosts.get_mut(index).and_then(|host| host.connection.take());
        taken.map_or(Ok(()), |connection| self.keep(index, connection))
    }
}

/// What is needed to take a message.
struct Turn<'t, 'c> {
    index: usize,
    host: &'t mut Host,
    stream: &'t mut Stream<'c>,
    settings: &'t Settings,
    quotas: &'t Quotas,
    now: Instant,
    time_ns: u64,
    /// How many events have come, or what should have been some.
    events: u64,
}

impl Turn<'_, '_> {
    fn message(&mut self, message: Message<'_>) -> anyhow::Result<After> {
        self.events += u64::from(!matches!(message, Message::Ping(_) | Message::Pong));
        match message {
            Message::Binary(body) => match envelope::read(body) {
                Some(Envelope::Event { seq, did, time }) => {
                    self.host.lag.look(time, self.time_ns);
                    self.stream.event(self.index, self.host, seq, body, self.time_ns)?;
                    return Ok(self.claim(did));
                }
                Some(Envelope::Info { name, message }) => self.info(name, message),
                Some(Envelope::Error { error, message }) => return Ok(self.error(error, message)),
                None => self.unreadable(body)?,
            },
            Message::Text(body) => self.unreadable(body)?,
            Message::TooLong { bytes, beginning } => {
                let seq = match envelope::read(beginning) {
                    Some(Envelope::Event { seq, .. }) => Some(seq),
                    _ => None,
                };
                let about = (bytes, seq);
                self.stream.too_long(self.index, self.host, about, self.time_ns)?;
            }
            Message::Close { code, reason } => {
                let code = code.map_or_else(String::new, |code| format!(" with code {code}"));
                let reason = shown(Some(&String::from_utf8_lossy(reason)));
                return Ok(After::Leave(anyhow!("the host closed the connection{code}{reason}")));
            }
            // They have been answered, or are answers.
            _ => {}
        }
        Ok(After::Stay)
    }

    /// The host speaks for an account.
    fn claim(&mut self, did: Option<&str>) -> After {
        let is_pds = self.host.target.role == Role::Pds;
        let Some(did) = did.filter(|_| is_pds) else { return After::Stay };
        if self.host.accounts.see(did, self.quotas) {
            let limit = self.quotas.accounts;
            return After::Refuse(anyhow!(
                "it speaks for more than {limit} accounts (--host-accounts)"
            ));
        }
        After::Stay
    }

    fn unreadable(&mut self, body: &[u8]) -> anyhow::Result<()> {
        self.stream.unreadable(self.host, body, self.time_ns)?;
        if self.host.unreadable(self.now) {
            let name = self.host.name();
            self.stream.voice.loud(format_args!(
                "{name}: sends too much that is no event; nothing is read from it for a minute"
            ));
        }
        Ok(())
    }

    fn info(&mut self, name: &str, message: Option<&str>) {
        let outdated = name == "OutdatedCursor";
        let after = outdated.then(|| self.host.cursor.outdated()).flatten();
        let host = self.host.name();
        if !outdated {
            let (name, message) = (shown(Some(name)), shown(message));
            return self.stream.voice.warn(format_args!("{host}: says{name}{message}"));
        }
        match after {
            None => self.stream.voice.info(format_args!("{host}: its window begins here")),
            Some(after) => self.stream.voice.loud(format_args!(
                "{host}: what followed seq {after} is older than the host keeps: there is a hole"
            )),
        }
    }

    fn error(&mut self, error: &str, message: Option<&str>) -> After {
        if error != "FutureCursor" {
            return After::Leave(anyhow!("the host says{}{}", shown(Some(error)), shown(message)));
        }
        let name = self.host.target.endpoint.canonical.as_str();
        let voice = &self.stream.voice;
        let seq = self.host.cursor.seq().unwrap_or(0);
        if self.settings.on_reset == OnReset::Stop {
            voice.loud(format_args!(
                "{name}: has not come as far as seq {seq}: it has begun anew. It is left alone; \
                 --on-reset epoch joins it at its beginning"
            ));
            return After::Stop;
        }
        match self.host.cursor.future(self.now, self.settings.patience) {
            Future::Again => After::Leave(anyhow!(
                "the host has not come as far as seq {seq}; if it stays so, it has begun anew"
            )),
            Future::Anew => {
                let epoch = self.host.cursor.epoch();
                voice.loud(format_args!(
                    "{name}: has not come as far as seq {seq}: it has begun anew, and is joined at \
                     its beginning, in epoch {epoch}"
                ));
                After::Anew
            }
        }
    }
}

/// What a host says of itself, fit for a line on a terminal; with a space before it.
fn shown(text: Option<&str>) -> String {
    const CHARS_MAX: usize = 200;
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return String::new();
    }
    let text: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    format!(" {text}")
}
