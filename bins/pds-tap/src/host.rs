//! One host: where it is, where its stream stands, and what is being done to hear it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use frame::HostId;
use frame::host::Role;
use net::ws::{Connection, Interest};

use crate::backoff::Backoff;
use crate::budget::Place;
use crate::cursor::Cursor;
use crate::hosts::Target;
use crate::lag::Lag;
use crate::quota::{Accounts, Rate};
use crate::settings::{MESSAGE_BYTES_PER_SECOND_MIN, Settings};

/// After so many failures in a row a host counts as dead. It is tried again all the same.
const DEAD_FAILURES: u32 = 5;

/// So many unreadable messages within the window pause a host.
const UNREADABLE_MAX: u32 = 600;
const UNREADABLE_WINDOW: Duration = Duration::from_secs(60);

/// What is being done about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing until then.
    Waiting(Instant),
    /// Its name is being looked up.
    Looking,
    /// It calls itself a relay, and is being asked whether it is a PDS all the same.
    Asking,
    /// A connection is being made, until then.
    Trying(Instant),
    /// It is being listened to.
    Open,
    /// Nothing more, until a person has looked.
    Stopped,
    /// It is no longer among the hosts that are wanted. If it comes back, it goes on here.
    Left,
}

/// How it stands with a host, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is being listened to.
    Connected,
    /// It will be tried soon, or is being tried.
    Waiting,
    /// It has failed so often that nobody waits for it. It is tried all the same.
    Dead,
    /// It is in the wrong role, over a limit, or has begun anew and a person has to look.
    Refused,
    /// Nobody wants it any longer.
    Left,
}

/// What [`Host::due`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before then; `None` for nothing by time at all.
    Later(Option<Instant>),
    /// Connect.
    Connect,
    /// The address doesn't answer.
    TooLong,
    /// It has been silent: ask whether it is there.
    Ping,
    /// It was asked and is not.
    Gone,
    /// It sends a message so slowly that it never ends.
    TooSlow,
    /// Its pause is over: listen again.
    Listen,
}

/// A host.
pub(crate) struct Host {
    pub(crate) target: Target,
    pub(crate) id: HostId,
    /// Its `host` frame has been written.
    pub(crate) introduced: bool,
    pub(crate) cursor: Cursor,
    /// Its cursor has moved since the last mark.
    pub(crate) moved: bool,
    pub(crate) phase: Phase,
    pub(crate) connection: Option<Connection>,
    /// What the connection is watched for; `None` when it isn't.
    pub(crate) watched: Option<Interest>,
    /// The address that is used, or was last.
    pub(crate) address: Option<IpAddr>,
    /// Addresses that have not been tried yet.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) backoff: Backoff,
    /// Where its connection counts.
    pub(crate) place: Option<Place>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// It was reached, or failed to be, at least once.
    pub(crate) settled: bool,
    /// It was reached at least once, in this run or before.
    pub(crate) reached: bool,
    /// It has described itself as a PDS, whatever it calls its server.
    pub(crate) described: bool,
    /// It is left alone for a day, for what it is or does.
    pub(crate) refused: bool,
    /// It has an address, but none that may be used.
    pub(crate) private: bool,
    /// It is in the list of hosts that hold data.
    pub(crate) queued: bool,
    /// What has been handed on of it, and when the last of it came (nanoseconds since 1970).
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) last_ns: u64,
    /// By how much what came was older than the moment in which it came, about a second ago.
    pub(crate) lag: Lag,
    /// Memory held for a message that is not complete.
    pub(crate) unfinished: usize,
    pub(crate) rate: Rate,
    pub(crate) accounts: Accounts,
    /// Since when the connection stands.
    pub(crate) opened: Instant,
    /// When something last came, and whether it was asked since.
    heard: Instant,
    asked: bool,
    /// Since when a message has been under way, and how much has come of it.
    message: Option<(Instant, u64)>,
    /// Unreadable messages of the present window.
    unreadable: (Instant, u32),
    paused: Option<Instant>,
}

