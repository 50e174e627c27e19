//! Events that are proved beforehand: many at a time, on several threads.
//!
//! What costs is the same whatever came before: hashes, the signature, the tree. So events gather in
//! a batch while there is input, their accounts are looked up together, and each is proved against
//! what is known of its account's identity at that moment. Then [`crate::judge`] decides about them
//! one after the other, in the order in which they came, and takes a proof for what it is only where
//! the event would be held against the very same ([`Given`]). So the verdicts, and their order, are
//! those of one thread; and no mark meets a batch, which is settled before the next frame of another
//! kind is read.
//!
//! The events of an account are proved by the same thread: its key is parsed once.

mod crew;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use atproto::event::{Event, Places};
use atproto::{Cid, PlcDid, Tid};
use frame::verdict::Verdict;
use frame::{Frame, HostId};

use crate::batch::crew::Crew;
use crate::heads::{Head, Step};
use crate::hold::{Hold, reread};
use crate::judge::Judge;
use crate::verify::{self, Claim, Given, Proof};

/// Events of a batch for each thread, and bytes: what a core's cache holds.
const EVENTS_MAX: usize = 64;
const BYTES_MAX: usize = 512 << 10;

/// So few events are proved by one thread before another one is awake.
const FEW: usize = 2;

/// What a signed event says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline {
    places: Places,
    pub(crate) rev: Tid,
    pub(crate) commit: Cid,
    pub(crate) step: Step,
}

/// What came of an event that was proved beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proved {
    /// The head that it makes its account's, or what is wrong with it whoever its account is.
    pub(crate) head: Result<Head, Verdict>,
    /// What it was held against, and what came of that.
    pub(crate) given: Option<Given>,
    pub(crate) verdict: Option<Verdict>,
}

/// An event of a batch.
struct Work {
    from: usize,
    /// Where the event itself begins, in the frame.
    body: usize,
    to: usize,
    host: HostId,
    outline: Option<Outline>,
    given: Option<Given>,
    proved: Option<Proved>,
}

/// What one thread has to prove.
struct Lane {
    bytes: Vec<u8>,
    works: Vec<Work>,
    proof: Proof,
}

/// Events that are still to be decided about.
pub(crate) struct Batch {
    crew: Crew,
    /// The order in which they came: lane, and place in it.
    order: Vec<(usize, usize)>,
    bytes: usize,
    /// The commits among them: a second one is most likely a repeat.
    commits: HashSet<Cid>,
    hash: RandomState,
    dids: Vec<PlcDid>,
    places: Vec<(usize, usize)>,
}

impl Outline {
    /// Of an event that can be proved beforehand: a commit. Others are few.
    fn of(body: &[u8], event: &Event<'_>) -> Option<Outline> {
        let Event::Commit(commit) = event else { return None };
        let rev = commit.rev.parse().ok()?;
        let places = Places::of(body, commit)?;
        Some(Outline { places, rev, commit: commit.commit, step: Step::of(event) })
    }

    /// The account. `body` is that of the event.
    pub(crate) fn did<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        self.places.repo(body)
    }
}

impl Lane {
    /// First what is not arithmetic of curves, for many events, and then that: the two would drive
    /// each other out of the core's nearest caches, event by event.
    fn prove(&mut self) {
        let Lane { bytes, works, proof } = self;
        for works in works.chunks_mut(EVENTS_MAX) {
            let mut claims = [None; EVENTS_MAX];
            for (work, claim) in works.iter_mut().zip(&mut claims) {
                let frame = work.given.and_then(|_| reread(bytes.get(work.from..work.to)?));
                let Some(frame) = frame else { continue };
                match work.examine(proof, &frame) {
                    Some(examined) if examined.has_tree() => *claim = Some(examined),
                    Some(examined) => work.judge(proof, &examined),
                    None => {}
                }
            }
            for (work, claim) in works.iter_mut().zip(&claims) {
                claim.iter().for_each(|claim| work.judge(proof, claim));
            }
        }
    }
}

impl Work {
    /// Examines the event. What is wrong with it whoever its account is, is all there is to say.
    fn examine<'a>(&mut self, proof: &mut Proof, frame: &Frame<'a>) -> Option<Claim<'a>> {
        let event = Event::Commit(self.outline.as_ref()?.places.commit(frame.body())?);
        match proof.examine(frame, event) {
            Ok(claim) => Some(proof.ask_tree(claim)),
            Err(verdict) => {
                self.proved = Some(Proved { head: Err(verdict), given: None, verdict: None });
                None
            }
        }
    }

    fn judge(&mut self, proof: &mut Proof, claim: &Claim<'_>) {
        if let (Some(given), Some(head)) = (self.given, claim.head()) {
            let verdict = proof.judge_given(claim, &given);
            self.proved = Some(Proved { head: Ok(head), given: Some(given), verdict });
        }
    }

    fn rev(&self) -> Tid {
        self.outline.as_ref().map_or(Tid(0), |outline| outline.rev)
    }
}

