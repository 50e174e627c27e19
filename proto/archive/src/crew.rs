//! Threads that decode the blocks of a segment, while the one that hands events on goes on with
//! what it has. They stay as long as who reads: a thread that is new for each segment would have
//! its memory anew, too.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use crate::Error;
use crate::codec::{Base, Block, Decoder};
use crate::error::{Cause, Damage};
use crate::segment::read::{Index, Segment};

/// More threads than this wait for the one that hands events on.
const THREADS_MAX: usize = 8;

/// A block that is to be decoded.
struct Job {
    segment: Arc<Segment>,
    index: Arc<Index>,
    at: usize,
    bases: Vec<Option<Arc<Base>>>,
    room: Vec<u8>,
    to: Sender<(usize, Result<Block, Error>)>,
}

/// The threads.
pub(crate) struct Crew {
    /// Taken away when there is no more to do.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// As many threads as there are cores, or as can be had; `None` for none.
    pub(crate) fn new() -> Option<Crew> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, waiting) = channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        let begin = |_| {
            let (mut decoder, waiting) = (Decoder::new().ok()?, waiting.clone());
            let name = "decode".to_owned();
            Builder::new().name(name).spawn(move || work(&mut decoder, &waiting)).ok()
        };
        let threads: Vec<_> = (0..count.min(THREADS_MAX)).filter_map(begin).collect();
        (!threads.is_empty()).then_some(Crew { jobs: Some(jobs), threads })
    }

    /// Has all blocks of a segment decoded; `bases` says of each what it is written against, or why
    /// it can't be decoded. `rooms` is memory to put them in.
    pub(crate) fn decode(
        &self,
        segment: &Arc<Segment>,
        index: &Arc<Index>,
        bases: Vec<Result<Vec<Option<Arc<Base>>>, Error>>,
        rooms: &mut Vec<Vec<u8>>,
    ) -> UnderWay {
        let (to, done) = channel();
        let mut blocks = Vec::with_capacity(bases.len());
        for (at, bases) in bases.into_iter().enumerate() {
            let room = rooms.pop().unwrap_or_default();
            let job = |bases| {
                let (segment, index, to) = (segment.clone(), index.clone(), to.clone());
                let job = Job { segment, index, at, bases, room, to };
                self.jobs.as_ref().map(|jobs| jobs.send(job))
            };
            // One that could not be sent is missed at the end.
            blocks.push(bases.map(job).err().map(Err));
        }
        UnderWay { segment: segment.clone(), blocks, done }
    }
}

fn work(decoder: &mut Decoder, waiting: &Mutex<Receiver<Job>>) {
    loop {
        // A thread that panicked has ended the process.
        let Ok(job) = waiting.lock().map(|waiting| waiting.recv()) else { return };
        let Ok(Job { segment, index, at, bases, room, to }) = job else { return };
        decoder.room = room;
        let block = match index.blocks.get(at) {
            Some(row) => segment.block(&index, row, bases, decoder),
            None => Err(Damage::at(&segment.path, 0, Cause::Gone).into()),
        };
        drop((segment, index));
        // Nobody may want it any more.
        let _ = to.send((at, block));
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The blocks of a segment while they are decoded.
pub(crate) struct UnderWay {
    pub(crate) segment: Arc<Segment>,
    blocks: Vec<Option<Result<Block, Error>>>,
    done: Receiver<(usize, Result<Block, Error>)>,
}

impl UnderWay {
    /// Waits for all of them, in order.
    pub(crate) fn wait(mut self) -> Vec<Result<Block, Error>> {
        for (at, block) in self.done {
            if let Some(slot) = self.blocks.get_mut(at) {
                *slot = Some(block);
            }
        }
        let path = &self.segment.path;
        let missed = || Err(Damage::at(path, 0, Cause::Gone).into());
        self.blocks.into_iter().map(|block| block.unwrap_or_else(missed)).collect()
    }
}
