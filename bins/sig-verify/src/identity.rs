//! What is known of an account: from the index, from answers of the directory, or not yet.
//!
//! The index is asked first: it is quick, and what it proves is proved. Only where it knows
//! nothing, or what it says would refuse an event, do the directory's answers count, and one that
//! is a minute old is asked for again: keys rotate. Silence of the directory decides nothing, and
//! neither does an answer that was asked for before the event came: an account may change twice in
//! a minute, and is asked about once. What such an answer would refuse waits until it may be asked
//! again.
//!
//! did:web is in no index and has no operations that could be followed. What its host says lives
//! beside the index, in memory, and is no longer believed after an hour.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use didindex::{DidIndex, Entry, History, Key, Period, PlcDid, keys_at};
use frame::verdict::{Rule, Status, Verdict};

use crate::known::{self, Known, Record};
use crate::resolve::{Answer, Question, Resolver, Source};
use crate::verify::{Keys, hinges_on_identity};

/// How long an answer stands before the same account may be asked for again.
const AGAIN: Duration = Duration::from_secs(60);

/// How long an answer that proves events is believed without being asked for again. `#identity`
/// events ask sooner.
const PLC_BELIEVED: Duration = Duration::from_secs(6 * 3600);
const WEB_BELIEVED: Duration = Duration::from_secs(3600);

/// Accounts that are looked up in the index at a time.
const TOGETHER: usize = 64;

/// When an account that is said to have changed is asked about once more, if the directory knows
/// of no change yet.
const MOMENT: Duration = Duration::from_secs(5);

/// Accounts that are to be asked about once more.
const MOMENTS_MAX: usize = 1024;

/// How long it goes on proving events while nobody answers any more.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// What the directory says of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The present key, or why there is none.
    pub(crate) key: Key,
    /// The canonical name of its PDS.
    pub(crate) pds: Option<Box<str>>,
    /// Its key periods, oldest first; empty where the history was not asked for, or is not kept.
    pub(crate) periods: Vec<Period>,
}

/// An account's identity from either source.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    /// As the index has it.
    Index(Entry<'a>),
    /// As the directory answered.
    Answer(&'a Identity),
}

impl<'a> View<'a> {
    /// The present key.
    pub(crate) fn present(&self) -> Period {
        match self {
            View::Index(entry) => Period::new(0, present_key(entry)),
            View::Answer(identity) => Period::new(0, identity.key),
        }
    }

    /// The canonical name of the account's PDS.
    pub(crate) fn pds(&self) -> Option<&'a str> {
        match self {
            View::Index(entry) => entry.pds(),
            View::Answer(identity) => identity.pds.as_deref(),
        }
    }

    /// The keys that count for a commit of that time, the older first.
    pub(crate) fn periods_at(&self, rev_ms: u64) -> impl Iterator<Item = Period> + Clone + use<'a> {
        let periods = match self {
            View::Index(entry) => Periods::Index(entry.history()),
            View::Answer(identity) if identity.periods.is_empty() => {
                Periods::Only(Some(Period::new(0, identity.key)))
            }
            View::Answer(identity) => Periods::Answer(identity.periods.iter()),
        };
        keys_at(periods, rev_ms)
    }
}

/// The index keeps key and status apart, because an account can have a key and no PDS.
fn present_key(entry: &Entry<'_>) -> Key {
    match (entry.key(), entry.status()) {
        (Some(key), _) => Key::Known(key),
        (None, didindex::Status::UnknownKeyType) => Key::UnknownType,
        (None, didindex::Status::Tombstoned) => Key::Tombstone,
        (None, _) => Key::Missing,
    }
}

/// Key periods from either source.
#[derive(Clone)]
enum Periods<'a> {
    Index(History<'a>),
    Answer(std::slice::Iter<'a, Period>),
    Only(Option<Period>),
}

impl Iterator for Periods<'_> {
    type Item = Period;

    fn next(&mut self) -> Option<Period> {
        match self {
            Periods::Index(history) => history.next(),
            Periods::Answer(periods) => periods.next().copied(),
            Periods::Only(period) => period.take(),
        }
    }
}

/// What can be said of an event with what is known at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The verdict.
    Settled(Verdict),
    /// Somebody has to be asked.
    Ask(Whom),
    /// What would refuse it was said before it came, and may be asked for again only then.
    Later(Instant, Whom),
    /// The account's repository has to be fetched from its host, to close a gap.
    Fetch,
}

/// Who has to be asked about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The directory; with the account's history or without.
    Directory {
        /// Whether former keys could prove it.
        history: bool,
    },
    /// The account's host, whether the account is active.
    Host,
}

/// Where an account lives, as far as that is known at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Home {
    /// At this host.
    At(Box<str>),
    /// Nowhere.
    Nowhere,
    /// That has to be asked.
    Unknown,
}

