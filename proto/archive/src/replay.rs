//! A segment in order of arrival, although it is stored by account: blocks are decoded when the
//! first of their events is asked for, and kept as long as there is room. Where everything is asked
//! for, the first event wants them all: then they are decoded at once, by all cores, and those of
//! the next segments after them, while this one is handed on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Error;
use crate::codec::Block;
use crate::error::{Cause, Damage, Numbers};
use crate::group::Group;
use crate::hosts::{HostNo, Hosts, Marks};
use crate::reader::Query;
use crate::scan::{Found, Step};
use crate::segment::read::{Index, NoteRow, Segment};
use crate::stored::{Event, Note};

/// Decoded blocks take no more than this, nearly, those of the next segments included. The largest
/// segment fits.
const CACHE_BYTES_MAX: usize = 320 << 20;

pub(crate) struct Replay {
    number: u32,
    segment: Arc<Segment>,
    index: Arc<Index>,
    /// The reader's numbers of the segment's hosts.
    hosts: Vec<HostNo>,
    /// Ordinals that are asked for, ascending, and the next of them.
    picks: Vec<u32>,
    next: usize,
    notes: Vec<NoteRow>,
    note_bytes: Vec<u8>,
    next_note: usize,
    blocks: Vec<State>,
    cached: usize,
    /// All blocks will be needed, and there is room for them.
    at_once: bool,
    /// The segments behind this one.
    then: Vec<u32>,
    /// Damage that was found before the first event.
    found: Vec<Damage>,
}

enum State {
    Unread,
    Read(Block),
    Bad,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("segment", &self.segment.path).finish_non_exhaustive()
    }
}

impl Replay {
    /// Prepares what is asked for of a segment, from the first event received at `since` on; `None`
    /// if that is nothing.
    pub(crate) fn open(
        number: u32,
        group: &mut Group,
        query: &Query,
        since: Option<u64>,
        hosts: &mut Hosts,
        marks: &mut Marks,
        then: Vec<u32>,
    ) -> Result<Option<Replay>, Error> {
        let segment = group.open(number)?;
        if !query.dids.is_empty() {
            let accounts = segment.accounts()?;
            if !query.dids.iter().any(|did| accounts.find(did).is_some()) {
                return Ok(None);
            }
        }
        let index = group.index(number)?;
        let mut numbers = Vec::with_capacity(index.hosts.len());
        for host in &index.hosts {
            numbers.push(hosts.number(host.role, &host.name)?);
        }
        for (host, epoch, seq) in segment.marks()? {
            if let Some(host) = numbers.get(host as usize) {
                marks.set(*host, epoch, seq);
            }
        }
        let first = segment.contents.first;
        let from = u32::try_from(query.from.saturating_sub(first)).unwrap_or(u32::MAX);
        let from = match since {
            None => from,
            Some(since_ns) => match index.rows.iter().position(|row| row.time_ns >= since_ns) {
                Some(ordinal) => from.max(ordinal as u32),
                None => return Ok(None),
            },
        };
        let mut found = Vec::new();
        let picks = picks(&index, query, from);
        found.extend(lost(&segment, &index, from));
        let (note_bytes, mut notes) = if query.dids.is_empty() {
            segment.notes(index.hosts.len()).or_else(|error| match error {
                Error::Damaged(damage) => {
                    found.push(damage);
                    Ok((Vec::new(), Vec::new()))
                }
                error => Err(error),
            })?
        } else {
            (Vec::new(), Vec::new())
        };
        notes.retain(|note| note.before >= from);
        let blocks = index.blocks.iter().map(|_| State::Unread).collect();
        let whole = query.dids.is_empty() && query.count.is_none() && from == 0;
        let at_once = whole && index.bytes() <= CACHE_BYTES_MAX;
        Ok(Some(Replay {
            number,
            segment,
            index,
            hosts: numbers,
            picks,
            next: 0,
            notes,
            note_bytes,
            next_note: 0,
            blocks,
            cached: 0,
            at_once,
            then,
            found,
        }))
    }

    /// The blocks that are decoded, when they are of no more use.
    pub(crate) fn into_blocks(self) -> impl Iterator<Item = Block> {
        self.blocks.into_iter().filter_map(|state| match state {
            State::Read(block) => Some(block),
            State::Unread | State::Bad => None,
        })
    }

    /// Leaves out all but these ordinals.
    pub(crate) fn only(&mut self, ordinals: &[u32]) {
        self.picks.retain(|pick| ordinals.binary_search(pick).is_ok());
    }

    pub(crate) fn step(
        &mut self,
        group: &mut Group,
        damage: &mut VecDeque<Damage>,
    ) -> Result<Option<Step>, Error> {
        damage.extend(self.found.drain(..));
        if std::mem::take(&mut self.at_once) {
            let blocks = group.blocks(self.number, &self.then, CACHE_BYTES_MAX)?;
            for (at, block) in blocks.into_iter().enumerate() {
                self.keep(at, block, damage)?;
            }
        }
        loop {
            let pick = self.picks.get(self.next).copied();
            if let Some(note) = self.notes.get(self.next_note)
                && pick.is_none_or(|pick| note.before <= pick)
            {
                self.next_note += 1;
                return Ok(Some(Step::Note(self.next_note - 1)));
            }
            let Some(pick) = pick else { return Ok(None) };
            self.next += 1;
            if self.load(pick, group, damage)? {
                return Ok(Some(Step::Event(pick as usize)));
            }
        }
    }

