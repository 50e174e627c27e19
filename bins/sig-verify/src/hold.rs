//! Events that wait for an answer about their account, and the marks that wait with them.
//!
//! A mark says that everything before it has been handed on, so it waits until every event before
//! it has been sent or dropped, of whatever account. Events of other accounts go by meanwhile.
//! All of it is bounded, in number and in bytes; marks that wait one behind the other become one.
//!
//! An event that would be refused by what was said before it came is put off until that may be
//! asked for again. It stands aside meanwhile: anybody can make such events, and those of the same
//! account that are proved go by.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use frame::mark::{self, Mark};
use frame::{Frame, Item, Kind};

/// Events that are held at most, and bytes; the stage stops reading beyond that.
const EVENTS_MAX: usize = 1 << 15;
const BYTES_MAX: usize = 128 << 20;

/// Events that are put off at most, and bytes, in all and of one account.
const PUT_OFF_MAX: usize = EVENTS_MAX / 4;
const PUT_OFF_BYTES_MAX: usize = BYTES_MAX / 4;
const PUT_OFF_EACH_MAX: usize = 256;

/// Marks that wait at most; beyond that they become one even with events between them.
const MARKS_MAX: usize = 64;

/// An event that waits.
#[derive(Debug)]
pub(crate) struct Held {
    frame: Box<[u8]>,
    /// The number of the gate that it holds shut.
    gate: u64,
    /// Since when it waits, unix ns.
    pub(crate) since_ns: u64,
}

impl Held {
    /// The event's frame as it came.
    pub(crate) fn frame(&self) -> Option<Frame<'_>> {
        reread(&self.frame)
    }
}

/// A frame that goes on when all events before it have.
#[derive(Debug)]
struct Gate {
    number: u64,
    frame: Vec<u8>,
    /// Events that wait between the gate before and this one.
    held: usize,
}

/// Events that stand aside.
#[derive(Debug, Default)]
struct PutOff {
    /// By account, and when they are due.
    accounts: HashMap<Box<str>, (Instant, VecDeque<Held>)>,
    due: BTreeSet<(Instant, Box<str>)>,
    events: usize,
    bytes: usize,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    accounts: HashMap<Box<str>, VecDeque<Held>>,
    put_off: PutOff,
    gates: VecDeque<Gate>,
    /// The number that the next gate will have.
    next: u64,
    /// Events that wait behind the last gate.
    behind: usize,
    events: usize,
    bytes: usize,
}

