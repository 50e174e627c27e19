//! Tells copies from events.
//!
//! Hashing and look-ups are done for a few frames at a time, before they are passed on: what the
//! look-ups read comes out of memory for all of them at once.

use std::time::{Duration, Instant};

use anyhow::Context;
use atproto::event::{self, Event};
use atproto::identity;
use cli::Input;
use didindex::DidIndex;
use frame::host::Host;
use frame::{Frame, Header, Kind};
use seen::{Key, Window};
use stats::Page;

use crate::figures::Figures;
use crate::hosts::{Hosts, Number};

/// How many frames are hashed before the first of them is passed on: what they are in bytes has
/// to stay in the processor's cache.
const AHEAD: usize = 32;

/// Over how many of the newest events it is known who was first: some minutes of the whole
/// network. It is a statistic, and decides nothing.
const RACE_EVENTS: usize = 1 << 17;

/// How much memory copies are told by, at most.
pub(crate) fn bytes_for(window: usize) -> Option<u64> {
    Some(Window::bytes_for(window)? + Window::bytes_for(RACE_EVENTS)?)
}

/// What an event is looked up by.
#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    from: Number,
    /// The event's identity, whoever sent it.
    identity: u128,
    /// The same with the side that it came from.
    own: u128,
    /// The same with the side of the account's own host, where that is another one.
    at_home: Option<u128>,
    /// Whether it could come from others too.
    is_signed: bool,
}

/// Tells copies from events.
pub(crate) struct Copies {
    /// Random at each start, so that nobody outside can aim at a collision.
    key: Key,
    hosts: Hosts,
    index: Option<DidIndex>,
    window: Window,
    race: Window,
    /// What is known of the frames that come next.
    ahead: Vec<Looked>,
    /// How many of them have come.
    taken: usize,
    /// What they are looked up by.
    hashes: Vec<u128>,
    figures: Figures,
    begun: Instant,
}

impl Copies {
    pub(crate) fn new(
        window: usize,
        age: Option<Duration>,
        index: Option<DidIndex>,
        page: &Page,
    ) -> anyhow::Result<Copies> {
        let age_ns = age.map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        Ok(Copies {
            key: Key::random()?,
            hosts: Hosts::default(),
            index,
            window: Window::new(window, age_ns)?,
            race: Window::new(RACE_EVENTS, age_ns)?,
            ahead: Vec::with_capacity(AHEAD),
            taken: 0,
            hashes: Vec::with_capacity(2 * AHEAD),
            figures: Figures::new(page),
            begun: Instant::now(),
        })
    }

    /// A new stream: its host ids mean other hosts, what was seen stays seen.
    pub(crate) fn start(&mut self) {
        self.hosts.start();
    }

    /// Looks at the frames that come next, if that has not been done.
    pub(crate) fn look_ahead(&mut self, input: &mut Input<'_>) -> anyhow::Result<()> {
        if self.taken < self.ahead.len() {
            return Ok(());
        }
        self.tick()?;
        input.ahead(|frame| self.foresee(frame))?;
        self.window.fetch(&self.hashes);
        Ok(())
    }

    /// Between two looks ahead: time goes on, and so does the index.
    fn tick(&mut self) -> anyhow::Result<()> {
        self.ahead.clear();
        self.hashes.clear();
        self.taken = 0;
        let now_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.window.tick(now_ns);
        self.race.tick(now_ns);
        self.figures.tick(now_ns, &self.window, &self.hosts);
        if let Some(index) = &mut self.index {
            index.refresh().context("the index")?;
        }
        Ok(())
    }

    /// Prepares for this frame; whether the one behind it may be prepared for, too.
    fn foresee(&mut self, frame: &Frame<'_>) -> bool {
        if frame.header.kind != Kind::EVENT {
            // A name changes what an event's host id means.
            return frame.header.kind != Kind::HOST;
        }
        // An event of no host is for its turn to complain of.
        let Ok(looked) = look(&self.key, &self.hosts, self.index.as_ref(), frame) else {
            return false;
        };
        self.hashes.extend([Some(looked.own), looked.at_home].into_iter().flatten());
        self.ahead.push(looked);
        self.ahead.len() < AHEAD
    }

