//! The thread that seals: one log at a time, while the next takes events.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use atproto::identity::Key;

use crate::Error;
use crate::codec::Encoder;
use crate::content::Identity;
use crate::derived::draft::Draft;
use crate::derived::make::Drafts;
use crate::folder::Folder;
use crate::group::Bases;
use crate::seal::seal;
use crate::worker::Worker;

/// A log that is to be sealed.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: u32,
    /// Those of its events, or of some.
    pub(crate) identities: Vec<Identity>,
    /// What is derived of it, if that is to be kept.
    pub(crate) draft: Option<Arc<Draft>>,
}

#[derive(Debug)]
pub(crate) struct Sealer {
    folder: Folder,
    level: i32,
    key: Key,
    /// Of the last segments, which have no tables yet.
    small: Arc<Mutex<Drafts>>,
    /// Begun with the first log: it stays, and its memory with it.
    thread: Option<Worker<Job, Result<(), Error>>>,
    /// The log that is being sealed.
    sealing: Option<u32>,
    waiting: VecDeque<Job>,
}

impl Sealer {
    pub(crate) fn new(folder: Folder, level: i32, key: Key, small: Drafts) -> Sealer {
        let (small, waiting) = (Arc::new(Mutex::new(small)), VecDeque::new());
        Sealer { folder, level, key, small, thread: None, sealing: None, waiting }
    }

    /// Has this log sealed when its turn comes.
    pub(crate) fn add(&mut self, job: Job) -> Result<(), Error> {
        self.waiting.push_back(job);
        self.poll()
    }

    /// The drafts of the last segments, which have no tables yet.
    pub(crate) fn small(&self) -> Drafts {
        self.small.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins the next log if the last is done. An error of the last comes out here.
    pub(crate) fn poll(&mut self) -> Result<(), Error> {
        if let (Some(number), Some(running)) = (self.sealing, &self.thread) {
            match running.done.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return self.over(number, None),
                Ok(sealed) => self.over(number, Some(sealed))?,
            }
        }
        let Some(job) = self.waiting.pop_front() else { return Ok(()) };
        let number = job.number;
        let running = match self.thread.take() {
            None => self.begin(number)?,
            Some(running) => running,
        };
        let running = self.thread.insert(running);
        if !running.ask(job) {
            return self.over(number, None);
        }
        self.sealing = Some(number);
        Ok(())
    }

    /// Waits until every log is sealed.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        while self.sealing.is_some() || !self.waiting.is_empty() {
            if let (Some(number), Some(running)) = (self.sealing, &self.thread) {
                let sealed = running.done.recv().ok();
                self.over(number, sealed)?;
            }
            self.poll()?;
        }
        Ok(())
    }

    /// A log is sealed, or not; nothing: the thread has panicked.
    fn over(&mut self, number: u32, sealed: Option<Result<(), Error>>) -> Result<(), Error> {
        self.sealing = None;
        sealed.unwrap_or_else(|| Err(Error::Sealer { path: self.folder.log(number) }))
    }

    fn begin(&self, number: u32) -> Result<Worker<Job, Result<(), Error>>, Error> {
        let failed = |source| Error::io(&self.folder.log(number), "start sealing", source);
        let mut encoder = Encoder::new(self.level).map_err(failed)?;
        let (folder, key, small) = (self.folder.clone(), self.key, self.small.clone());
        let work = move |jobs: &Receiver<Job>, done: &Sender<Result<(), Error>>| {
            let mut known = Bases::default();
            for job in jobs {
                let mut small = small.lock().unwrap_or_else(PoisonError::into_inner);
                let sealed = seal(&folder, job, &key, &mut encoder, (&mut known, &mut small));
                drop(small);
                if done.send(sealed).is_err() {
                    return;
                }
            }
        };
        Worker::begin("seal", work).map_err(failed)
    }
}
