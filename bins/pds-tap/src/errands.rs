//! What would hold up the sockets, done by threads: looking names up, and asking over HTTP.
//!
//! The system's resolver blocks, sometimes for half a minute, so some threads wait for it. Hosts
//! that were heard before have threads of their own: most names of the directory are dead, anyone
//! can register more, and a host that comes back must not stand in a queue behind them. Answers
//! wake the loop through a descriptor that it watches beside its sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use net::{Endpoint, Policy};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::ask::{Asker, Listing};

/// What threads need, with room; there is no need for the usual 2 MiB.
const STACK_BYTES: usize = 512 << 10;

/// What a thread has found out.
pub(crate) enum Answer {
    /// The addresses of the host of that index.
    Addresses(usize, Result<Vec<SocketAddr>, net::Error>),
    /// Whether the host of that index describes itself as a PDS.
    Described(usize, bool),
    /// The hosts that the relay of that number lists.
    Listed(usize, Listing),
}

/// For whom a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// A host that was heard before, or that was named by hand.
    Known,
    /// Any other name.
    Stranger,
}

/// The threads that run errands. They end with the process.
pub(crate) struct Errands {
    policy: Policy,
    asker: Arc<Asker>,
    answers: Arc<Answers>,
    known: Pool,
    strangers: Pool,
    http: Pool,
}

impl Errands {
    /// Gets ready; threads are started when there is something to do.
    ///
    /// # Errors
    /// What the system says about descriptors.
    pub(crate) fn new(policy: Policy, asker: Asker) -> std::io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self {
            policy,
            asker: Arc::new(asker),
            answers: Arc::new(Answers { list: Mutex::default(), wake }),
            known: Pool::new("dns", 8),
            strangers: Pool::new("dns-strangers", 16),
            http: Pool::new("http", 2),
        })
    }

    /// Asks for the addresses of a host.
    ///
    /// # Errors
    /// There is no thread and none to be had.
    pub(crate) fn look_up(
        &mut self,
        index: usize,
        endpoint: &Endpoint,
        queue: Queue,
    ) -> std::io::Result<()> {
        let (endpoint, policy) = (endpoint.clone(), self.policy);
        let errand = move || Answer::Addresses(index, net::dns::resolve(&endpoint, policy));
        let pool = match queue {
            Queue::Known => &mut self.known,
            Queue::Stranger => &mut self.strangers,
        };
        pool.run(&self.answers, Box::new(errand))
    }

    /// Asks whether a host describes itself as a PDS.
    ///
    /// # Errors
    /// As [`Errands::look_up`].
    pub(crate) fn describe(&mut self, index: usize, endpoint: &Endpoint) -> std::io::Result<()> {
        let (endpoint, asker) = (endpoint.clone(), Arc::clone(&self.asker));
        let errand = move || Answer::Described(index, asker.is_pds(&endpoint));
        self.http.run(&self.answers, Box::new(errand))
    }

    /// Asks a relay for the hosts that it knows.
    ///
    /// # Errors
    /// As [`Errands::look_up`].
    pub(crate) fn list(&mut self, number: usize, relay: &Endpoint) -> std::io::Result<()> {
        let (relay, asker) = (relay.clone(), Arc::clone(&self.asker));
        let errand = move || Answer::Listed(number, asker.hosts_of(&relay));
        self.http.run(&self.answers, Box::new(errand))
    }

    /// Readable when there are answers.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.answers.wake.as_fd()
    }

    /// The answers that have come.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        // It may not have been readable, which is nobody's fault.
        let _ = self.answers.wake.read();
        std::mem::take(&mut *self.answers.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Errand = Box<dyn FnOnce() -> Answer + Send>;

struct Answers {
    list: Mutex<Vec<Answer>>,
    wake: EventFd,
}

/// Threads that do one kind of errand, as many as are needed up to a limit.
struct Pool {
    name: &'static str,
    threads: usize,
    threads_max: usize,
    /// Errands that have not been done.
    open: Arc<AtomicUsize>,
    errands: Sender<Errand>,
    queue: Arc<Mutex<Receiver<Errand>>>,
}

impl Pool {
    fn new(name: &'static str, threads_max: usize) -> Self {
        let (errands, queue) = channel();
        let (open, queue) = (Arc::default(), Arc::new(Mutex::new(queue)));
        Self { name, threads: 0, threads_max, open, errands, queue }
    }

    fn run(&mut self, answers: &Arc<Answers>, errand: Errand) -> std::io::Result<()> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        // This struct holds the other end.
        let _ = self.errands.send(errand);
        if open <= self.threads || self.threads == self.threads_max {
            return Ok(());
        }
        let (queue, open, answers) =
            (Arc::clone(&self.queue), Arc::clone(&self.open), Arc::clone(answers));
        let thread = std::thread::Builder::new().name(self.name.into()).stack_size(STACK_BYTES);
        match thread.spawn(move || work(&queue, &open, &answers)) {
            Ok(_) => self.threads += 1,
            // Those that there are will do it.
            Err(_) if self.threads > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Errand>>, open: &AtomicUsize, answers: &Answers) {
    loop {
        let errand = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(errand) = errand else { return };
        let answer = errand();
        open.fetch_sub(1, Ordering::Relaxed);
        let mut list = answers.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(answer);
        // It can only be full, and then the loop is being woken already.
        let _ = answers.wake.write(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn answers_come_back_under_their_index() {
        let policy = Policy { allow_private: true };
        let mut errands = Errands::new(policy, Asker::new(policy, None)).unwrap();
        for index in 0..5 {
            let endpoint = format!("ws://127.0.0.{}:80", index + 1).parse().unwrap();
            let queue = if index % 2 == 0 { Queue::Known } else { Queue::Stranger };
            errands.look_up(index, &endpoint, queue).unwrap();
        }
        let mut indices = Vec::new();
        while indices.len() < 5 {
            let mut fds = [PollFd::new(errands.fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(Duration::from_secs(10)).unwrap();
            assert_eq!(poll(&mut fds, timeout).unwrap(), 1);
            for answer in errands.answers() {
                let Answer::Addresses(index, found) = answer else { panic!("another errand") };
                let expected = format!("127.0.0.{}:80", index + 1);
                assert_eq!(found.unwrap()[0].to_string(), expected);
                indices.push(index);
            }
        }
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_pool_has_no_more_threads_than_it_may_and_than_it_needs() {
        let policy = Policy { allow_private: true };
        let mut errands = Errands::new(policy, Asker::new(policy, None)).unwrap();
        assert_eq!(errands.strangers.threads, 0);
        for index in 0..100 {
            let endpoint = "ws://127.0.0.1:80".parse().unwrap();
            errands.look_up(index, &endpoint, Queue::Stranger).unwrap();
        }
        assert!((1..=16).contains(&errands.strangers.threads));
        assert_eq!(errands.known.threads, 0);
    }
}