impl Host {
    pub(crate) fn new(
        target: Target,
        id: HostId,
        cursor: Cursor,
        (retry, now): (Duration, Instant),
    ) -> Self {
        Self {
            target,
            id,
            introduced: false,
            cursor,
            moved: false,
            phase: Phase::Waiting(now),
            connection: None,
            watched: None,
            address: None,
            addresses: Vec::new(),
            backoff: Backoff::new(retry),
            place: None,
            failures: 0,
            settled: false,
            reached: false,
            described: false,
            refused: false,
            private: false,
            queued: false,
            events: 0,
            bytes: 0,
            last_ns: 0,
            lag: Lag::default(),
            unfinished: 0,
            rate: Rate::new(now),
            accounts: Accounts::default(),
            opened: now,
            heard: now,
            asked: false,
            message: None,
            unreadable: (now, 0),
            paused: None,
        }
    }

    /// Its canonical name.
    pub(crate) fn name(&self) -> &str {
        &self.target.endpoint.canonical
    }

    /// How it stands with it.
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Open => State::Connected,
            Phase::Left => State::Left,
            Phase::Stopped | Phase::Asking => State::Refused,
            _ if self.refused => State::Refused,
            _ if self.failures >= DEAD_FAILURES => State::Dead,
            _ => State::Waiting,
        }
    }

    /// Whether it calls itself a relay where it should be a PDS.
    pub(crate) fn is_posing(&self, server: Option<&str>) -> bool {
        let is_relay = server.is_some_and(|server| server.contains("atproto-relay"));
        self.target.role == Role::Pds && is_relay && !self.described
    }

    /// Whether anyone could have put it where it is: on a list, at an address of the Internet.
    pub(crate) fn is_stranger(&self) -> bool {
        !self.target.named && self.address.is_none_or(net::address::is_public)
    }

    /// Whether more is known of it than a name that anyone could have registered.
    pub(crate) fn is_known(&self) -> bool {
        self.reached || self.target.named
    }

    /// It is wanted again, or for the first time.
    pub(crate) fn wanted(&mut self, target: Target, now: Instant) {
        // What has been found out about it stays.
        if !(target.either && self.target.either) {
            self.target = target;
        }
        if self.phase == Phase::Left {
            self.phase = Phase::Waiting(now);
            self.backoff.reset();
            (self.failures, self.settled, self.refused) = (0, false, false);
        }
    }

    /// The WebSocket is open.
    pub(crate) fn opened(&mut self, now: Instant) {
        self.phase = Phase::Open;
        self.opened = now;
        self.settled = true;
        self.reached = true;
        self.refused = false;
        self.private = false;
        self.failures = 0;
        self.addresses = Vec::new();
        self.cursor.listening();
        self.message = None;
        self.paused = None;
        self.heard(now, 0);
    }

    /// Bytes have come.
    pub(crate) fn heard(&mut self, now: Instant, bytes: usize) {
        self.heard = now;
        self.asked = false;
        if let Some((_, count)) = &mut self.message {
            *count += bytes as u64;
        }
    }

    /// After all that came has been taken: a message is under way, or none is.
    pub(crate) fn note_message(&mut self, now: Instant, is_within: bool, ended_one: bool) {
        match (is_within, self.message) {
            (false, _) => self.message = None,
            (true, Some(_)) if !ended_one => {}
            (true, _) => self.message = Some((now, 0)),
        }
    }

    /// A message that can't be read has come. `true` when it is one too many: the host is paused.
    pub(crate) fn unreadable(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.unreadable;
        if now.saturating_duration_since(*since) >= UNREADABLE_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let pause = *count == UNREADABLE_MAX;
        if pause {
            self.pause(now + UNREADABLE_WINDOW);
        }
        pause
    }

    /// Nothing is to be read from it until then.
    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused = self.paused.max(Some(until));
    }

    /// Whether nothing is to be read from it.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// It was asked whether it is there.
    pub(crate) fn pinged(&mut self) {
        self.asked = true;
    }

    /// What is to be done now, and if nothing, when.
    pub(crate) fn due(&mut self, now: Instant, settings: &Settings) -> Due {
        let at = |when: Instant, due: Due| if now >= when { due } else { Due::Later(Some(when)) };
        match self.phase {
            Phase::Waiting(until) => at(until, Due::Connect),
            Phase::Trying(until) => at(until, Due::TooLong),
            Phase::Looking | Phase::Asking | Phase::Stopped | Phase::Left => Due::Later(None),
            Phase::Open => self.due_open(now, settings),
        }
    }

    fn due_open(&mut self, now: Instant, settings: &Settings) -> Due {
        if let Some(until) = self.paused {
            if now < until {
                return Due::Later(Some(until));
            }
            // It was not listened to, so it was not silent.
            self.paused = None;
            self.heard(now, 0);
            return Due::Listen;
        }
        let gone = self.heard + settings.ping + settings.answer;
        let ping = self.heard + settings.ping;
        let slow = self.message.map(|(since, bytes)| {
            since + settings.grace + Duration::from_secs(bytes / MESSAGE_BYTES_PER_SECOND_MIN)
        });
        if slow.is_some_and(|slow| now >= slow) {
            return Due::TooSlow;
        }
        let next = if self.asked { gone } else { ping };
        match (now >= next, self.asked) {
            (true, true) => Due::Gone,
            (true, false) => Due::Ping,
            (false, _) => Due::Later(Some(slow.map_or(next, |slow| slow.min(next)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Start;

    fn open() -> (Host, Instant, Settings) {
        let target = Target {
            endpoint: "ws://127.0.0.1:1".parse().unwrap(),
            role: Role::Pds,
            named: true,
            either: false,
        };
        let cursor = Cursor::new(Start::Live);
        let now = Instant::now();
        let mut host = Host::new(target, HostId(1), cursor, (Duration::from_secs(1), now));
        host.opened(now);
        let settings = Settings {
            ping: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            ..Settings::default()
        };
        (host, now, settings)
    }

    #[test]
    fn a_silent_host_is_asked_and_then_given_up() {
        let (mut host, start, settings) = open();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(host.due(after(29), &settings), Due::Later(Some(after(30))));
        assert_eq!(host.due(after(30), &settings), Due::Ping);
        host.pinged();
        assert_eq!(host.due(after(31), &settings), Due::Later(Some(after(90))));
        assert_eq!(host.due(after(90), &settings), Due::Gone);
        host.heard(after(80), 2);
        assert_eq!(host.due(after(90), &settings), Due::Later(Some(after(110))));
    }

    #[test]
    fn a_message_may_be_long_but_not_endless() {
        let (mut host, start, settings) = open();
        let after = |seconds| start + Duration::from_secs(seconds);
        host.note_message(after(0), true, false);
        for second in 1..settings.grace.as_secs() {
            host.heard(after(second), 1);
            host.note_message(after(second), true, false);
            assert!(matches!(host.due(after(second), &settings), Due::Later(_)));
        }
        host.heard(after(settings.grace.as_secs()), 1);
        assert_eq!(host.due(after(settings.grace.as_secs()), &settings), Due::TooSlow);
        // As much as a second's worth buys a second.
        let second = MESSAGE_BYTES_PER_SECOND_MIN as usize;
        host.heard(after(settings.grace.as_secs()), second);
        assert!(matches!(host.due(after(settings.grace.as_secs()), &settings), Due::Later(_)));
    }

    #[test]
    fn a_flood_of_unreadable_messages_pauses_a_host_without_losing_it() {
        let (mut host, start, settings) = open();
        let after = |seconds| start + Duration::from_secs(seconds);
        let paused: Vec<bool> = (0..UNREADABLE_MAX).map(|_| host.unreadable(after(1))).collect();
        assert_eq!(paused.iter().filter(|paused| **paused).count(), 1);
        assert!(host.is_paused());
        assert_eq!(host.due(after(40), &settings), Due::Later(Some(after(61))));
        assert_eq!(host.due(after(61), &settings), Due::Listen);
        assert!(!host.is_paused());
        assert_eq!(host.due(after(62), &settings), Due::Later(Some(after(91))));
    }
}