    /// Decodes the block of this event if it is not there; false if it can't be.
    fn load(
        &mut self,
        ordinal: u32,
        group: &mut Group,
        damage: &mut VecDeque<Damage>,
    ) -> Result<bool, Error> {
        let position = self.index.positions.get(ordinal as usize).copied().unwrap_or(u32::MAX);
        let at = self.index.block_of(position).unwrap_or(usize::MAX);
        match self.blocks.get(at) {
            Some(State::Read(_)) => return Ok(true),
            Some(State::Unread) => {}
            Some(State::Bad) | None => return Ok(false),
        }
        let block = group.block(self.number, at);
        self.keep(at, block, damage)
    }

    /// Keeps a block, or names what is lost with it.
    fn keep(
        &mut self,
        at: usize,
        block: Result<Block, Error>,
        damage: &mut VecDeque<Damage>,
    ) -> Result<bool, Error> {
        let state = match block {
            Ok(block) => {
                if self.cached + block.bytes() > CACHE_BYTES_MAX {
                    self.cached = 0;
                    for state in &mut self.blocks {
                        if matches!(state, State::Read(_)) {
                            *state = State::Unread;
                        }
                    }
                }
                self.cached += block.bytes();
                State::Read(block)
            }
            Err(Error::Damaged(found)) => {
                damage.push_back(Damage { lost: self.asked_of(at), ..found });
                State::Bad
            }
            Err(error) => return Err(error),
        };
        let good = matches!(state, State::Read(_));
        if let Some(slot) = self.blocks.get_mut(at) {
            *slot = state;
        }
        Ok(good)
    }

    /// The numbers that are asked for of a block.
    fn asked_of(&self, block: usize) -> Numbers {
        let mut lost = Numbers::default();
        for pick in &self.picks {
            let position = self.index.positions.get(*pick as usize);
            if position.and_then(|position| self.index.block_of(*position)) == Some(block) {
                let n = self.number(*pick);
                lost.push(n..n + 1);
            }
        }
        lost
    }

    fn number(&self, ordinal: u32) -> u64 {
        self.segment.contents.first.saturating_add(u64::from(ordinal))
    }

    pub(crate) fn found<'a>(&'a self, step: Step, hosts: &'a Hosts) -> Result<Found<'a>, Error> {
        let wrong = || Damage::at(&self.segment.path, 0, Cause::Form("index")).into();
        let found = match step {
            Step::Event(ordinal) => self.event(ordinal, hosts).map(Found::Event),
            Step::Note(at) => self.note(at, hosts).map(Found::Note),
        };
        found.ok_or_else(wrong)
    }

    fn event<'a>(&'a self, ordinal: usize, hosts: &'a Hosts) -> Option<Event<'a>> {
        let row = self.index.rows.get(ordinal)?;
        let position = *self.index.positions.get(ordinal)?;
        let at = self.index.block_of(position)?;
        let State::Read(block) = self.blocks.get(at)? else { return None };
        let first = self.index.blocks.get(at)?.first;
        let plain = block.event((position - first) as usize)?;
        let (host, from) = self.host(row.host, hosts)?;
        Some(Event::of_row(self.number(ordinal as u32), host, from, row, plain))
    }

    fn note<'a>(&'a self, at: usize, hosts: &'a Hosts) -> Option<Note<'a>> {
        let note = self.notes.get(at)?;
        let bytes = self.note_bytes.get(note.frame.clone())?;
        let mut decoder = frame::Decoder::default();
        decoder.next(&frame::MAGIC).ok()?;
        let (frame::Item::Frame(frame), _) = decoder.next(bytes).ok()?? else { return None };
        let host = note.host.and_then(|host| self.host(host, hosts));
        Some(Note { before: self.number(note.before), host, frame })
    }

    fn host<'a>(&self, host: u32, hosts: &'a Hosts) -> Option<(HostNo, &'a crate::Host)> {
        let number = *self.hosts.get(host as usize)?;
        Some((number, hosts.get(number)?))
    }
}

/// The ordinals that are asked for.
fn picks(index: &Index, query: &Query, from: u32) -> Vec<u32> {
    let there =
        |ordinal: &u32| index.rows.get(*ordinal as usize).is_some_and(|row| row.account.is_some());
    if query.dids.is_empty() {
        return (from..index.rows.len() as u32).filter(there).collect();
    }
    let accounts = query.dids.iter().filter_map(|did| index.accounts.find(did));
    let mut picks: Vec<u32> =
        accounts.flat_map(|account| index.of_account(account).iter().copied()).collect();
    picks.retain(|ordinal| *ordinal >= from);
    picks.sort_unstable();
    picks.dedup();
    picks
}

/// Names the events that the log had lost before it was sealed.
fn lost(segment: &Segment, index: &Index, from: u32) -> Option<Damage> {
    let mut lost = Numbers::default();
    for (ordinal, row) in index.rows.iter().enumerate().skip(from as usize) {
        if row.account.is_none() {
            let n = segment.contents.first.saturating_add(ordinal as u64);
            lost.push(n..n + 1);
        }
    }
    let damage = Damage::at(&segment.path, 0, Cause::Sealed);
    (lost.count() > 0).then_some(Damage { lost, ..damage })
}