impl Batch {
    /// One that is proved by so many threads, this one included, each with what `proof` makes.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub(crate) fn new(jobs: usize, proof: impl Fn() -> Proof) -> anyhow::Result<Batch> {
        Ok(Batch {
            crew: Crew::start(jobs, proof)?,
            order: Vec::new(),
            bytes: 0,
            commits: HashSet::new(),
            hash: RandomState::new(),
            dids: Vec::new(),
            places: Vec::new(),
        })
    }

    /// Whether nothing is to be decided about.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether it is time to decide.
    pub(crate) fn is_full(&self) -> bool {
        let jobs = self.crew.lanes();
        self.order.len() >= jobs * EVENTS_MAX || self.bytes >= jobs * BYTES_MAX
    }

    /// Takes an event in. What is a repeat by what is known, or waits behind others, is not proved
    /// beforehand.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, judge: &mut Judge, hold: &Hold) {
        let event = verify::open(frame.body()).ok();
        let outline = event.and_then(|event| Outline::of(frame.body(), &event));
        let (mut number, mut kept) = (0, None);
        if let Some(outline) = outline
            && let Some(did) = outline.did(frame.body())
            && !hold.waits_for(did)
            && judge.is_new(did, outline.rev, &outline.commit)
            && self.commits.insert(outline.commit)
        {
            number = self.hash.hash_one(did) as usize % self.crew.lanes();
            kept = Some(outline);
        }
        let Some(lane) = self.crew.lane(number) else { return };
        let from = lane.bytes.len();
        lane.bytes.extend_from_slice(frame.bytes());
        let (to, host) = (lane.bytes.len(), frame.header.host);
        // The body stands between the header and the sections.
        let body = from + (frame.body().as_ptr() as usize - frame.bytes().as_ptr() as usize);
        lane.works.push(Work { from, body, to, host, outline: kept, given: None, proved: None });
        self.order.push((number, lane.works.len() - 1));
        self.bytes += to - from;
    }

    /// Proves what can be proved by what is known.
    ///
    /// # Errors
    /// If a thread has ended.
    pub(crate) fn prove(&mut self, judge: &mut Judge) -> anyhow::Result<()> {
        let provable = self.look_up(judge);
        self.crew.prove(provable > FEW)?;
        if self.crew.disagreed() {
            judge.proof.disagree();
        }
        Ok(())
    }

    /// Looks up what each event is to be held against; how many can be proved by that.
    fn look_up(&mut self, judge: &mut Judge) -> usize {
        let Batch { crew, order, dids, places, .. } = self;
        let Judge { identities, proof, hosts, .. } = judge;
        dids.clear();
        places.clear();
        let mut provable = 0;
        for (number, at) in order.iter().copied() {
            let Some((work, did)) = crew.outlined(number, at) else { continue };
            match PlcDid::parse(did) {
                Some(did) if identities.has_index() => {
                    dids.push(did);
                    places.push((number, at));
                }
                _ => {
                    let view = identities.answered_view(did);
                    let host = hosts.get(work.host);
                    work.given = view.and_then(|view| proof.given(work.rev(), host, view));
                    provable += usize::from(work.given.is_some());
                }
            }
        }
        identities.indexed_views(dids, |place, view| {
            let (number, at) = places.get(place).copied().unwrap_or_default();
            if let Some((work, _)) = crew.outlined(number, at) {
                work.given = proof.given(work.rev(), hosts.get(work.host), view);
                provable += usize::from(work.given.is_some());
            }
        });
        provable
    }

    /// The events in the order in which they came, with what was proved of them.
    pub(crate) fn events(&self) -> impl Iterator<Item = (Frame<'_>, Option<(&Outline, &Proved)>)> {
        self.order.iter().filter_map(|(number, at)| {
            let lane = self.crew.lane_ref(*number)?;
            let work = lane.works.get(*at)?;
            let frame = lane.bytes.get(work.from..work.to).and_then(reread)?;
            Some((frame, work.outline.as_ref().zip(work.proved.as_ref())))
        })
    }

    /// Lets go of all events, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.commits.clear();
        self.bytes = 0;
        self.crew.clear();
    }
}

#[cfg(test)]
mod tests;