    /// Whether this frame is to be dropped.
    pub(crate) fn is_copy(&mut self, frame: &Frame<'_>) -> anyhow::Result<bool> {
        if frame.header.kind == Kind::HOST {
            self.hosts.name(frame.header.host, frame::host::read(frame)?, &self.key);
        }
        if frame.header.kind != Kind::EVENT {
            return Ok(false);
        }
        let looked = match self.ahead.get(self.taken) {
            Some(looked) => *looked,
            None => look(&self.key, &self.hosts, self.index.as_ref(), frame)?,
        };
        self.taken += 1;
        let is_copy = self.is_known(&looked);
        self.count(&looked, is_copy, &frame.header, frame.body().len());
        Ok(is_copy)
    }

    /// Whether it came before, from its own side or from the account's host.
    fn is_known(&mut self, looked: &Looked) -> bool {
        self.window.insert(looked.own) || looked.at_home.is_some_and(|hash| self.window.has(hash))
    }

    fn count(&mut self, looked: &Looked, is_copy: bool, header: &Header, bytes: usize) {
        let came_before = match is_copy {
            true => true,
            false => looked.is_signed && self.race.insert(looked.identity),
        };
        if is_copy {
            self.figures.dropped();
        } else if came_before {
            self.figures.passed();
        }
        if let Some(tally) = self.hosts.tally(looked.from) {
            tally.events += 1;
            tally.bytes += bytes as u64;
            tally.first += u64::from(looked.is_signed && !came_before);
            tally.copies += u64::from(came_before);
            tally.seq = header.seq;
            tally.last_ns = header.time_ns;
        }
    }

    /// An event of an archive is known from here on, from the side that it came from.
    pub(crate) fn known(&mut self, from: Host<'_>, header: &Header, body: &[u8]) {
        let number = self.hosts.number(from, &self.key);
        let event = event::parse(body).ok();
        let (identity, _) = identity_of(&self.key, from.name, header, body, event.as_ref());
        if let Some(known) = self.hosts.known(number) {
            self.window.insert(identity ^ known.side);
            self.race.insert(identity);
        }
    }

    /// Brings the page of statistics up to date.
    pub(crate) fn publish(&mut self) {
        self.figures.publish(&self.window, &self.hosts);
    }
}

/// What this event is to be looked up by.
fn look(
    key: &Key,
    hosts: &Hosts,
    index: Option<&DidIndex>,
    frame: &Frame<'_>,
) -> anyhow::Result<Looked> {
    let header = &frame.header;
    let (from, host) = hosts.of_id(header.host).with_context(|| {
        format!("an event of host id {}, which no `host` frame names", header.host.0)
    })?;
    let event = event::parse(frame.body()).ok();
    let (identity, is_signed) = identity_of(key, &host.name, header, frame.body(), event.as_ref());
    let did = event.as_ref().filter(|_| is_signed).and_then(Event::did);
    // As the index has it now: what a former host was the first to send takes nothing from the
    // account's present one.
    let home = index.zip(did).and_then(|(index, did)| index.get(did)?.pds());
    let home = home.and_then(|name| hosts.side_of_pds(name)).filter(|side| *side != host.side);
    Ok(Looked {
        from,
        identity,
        own: identity ^ host.side,
        at_home: home.map(|side| identity ^ side),
        is_signed,
    })
}

/// The identity of an event, and whether others can pass it on.
fn identity_of(
    key: &Key,
    host: &str,
    header: &Header,
    body: &[u8],
    event: Option<&Event<'_>>,
) -> (u128, bool) {
    let identity =
        key.hash(|take| identity::feed(take, host, header.epoch, header.seq, body, event));
    (identity, matches!(event, Some(Event::Commit(_) | Event::Sync(_))))
}

#[cfg(test)]
mod tests;
