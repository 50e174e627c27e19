//! The threads that prove a batch. Each has a lane of its own, which goes to it and comes back: so
//! nothing is shared, and nothing is locked.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, anyhow};

use super::{Lane, Work};
use crate::verify::Proof;

/// How much a lane keeps of the memory that a large event took.
const BYTES_KEPT: usize = 4 << 20;

/// The lanes, and the threads that all but the first go to.
pub(super) struct Crew {
    /// A lane is away only within [`Crew::prove`].
    lanes: Vec<Option<Box<Lane>>>,
    hands: Vec<Hand>,
}

struct Hand {
    to: SyncSender<Box<Lane>>,
    from: Receiver<Box<Lane>>,
}

impl Crew {
    pub(super) fn start(jobs: usize, proof: impl Fn() -> Proof) -> anyhow::Result<Crew> {
        let lane = || Lane { bytes: Vec::new(), works: Vec::new(), proof: proof() };
        let lanes = (0..jobs.max(1)).map(|_| Some(Box::new(lane()))).collect();
        let hands = (1..jobs).map(|_| Hand::start()).collect::<anyhow::Result<_>>()?;
        Ok(Crew { lanes, hands })
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn lane(&mut self, number: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(number)?.as_deref_mut()
    }

    pub(super) fn lane_ref(&self, number: usize) -> Option<&Lane> {
        self.lanes.get(number)?.as_deref()
    }

    /// An event that may be proved beforehand, and its account.
    pub(super) fn outlined(&mut self, number: usize, at: usize) -> Option<(&mut Work, &str)> {
        let Lane { bytes, works, .. } = self.lane(number)?;
        let work = works.get_mut(at)?;
        let outline = work.outline.as_ref()?;
        let did = outline.did(bytes.get(work.body..work.to)?)?;
        Some((work, did))
    }

    /// Proves what the lanes hold, on all threads or on this one alone.
    pub(super) fn prove(&mut self, together: bool) -> anyhow::Result<()> {
        let Some((first, others)) = self.lanes.split_first_mut() else { return Ok(()) };
        let ended = || anyhow!("a thread that proves events has ended");
        for (hand, place) in self.hands.iter().zip(&mut *others).filter(|_| together) {
            if let Some(lane) = place.take() {
                hand.to.send(lane).map_err(|_| ended())?;
            }
        }
        first.iter_mut().for_each(|lane| lane.prove());
        for (hand, place) in self.hands.iter().zip(others) {
            match place {
                Some(lane) => lane.prove(),
                None => *place = Some(hand.from.recv().map_err(|_| ended())?),
            }
        }
        Ok(())
    }

    /// Whether two implementations of a curve have said different things to any of them.
    pub(super) fn disagreed(&self) -> bool {
        self.lanes.iter().flatten().any(|lane| lane.proof.disagreed())
    }

    pub(super) fn clear(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.works.clear();
            lane.bytes.clear();
            lane.bytes.shrink_to(BYTES_KEPT);
        }
    }
}

impl Hand {
    fn start() -> anyhow::Result<Hand> {
        let (to, lanes) = sync_channel::<Box<Lane>>(1);
        let (done, from) = sync_channel(1);
        let thread = thread::Builder::new().name("prove".into());
        let work = move || {
            while let Ok(mut lane) = lanes.recv() {
                lane.prove();
                if done.send(lane).is_err() {
                    return;
                }
            }
        };
        thread.spawn(work).context("starting a thread")?;
        Ok(Hand { to, from })
    }
}
