//! The thread that seals: one log at a time, while the next takes events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use atproto::identity::Key;

use crate::Error;
use crate::content::Identity;
use crate::derived::draft::Draft;
use crate::derived::make::Drafts;
use crate::folder::Folder;
use crate::group::Bases;
use crate::seal::seal;

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
    known: Arc<Mutex<Bases>>,
    /// Of the last segments, which have no tables yet.
    small: Arc<Mutex<Drafts>>,
    running: Option<(u32, JoinHandle<Result<(), Error>>)>,
    waiting: VecDeque<Job>,
}

impl Sealer {
    pub(crate) fn new(folder: Folder, level: i32, key: Key, small: Drafts) -> Sealer {
        let (known, small, waiting) =
            (Arc::default(), Arc::new(Mutex::new(small)), VecDeque::new());
        Sealer { folder, level, key, known, small, running: None, waiting }
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
        if self.running.as_ref().is_some_and(|(_, thread)| !thread.is_finished()) {
            return Ok(());
        }
        self.join()?;
        let Some(job) = self.waiting.pop_front() else { return Ok(()) };
        let (folder, level, key) = (self.folder.clone(), self.level, self.key);
        let (number, known, small) = (job.number, self.known.clone(), self.small.clone());
        let thread = std::thread::Builder::new()
            .name(format!("seal {number}"))
            .spawn(move || seal(&folder, job, level, &key, (&known, &small)))
            .map_err(|source| Error::io(&self.folder.log(number), "start sealing", source))?;
        self.running = Some((number, thread));
        Ok(())
    }

    /// Waits until every log is sealed.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        while self.running.is_some() || !self.waiting.is_empty() {
            self.join()?;
            self.poll()?;
        }
        Ok(())
    }

    fn join(&mut self) -> Result<(), Error> {
        match self.running.take() {
            None => Ok(()),
            Some((number, thread)) => thread
                .join()
                .unwrap_or_else(|_| Err(Error::Sealer { path: self.folder.log(number) })),
        }
    }
}

/// A writer that goes without being finished still waits for its thread, so that nobody seals in
/// an archive whose lock is free.
impl Drop for Sealer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}
