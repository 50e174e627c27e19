//! The thread that seals: one log at a time, while the next takes events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use atproto::identity::Key;

use crate::Error;
use crate::content::Identity;
use crate::folder::Folder;
use crate::group::Bases;
use crate::seal::seal;

#[derive(Debug)]
pub(crate) struct Sealer {
    folder: Folder,
    level: i32,
    key: Key,
    known: Arc<Mutex<Bases>>,
    running: Option<(u32, JoinHandle<Result<(), Error>>)>,
    waiting: VecDeque<(u32, Vec<Identity>)>,
}

impl Sealer {
    pub(crate) fn new(folder: Folder, level: i32, key: Key) -> Sealer {
        let known = Arc::default();
        Sealer { folder, level, key, known, running: None, waiting: VecDeque::new() }
    }

    /// Has this log sealed when its turn comes. `identities` are those of its events, or of some.
    pub(crate) fn add(&mut self, number: u32, identities: Vec<Identity>) -> Result<(), Error> {
        self.waiting.push_back((number, identities));
        self.poll()
    }

    /// Begins the next log if the last is done. An error of the last comes out here.
    pub(crate) fn poll(&mut self) -> Result<(), Error> {
        if self.running.as_ref().is_some_and(|(_, thread)| !thread.is_finished()) {
            return Ok(());
        }
        self.join()?;
        let Some((number, identities)) = self.waiting.pop_front() else { return Ok(()) };
        let (folder, level, key) = (self.folder.clone(), self.level, self.key);
        let known = self.known.clone();
        let thread = std::thread::Builder::new()
            .name(format!("seal {number}"))
            .spawn(move || seal(&folder, number, level, (&key, identities), &known))
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