impl Hold {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0 && self.gates.is_empty()
    }

    /// How many events wait.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// How many accounts are waited for.
    pub(crate) fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Whether nothing more should be taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.events >= EVENTS_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether an event of this account waits, so that later ones have to.
    pub(crate) fn waits_for(&self, did: &str) -> bool {
        !self.accounts.is_empty() && self.accounts.contains_key(did)
    }

    /// Takes an event in. It has to go on to a place, by [`Hold::push`] or [`Hold::put_off`].
    pub(crate) fn admit(&mut self, frame: &Frame<'_>) -> Held {
        let (frame, gate) = (Box::from(frame.bytes()), self.next);
        let held = Held { frame, gate, since_ns: cli::now_ns() };
        self.events += 1;
        self.behind += 1;
        self.bytes += held.frame.len();
        held
    }

    /// Keeps an event, behind those of its account that wait already.
    pub(crate) fn push(&mut self, did: &str, held: Held) {
        match self.accounts.get_mut(did) {
            Some(queue) => queue.push_back(held),
            None => {
                self.accounts.insert(did.into(), VecDeque::from([held]));
            }
        }
    }

    /// Lets an event stand aside until it is due, if there is room for it.
    ///
    /// # Errors
    /// The event, if there is none.
    pub(crate) fn put_off(&mut self, did: &str, held: Held, due: Instant) -> Result<(), Held> {
        let PutOff { accounts, due: dues, events, bytes } = &mut self.put_off;
        let length = held.frame.len();
        if *events >= PUT_OFF_MAX || *bytes + length > PUT_OFF_BYTES_MAX {
            return Err(held);
        }
        match accounts.get_mut(did) {
            Some((_, queue)) if queue.len() >= PUT_OFF_EACH_MAX => return Err(held),
            Some((_, queue)) => queue.push_back(held),
            None => {
                dues.insert((due, did.into()));
                accounts.insert(did.into(), (due, VecDeque::from([held])));
            }
        }
        (*events, *bytes) = (*events + 1, *bytes + length);
        Ok(())
    }

    /// An account whose events are due by then, or any without a time.
    pub(crate) fn due(&self, by: Option<Instant>) -> Option<Box<str>> {
        let (due, did) = self.put_off.due.first()?;
        by.is_none_or(|by| *due <= by).then(|| did.clone())
    }

    /// Takes out the events of an account, in their order, before them what was put off. Each has to
    /// come back, by [`Hold::settle`], [`Hold::put_off`] or [`Hold::restore`].
    pub(crate) fn take(&mut self, did: &str) -> VecDeque<Held> {
        let waiting = self.accounts.remove(did).unwrap_or_default();
        let put_off = &mut self.put_off;
        let Some((did, (due, mut queue))) = put_off.accounts.remove_entry(did) else {
            return waiting;
        };
        put_off.due.remove(&(due, did));
        put_off.events -= queue.len();
        put_off.bytes -= queue.iter().map(|held| held.frame.len()).sum::<usize>();
        queue.extend(waiting);
        queue
    }

    /// Puts back what cannot be settled yet of what was taken.
    pub(crate) fn restore(&mut self, did: &str, queue: VecDeque<Held>) {
        self.accounts.insert(did.into(), queue);
    }

    /// Lets go of an event that was sent or dropped for good.
    pub(crate) fn settle(&mut self, held: &Held) {
        self.events -= 1;
        self.bytes -= held.frame.len();
        // Gates that became one bear the number of the last of them.
        let place = self.gates.partition_point(|gate| gate.number < held.gate);
        match self.gates.get_mut(place) {
            Some(gate) => gate.held -= 1,
            None => self.behind -= 1,
        }
    }

    /// Keeps a mark, or another frame that must not overtake the events before it.
    pub(crate) fn gate(&mut self, frame: &Frame<'_>) {
        let number = self.next;
        self.next += 1;
        let held = std::mem::take(&mut self.behind);
        let joins = held == 0 || self.gates.len() >= MARKS_MAX;
        if let Some(last) = self.gates.back_mut().filter(|_| joins)
            && let Some(joined) = reread(&last.frame).and_then(|last| join(&last, frame))
        {
            self.bytes = self.bytes - last.frame.len() + joined.len();
            last.frame = joined;
            last.number = number;
            last.held += held;
            return;
        }
        self.bytes += frame.bytes().len();
        self.gates.push_back(Gate { number, frame: frame.bytes().into(), held });
    }

    /// The next frame that all events before it have made way for.
    pub(crate) fn pop_gate(&mut self) -> Option<Vec<u8>> {
        if self.gates.front()?.held > 0 {
            return None;
        }
        let gate = self.gates.pop_front()?;
        self.bytes -= gate.frame.len();
        Some(gate.frame)
    }
}

/// Reads a frame back that was kept as bytes.
pub(crate) fn reread(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut decoder = frame::Decoder::default();
    decoder.next(&frame::MAGIC).ok()?;
    match decoder.next(bytes) {
        Ok(Some((Item::Frame(frame), _))) => Some(frame),
        _ => None,
    }
}

/// Two marks as one, the later of two entries for a host and epoch; `None` if one is no mark.
fn join(first: &Frame<'_>, second: &Frame<'_>) -> Option<Vec<u8>> {
    if first.header.kind != Kind::MARK || second.header.kind != Kind::MARK {
        return None;
    }
    let mut marks: Vec<Mark> = mark::read(first).ok()?.collect();
    marks.extend(mark::read(second).ok()?);
    // The sort keeps the order of equals, so the later one is the last of each run.
    marks.sort_by_key(|mark| (mark.host, mark.epoch));
    marks.reverse();
    marks.dedup_by_key(|mark| (mark.host, mark.epoch));
    marks.reverse();
    let mut out = Vec::new();
    mark::put(&mut out, &mut Vec::new(), second.header.time_ns, marks).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests;
