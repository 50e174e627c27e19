//! The thread that notices what a side blocked on a futex cannot: that the peer's end of the
//! socket hung up, or that a descriptor spoke which the side has to heed as well.
//!
//! It is blocked in `poll` all its life and has every signal blocked, so that handlers run in the
//! threads that the tool knows of.

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};

use super::handshake::Peer;
use super::shared::Shared;
use crate::{Error, Side, Until};

/// Enough for a loop around `poll`; the default of 2 MiB would only be address space, but there
/// is one such thread for each joint.
const STACK_BYTES: usize = 128 << 10;

/// What the side that sleeps looks at when it wakes.
#[derive(Debug, Default)]
pub(super) struct News {
    peer_gone: AtomicBool,
    poked: AtomicBool,
}

impl News {
    /// Whether the peer's end hung up.
    pub(super) fn peer_gone(&self) -> bool {
        self.peer_gone.load(Ordering::SeqCst)
    }

    /// Whether the side was poked since it was last asked.
    pub(super) fn take_poke(&self) -> bool {
        self.poked.load(Ordering::SeqCst) && self.poked.swap(false, Ordering::SeqCst)
    }
}

/// Wakes a side that is blocked on its ring, or that will be, with
/// [`Ready::Interrupted`](crate::Ready::Interrupted). May be used from other threads and, being
/// two stores and a system call, from signal handlers.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
    news: Arc<News>,
    side: Side,
}

impl Waker {
    /// Ends the present wait, or else the next one. Wakes that nobody waited for count as one.
    pub fn wake(&self) {
        self.tell(&self.news.poked);
    }

    fn tell(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
        self.shared.wake_surely(self.side);
    }
}

/// The thread's handle; ends it when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    waker: Waker,
    peer: Arc<Peer>,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Orders {
    bell: EventFd,
    quit: AtomicBool,
    added: Mutex<Vec<(OwnedFd, PollFlags)>>,
}

impl Watch {
    /// Starts the thread for one side of a ring that has been joined.
    pub(super) fn start(shared: &Arc<Shared>, side: Side, peer: Peer) -> Result<Self, Error> {
        let system = |call| move |errno: nix::Error| Error::System { call, source: errno.into() };
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(system("eventfd"))?;
        let orders =
            Arc::new(Orders { bell, quit: AtomicBool::new(false), added: Mutex::default() });
        let waker = Waker { shared: Arc::clone(shared), news: Arc::default(), side };
        let peer = Arc::new(peer);

        // A thread inherits the mask; there is no other way to have it set from the beginning.
        let mask = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map_err(system("pthread_sigmask"))?;
        let spawned = std::thread::Builder::new()
            .name("ring-watch".to_owned())
            .stack_size(STACK_BYTES)
            .spawn({
                let (waker, peer, orders) = (waker.clone(), Arc::clone(&peer), Arc::clone(&orders));
                move || run(&waker, &peer.socket, &orders)
            });
        mask.thread_set_mask().map_err(system("pthread_sigmask"))?;
        let thread = spawned.map_err(|source| Error::System { call: "clone", source })?;
        Ok(Self { waker, peer, orders, thread: Some(thread) })
    }

    pub(super) fn news(&self) -> &News {
        &self.waker.news
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Has the thread watch a copy of one more descriptor. When it speaks, the side is poked and
    /// the descriptor watched no more.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, until: Until) -> Result<(), Error> {
        let copy = fd
            .try_clone_to_owned()
            .map_err(|source| Error::System { call: "fcntl(F_DUPFD_CLOEXEC)", source })?;
        let events = match until {
            Until::Readable => PollFlags::POLLIN,
            // A hang-up is told unasked.
            Until::HungUp => PollFlags::empty(),
        };
        self.orders.added.lock().unwrap_or_else(PoisonError::into_inner).push((copy, events));
        self.order()
    }

    fn order(&self) -> Result<(), Error> {
        match self.orders.bell.write(1) {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::System { call: "eventfd", source: errno.into() }),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.orders.quit.store(true, Ordering::SeqCst);
        // The thread ends first, so that it does not take our own hang-up for the peer's.
        if self.order().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        // Closing alone would not do it while another side of this process watches a copy. What
        // fails here has hung up already.
        let _ = self.peer.socket.shutdown(Shutdown::Both);
    }
}

fn run(waker: &Waker, socket: &UnixStream, orders: &Orders) {
    let mut watched: Vec<(OwnedFd, PollFlags)> = Vec::new();
    let mut gone = false;
    loop {
        let mut fds = vec![PollFd::new(orders.bell.as_fd(), PollFlags::POLLIN)];
        fds.extend(watched.iter().map(|(fd, events)| PollFd::new(fd.as_fd(), *events)));
        if !gone {
            fds.push(PollFd::new(socket.as_fd(), PollFlags::empty()));
        }
        // It fails only for want of memory, and then the next may succeed.
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            std::thread::yield_now();
            continue;
        }
        let spoke: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        drop(fds);

        if !gone && spoke.last() == Some(&true) {
            gone = true;
            waker.tell(&waker.news.peer_gone);
        }
        let before = watched.len();
        let mut spoken = spoke.iter().skip(1);
        watched.retain(|_| spoken.next() != Some(&true));
        if watched.len() < before {
            waker.wake();
        }
        if spoke.first() == Some(&true) {
            if orders.quit.load(Ordering::SeqCst) {
                return;
            }
            let _ = orders.bell.read();
            watched.append(&mut orders.added.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
