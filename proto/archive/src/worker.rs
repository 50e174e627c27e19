//! A thread that does what it is asked for, in order, while who asks goes on.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

/// The thread. Who lets go of it waits until it has done all that it was asked for: nobody works in an
/// archive whose lock is free.
#[derive(Debug)]
pub(crate) struct Worker<Ask, Done> {
    asks: Option<Sender<Ask>>,
    pub(crate) done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl<Ask: Send + 'static, Done: Send + 'static> Worker<Ask, Done> {
    /// Begins one that does this until no more is asked for.
    pub(crate) fn begin(
        name: &str,
        work: impl FnOnce(&Receiver<Ask>, &Sender<Done>) + Send + 'static,
    ) -> std::io::Result<Worker<Ask, Done>> {
        let (asks, asked) = channel();
        let (tell, done) = channel();
        let thread = Builder::new().name(name.to_owned()).spawn(move || work(&asked, &tell))?;
        Ok(Worker { asks: Some(asks), done, thread: Some(thread) })
    }

    /// Asks for something; false if the thread has ended.
    pub(crate) fn ask(&self, ask: Ask) -> bool {
        self.asks.as_ref().is_some_and(|asks| asks.send(ask).is_ok())
    }

    /// Asks for no more; what there is to be told still is.
    pub(crate) fn last(&mut self) -> impl Iterator<Item = Done> {
        self.asks = None;
        self.done.iter()
    }
}

impl<Ask, Done> Drop for Worker<Ask, Done> {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
