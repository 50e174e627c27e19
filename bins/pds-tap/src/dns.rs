//! Looking names up without holding up the sockets.
//!
//! The system's resolver blocks, sometimes for half a minute, so a few threads wait for it. They
//! wake the loop through a descriptor that it watches beside its sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use net::{Endpoint, Policy};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// How many names are looked up at a time.
const THREADS_MAX: usize = 16;

/// What a resolver needs, with room; there is no need for the usual 2 MiB.
const STACK_BYTES: usize = 256 << 10;

/// An answer for the host of that index.
pub(crate) type Answer = (usize, Result<Vec<SocketAddr>, net::Error>);

/// The threads that look names up.
pub(crate) struct Resolver {
    questions: Sender<(usize, Endpoint)>,
    answers: Arc<Answers>,
}

struct Answers {
    list: Mutex<Vec<Answer>>,
    wake: EventFd,
}

impl Resolver {
    /// Starts as many threads as so many hosts are worth. They end with the process.
    ///
    /// # Errors
    /// What the system says about threads and descriptors.
    pub(crate) fn start(policy: Policy, hosts: usize) -> std::io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let answers = Arc::new(Answers { list: Mutex::default(), wake });
        let (questions, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..hosts.min(THREADS_MAX) {
            let (queue, answers) = (Arc::clone(&queue), Arc::clone(&answers));
            std::thread::Builder::new()
                .name("dns".into())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue, &answers, policy))?;
        }
        Ok(Self { questions, answers })
    }

    /// Asks for the addresses of a host; the answer comes later, under this index.
    pub(crate) fn ask(&self, index: usize, endpoint: &Endpoint) {
        // The threads hold the other end for as long as there is a sender.
        let _ = self.questions.send((index, endpoint.clone()));
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

fn work(queue: &Mutex<Receiver<(usize, Endpoint)>>, answers: &Answers, policy: Policy) {
    loop {
        let question = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, endpoint)) = question else { return };
        let answer = net::dns::resolve(&endpoint, policy);
        let mut list = answers.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((index, answer));
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
        let resolver = Resolver::start(Policy { allow_private: true }, 2).unwrap();
        for index in 0..5 {
            resolver.ask(index, &format!("ws://127.0.0.{}:80", index + 1).parse().unwrap());
        }
        let mut indices = Vec::new();
        while indices.len() < 5 {
            let mut fds = [PollFd::new(resolver.fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(Duration::from_secs(10)).unwrap();
            assert_eq!(poll(&mut fds, timeout).unwrap(), 1);
            for (index, answer) in resolver.answers() {
                let expected = format!("127.0.0.{}:80", index + 1);
                assert_eq!(answer.unwrap()[0].to_string(), expected);
                indices.push(index);
            }
        }
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2, 3, 4]);
    }
}
