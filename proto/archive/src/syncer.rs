//! The thread that waits for the disk, while the log takes more.
//!
//! A mark asks for what lies before it to be made durable, which takes some milliseconds; deletions that
//! came meanwhile would count only then. So the writer asks and goes on. Nothing is promised sooner by
//! that: a mark lies in the log behind its events, and after a loss of power a log is believed up to its
//! first batch that is not whole, so a mark is never believed without what it stands for. Marks that come
//! while the disk is busy are made durable together.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use crate::worker::Worker;
use crate::{Error, disk};

/// A file that is to be made durable, and how many bytes it had.
#[derive(Debug)]
struct Ask {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Syncer {
    /// Begun with the first that is asked.
    running: Option<Worker<Ask, Result<u64, Error>>>,
}

impl Syncer {
    pub(crate) fn new() -> Syncer {
        Syncer { running: None }
    }

    /// Asks for the first `bytes` bytes of a file to be made durable.
    pub(crate) fn ask(&mut self, file: &Arc<File>, path: &Path, bytes: u64) -> Result<(), Error> {
        disk::before_sync(path)?;
        if self.running.is_none() {
            let worker = Worker::begin("sync", sync);
            self.running = Some(worker.map_err(|source| Error::io(path, "start syncing", source))?);
        }
        let ask = Ask { file: file.clone(), path: path.to_owned(), bytes };
        if !self.running.as_ref().is_some_and(|running| running.ask(ask)) {
            // It ended with a failure.
            self.poll()?;
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// How many bytes are durable by now, if that has become more. A failure comes out here, once.
    pub(crate) fn poll(&mut self) -> Result<Option<u64>, Error> {
        let Some(running) = &self.running else { return Ok(None) };
        let mut durable = None;
        while let Ok(answer) = running.done.try_recv() {
            durable = Some(answer?);
        }
        Ok(durable)
    }

    /// Waits until all that was asked for is durable, and says how many bytes are.
    pub(crate) fn wait(&mut self) -> Result<Option<u64>, Error> {
        // What it was asked for it does before it ends.
        let Some(mut running) = self.running.take() else { return Ok(None) };
        let mut durable = None;
        for answer in running.last() {
            durable = Some(answer?);
        }
        Ok(durable)
    }
}

fn sync(asked: &Receiver<Ask>, answer: &Sender<Result<u64, Error>>) {
    while let Ok(mut ask) = asked.recv() {
        // The last one speaks for all before it.
        while let Ok(later) = asked.try_recv() {
            ask = later;
        }
        let done = ask.file.sync_data();
        let failed = done.is_err();
        let bytes = ask.bytes;
        let done = done.map(|()| bytes);
        let done = done.map_err(|source| Error::Sync { path: ask.path, source });
        if answer.send(done).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_durable_after_waiting() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut syncer = Syncer::new();
        assert_eq!(syncer.wait().unwrap(), None);
        for round in 0..3 {
            for bytes in 0..50 {
                syncer.ask(&file, Path::new("log"), round * 100 + bytes).unwrap();
                assert!(
                    syncer.poll().unwrap().is_none_or(|durable| durable <= round * 100 + bytes)
                );
            }
            let durable = syncer.wait().unwrap();
            assert!(durable.is_none_or(|durable| durable == round * 100 + 49), "{durable:?}");
        }
    }

    /// A pipe can't be synced.
    #[test]
    fn a_failure_comes_out_and_is_final() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = Arc::new(File::from(std::os::fd::OwnedFd::from(reader)));
        let mut syncer = Syncer::new();
        syncer.ask(&pipe, Path::new("log"), 1).unwrap();
        assert!(matches!(syncer.wait(), Err(Error::Sync { .. })));
        let mut syncer = Syncer::new();
        syncer.ask(&pipe, Path::new("log"), 1).unwrap();
        let failed = loop {
            match syncer.poll() {
                Ok(None) => std::thread::yield_now(),
                other => break other,
            }
        };
        assert!(matches!(failed, Err(Error::Sync { .. })));
    }
}