/// Everything that is known of accounts, and who is asked for the rest.
pub(crate) struct Identities {
    index: Option<DidIndex>,
    plc: Known,
    web: Known,
    resolver: Option<Resolver>,
    keys: Keys,
    /// Accounts that are to be asked about once more, and when.
    moments: VecDeque<(Instant, Box<str>)>,
}

impl Identities {
    pub(crate) fn new(
        index: Option<DidIndex>,
        resolver: Option<Resolver>,
        keys: Keys,
    ) -> Identities {
        Identities {
            index,
            plc: Known::new(known::PLC_MAX),
            web: Known::new(known::WEB_MAX),
            resolver,
            keys,
            moments: VecDeque::new(),
        }
    }

    /// Whether there is an index.
    pub(crate) fn has_index(&self) -> bool {
        self.index.is_some()
    }

    /// What the index says of many accounts, for each that it has with its place among them: they
    /// are looked up together, and wait for memory together.
    pub(crate) fn indexed_views(&self, dids: &[PlcDid], mut each: impl FnMut(usize, View<'_>)) {
        let Some(index) = &self.index else { return };
        for (chunk, dids) in dids.chunks(TOGETHER).enumerate() {
            let mut entries = [None; TOGETHER];
            index.entries(dids, &mut entries);
            for (place, entry) in entries.iter().enumerate() {
                if let Some(entry) = entry {
                    each(chunk * TOGETHER + place, View::Index(*entry));
                }
            }
        }
    }

    /// What the directory answered about an account.
    pub(crate) fn answered_view(&mut self, did: &str) -> Option<View<'_>> {
        self.record(did)?.identity.as_ref().map(View::Answer)
    }

