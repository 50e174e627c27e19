//! Threads that decode the blocks of segments, while the one that hands events on goes on with
//! what it has. They stay as long as who reads: a thread that is new for each segment would have
//! its memory anew, too.
//!
//! Blocks are begun in the order in which they are asked for. One that is written against a block
//! that another thread still decodes waits for that: it was begun before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;

use crate::Error;
use crate::codec::{Base, Block, Decoder};
use crate::ends::Ends;
use crate::error::{Cause, Damage};
use crate::segment::index::BlockRow;
use crate::segment::read::{Index, Segment};

/// More threads than this wait for the one that hands events on.
const THREADS_MAX: usize = 8;

/// What a block became; nothing if what it is written against is not there any more.
pub(crate) type Decoded = Option<Result<Block, Error>>;

/// What is needed to decode a block.
pub(crate) struct Asked {
    /// For each account that begins in it the block that it is written against.
    pub(crate) bases: Vec<Option<Arc<Ends>>>,
    /// Where to say what it ends with.
    pub(crate) ends: Arc<Ends>,
}

/// A block that is to be decoded.
struct Job {
    segment: Arc<Segment>,
    index: Arc<Index>,
    at: usize,
    asked: Asked,
    room: Vec<u8>,
    to: Sender<(usize, Decoded)>,
}

/// Nobody waits for a block that is not decoded.
impl Drop for Job {
    fn drop(&mut self) {
        self.asked.ends.close();
    }
}

impl Job {
    fn work(&mut self, decoder: &mut Decoder) -> Decoded {
        let gone = || Damage::at(&self.segment.path, 0, Cause::Gone).into();
        let Some(row) = self.index.blocks.get(self.at) else { return Some(Err(gone())) };
        let bases = self.bases(row)?;
        decoder.room = std::mem::take(&mut self.room);
        let mut block = self.segment.block(&self.index, row, bases, decoder);
        if let Ok(block) = &mut block {
            self.asked.ends.say(self.index.ends(row, std::mem::take(&mut block.bases)));
        }
        Some(block)
    }

    fn bases(&self, row: &BlockRow) -> Option<Vec<Option<Arc<Base>>>> {
        let base = |(account, ends): (usize, &Option<Arc<Ends>>)| match ends {
            None => Some(None),
            Some(ends) => ends.take(self.index.accounts.dids.get(account)?).map(Some),
        };
        self.index.begins(row).zip(&self.asked.bases).map(base).collect()
    }
}

/// The threads.
pub(crate) struct Crew {
    jobs: Sender<Job>,
    /// What is left is not wanted.
    stop: Arc<AtomicBool>,
}

impl Crew {
    /// As many threads as there are cores, or as can be had; `None` for none.
    pub(crate) fn new() -> Option<Crew> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, waiting) = channel::<Job>();
        let (waiting, stop) = (Arc::new(Mutex::new(waiting)), Arc::new(AtomicBool::new(false)));
        let begin = |_| {
            let (mut decoder, waiting, stop) =
                (Decoder::new().ok()?, waiting.clone(), stop.clone());
            let name = "decode".to_owned();
            Builder::new().name(name).spawn(move || work(&mut decoder, &waiting, &stop)).ok()
        };
        let threads = (0..count.min(THREADS_MAX)).filter_map(begin).count();
        (threads > 0).then_some(Crew { jobs, stop })
    }

    /// Has all blocks of a segment decoded; `blocks` says of each what it needs, or why it can't be
    /// decoded. `rooms` is memory to put them in.
    pub(crate) fn decode(
        &self,
        segment: &Arc<Segment>,
        index: &Arc<Index>,
        blocks: Vec<Result<Asked, Error>>,
        rooms: &mut Vec<Vec<u8>>,
    ) -> UnderWay {
        let (to, done) = channel();
        let send = |(at, asked): (usize, Result<Asked, Error>)| {
            let asked = match asked {
                Ok(asked) => asked,
                Err(error) => return Some(Err(error)),
            };
            let (segment, index, to) = (segment.clone(), index.clone(), to.clone());
            let room = rooms.pop().unwrap_or_default();
            // One that can't be sent is missed at the end.
            let _ = self.jobs.send(Job { segment, index, at, asked, room, to });
            None
        };
        let blocks = blocks.into_iter().enumerate().map(send).collect();
        UnderWay { segment: segment.clone(), bytes: index.bytes(), blocks, done }
    }
}

fn work(decoder: &mut Decoder, waiting: &Mutex<Receiver<Job>>, stop: &AtomicBool) {
    loop {
        // A thread that panicked has ended the process.
        let Ok(job) = waiting.lock().map(|waiting| waiting.recv()) else { return };
        let Ok(mut job) = job else { return };
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        let block = job.work(decoder);
        // Nobody may want it any more.
        let _ = job.to.send((job.at, block));
    }
}

/// The threads end by themselves: who reads no more does not wait for them.
impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The blocks of a segment while they are decoded.
pub(crate) struct UnderWay {
    pub(crate) segment: Arc<Segment>,
    /// What they take in memory, nearly.
    pub(crate) bytes: usize,
    blocks: Vec<Decoded>,
    done: Receiver<(usize, Decoded)>,
}

impl UnderWay {
    /// Waits for all of them, in order.
    pub(crate) fn wait(mut self) -> Vec<Decoded> {
        for (at, block) in self.done {
            if let Some(slot) = self.blocks.get_mut(at) {
                *slot = block;
            }
        }
        self.blocks
    }
}