    /// Judges an event that was received then by what is known; `judge` is called once for each
    /// source.
    pub(crate) fn decide(
        &mut self,
        did: &str,
        received_ns: u64,
        mut judge: impl FnMut(View<'_>) -> Verdict,
    ) -> Decision {
        // An index that cannot be opened is none to move to: this one goes on.
        let _ = self.index.as_mut().map(DidIndex::refresh);
        let entry = self.index.as_ref().and_then(|index| index.get(did));
        let indexed = entry.map(|entry| judge(View::Index(entry)));
        if let Some(verdict) = indexed
            && !hinges_on_identity(&verdict)
        {
            return Decision::Settled(verdict);
        }
        let Some(resolver) = &mut self.resolver else {
            return Decision::Settled(indexed.unwrap_or(Verdict::unchecked(Rule::NO_IDENTITY)));
        };
        let Some(source) = resolver.source(did) else {
            // Nobody can say anything about it, ever: nothing to ask, nothing to remember.
            return Decision::Settled(indexed.unwrap_or(Verdict::refused(Rule::NO_IDENTITY)));
        };
        let (known, believed) = match source {
            Source::Plc => (&mut self.plc, PLC_BELIEVED),
            Source::Web => (&mut self.web, WEB_BELIEVED),
        };
        let only_history = source == Source::Plc && self.keys == Keys::History;
        let Some(record) = known.get(did) else {
            // The index has tried the present key, so it will take a former one, or a newer.
            let failed = indexed.is_some_and(|verdict| verdict.status != Status::Ok);
            let history = only_history || (self.keys == Keys::Auto && failed);
            return Decision::Ask(Whom::Directory { history });
        };
        let (age, said) = (record.at.elapsed(), record.said.elapsed());
        // What the index proves is proved: the directory only knows better whose host it is.
        let proved = indexed.filter(|verdict| verdict.status == Status::Ok);
        let verdict = match record.identity.as_ref() {
            None => proved.unwrap_or(Verdict::refused(Rule::NO_IDENTITY)),
            Some(identity) => {
                let verdict = judge(View::Answer(identity));
                if !hinges_on_identity(&verdict) {
                    let is_due = said >= believed || (record.changed && age >= AGAIN);
                    if is_due && age >= AGAIN && record.silent {
                        // It was waited for in vain already.
                        resolver.ask_if_idle(Question { did: did.into(), history: only_history });
                    }
                    if !is_due || (record.silent && said < KEPT) {
                        return Decision::Settled(verdict);
                    }
                }
                verdict
            }
        };
        // It holds, and all that hinges on the directory is where its account lives.
        let holds = verdict.status == Status::Ok && hinges_on_identity(&verdict);
        let history = source == Source::Plc
            && self.keys != Keys::Current
            && record.identity.is_some()
            && !holds;
        let whom = Whom::Directory { history: history || only_history };
        if age >= AGAIN || (history && !record.with_history && !record.silent) {
            return Decision::Ask(whom);
        }
        let is_old = !record.silent && record.asked_ns < received_ns;
        if is_old && verdict.status == Status::Refused {
            return proved.map_or(Decision::Later(record.at + AGAIN, whom), Decision::Settled);
        }
        // Only a definite answer refuses.
        Decision::Settled(match proved {
            _ if !record.silent || (holds && said < KEPT) => verdict,
            Some(proved) => proved,
            None => Verdict::unchecked(Rule::NO_ANSWER),
        })
    }

    /// Asks the directory about an account. The answer comes by [`Identities::answer`].
    pub(crate) fn ask(&mut self, did: &str, history: bool) {
        if let Some(resolver) = &mut self.resolver {
            resolver.ask(Question { did: did.into(), history });
        }
    }

    /// Asks again about an account whose identity is said to have changed, if an answer about it
    /// is remembered that would be believed for longer. Nobody waits for it.
    pub(crate) fn refresh(&mut self, did: &str) {
        let Some(resolver) = &mut self.resolver else { return };
        let (known, history) = match resolver.source(did) {
            Some(Source::Plc) => (&mut self.plc, self.keys == Keys::History),
            Some(Source::Web) => (&mut self.web, false),
            None => return,
        };
        let Some(record) = known.get(did) else { return };
        // If this is too soon, the account's next event asks when it no longer is.
        record.changed = true;
        if record.at.elapsed() >= AGAIN {
            resolver.ask_if_idle(Question { did: did.into(), history });
            if self.moments.len() < MOMENTS_MAX {
                self.moments.push_back((Instant::now() + MOMENT, did.into()));
            }
        }
    }

    /// Asks once more about accounts that are said to have changed, where the directory did not
    /// know of it a moment ago.
    fn ask_once_more(&mut self) {
        while self.moments.front().is_some_and(|(due, _)| *due <= Instant::now())
            && let Some((_, did)) = self.moments.pop_front()
        {
            let Some(resolver) = &mut self.resolver else { return };
            let (known, history) = match resolver.source(&did) {
                Some(Source::Plc) => (&mut self.plc, self.keys == Keys::History),
                _ => (&mut self.web, false),
            };
            if known.get(&did).is_some_and(|record| !record.differs) {
                resolver.ask_if_idle(Question { did, history });
            }
        }
    }

    /// What has to come first before the word of the host that an account is known to live at is
    /// held against an event that was received then: it may have moved since. `None` for nothing.
    pub(crate) fn confirm(&mut self, did: &str, received_ns: u64) -> Option<Decision> {
        let ask = Whom::Directory { history: false };
        let Some(record) = self.record(did) else { return Some(Decision::Ask(ask)) };
        if !record.silent && record.asked_ns >= received_ns {
            return None;
        }
        Some(if record.at.elapsed() >= AGAIN {
            Decision::Ask(ask)
        } else if record.silent {
            Decision::Settled(Verdict::unchecked(Rule::INACTIVE))
        } else {
            Decision::Later(record.at + AGAIN, ask)
        })
    }

    /// Where the directory says that an account lives, if it was asked within a minute.
    pub(crate) fn home(&mut self, did: &str) -> Home {
        match self.record(did) {
            Some(record) if !record.silent && record.at.elapsed() < AGAIN => {
                let pds = record.identity.as_ref().and_then(|identity| identity.pds.clone());
                pds.map_or(Home::Nowhere, Home::At)
            }
            _ => Home::Unknown,
        }
    }

    /// What the directory said of where an account lives, however long ago.
    pub(crate) fn said_pds(&mut self, did: &str) -> Option<&str> {
        self.record(did)?.identity.as_ref()?.pds.as_deref()
    }

    fn record(&mut self, did: &str) -> Option<&mut Record> {
        match self.resolver.as_ref()?.source(did)? {
            Source::Plc => self.plc.get(did),
            Source::Web => self.web.get(did),
        }
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_asked(&self) -> bool {
        self.resolver.as_ref().is_some_and(Resolver::is_asked)
    }

    /// Takes in one answer, if one comes within `wait`; says whose account it is about, and
    /// whether it was an answer at all.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<(Box<str>, bool)> {
        self.ask_once_more();
        let resolver = self.resolver.as_mut()?;
        let told = resolver.answer(wait)?;
        let answered = told.answer != Answer::Silence;
        let did = told.question.did.clone();
        let known = match resolver.source(&did) {
            Some(Source::Web) => &mut self.web,
            _ => &mut self.plc,
        };
        known.insert(told, Instant::now());
        Some((did, answered))
    }

    /// Why questions had no answer lately, if that was not said before.
    pub(crate) fn why(&self) -> Option<String> {
        self.resolver.as_ref()?.why()
    }

    /// How many questions were answered so far, silence included.
    pub(crate) fn answered(&self) -> u64 {
        self.resolver.as_ref().map_or(0, Resolver::answered)
    }
}

#[cfg(test)]
mod tests;
