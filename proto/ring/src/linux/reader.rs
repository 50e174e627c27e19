//! The side that consumes.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::lock::Lock;
use super::meet;
use super::poll::{Clock, after};
use super::shared::{ReadEnd, Slept};
use super::watch::{Waker, Watch};
use crate::{Address, Error, Patience, Ready, Side, Until};

/// The writer is told of what was consumed in steps of this part of the capacity: in smaller ones
/// its cache line would be taken for each frame, and it does not wake for less anyway.
const TELL_PART: u64 = 32;

/// The side that consumes bytes. Dropping it is [`Reader::detach`], unless a panic does it.
#[derive(Debug)]
pub struct Reader {
    // In this order: the thread ends and the socket closes, then the side is free for another.
    watch: Watch,
    end: ReadEnd,
    /// Position up to which the caller has seen the bytes.
    shown: u64,
    _lock: Lock,
}

impl Reader {
    /// Joins the ring of that name; waits for its writer if there is none yet.
    ///
    /// Fails with [`Error::Busy`] if there is a reader of that name, with [`Error::Memory`],
    /// [`Error::Version`] or [`Error::NotARing`] if what answers is not a writer of this room,
    /// with [`Error::Interrupted`] or [`Error::TimedOut`] when the patience ends, and as
    /// [`Address::new`] does.
    pub fn attach(name: &str, patience: Patience<'_>) -> Result<Self, Error> {
        Self::attach_at(&Address::new(name)?, patience)
    }

    /// [`Reader::attach`] for an address in a directory of the caller's choice.
    pub fn attach_at(address: &Address, patience: Patience<'_>) -> Result<Self, Error> {
        let clock = Clock::start(patience);
        let place = address.place()?;
        let lock = Lock::take(&place, Side::Reader)?;
        let (peer, end) = meet::connect(&place, clock)?;
        let watch = Watch::start(end.shared(), Side::Reader, peer)?;
        Ok(Self { watch, end, shown: 0, _lock: lock })
    }

    /// Everything that is published and not consumed, in one piece; empty if there is nothing.
    /// Does not block, and looks for more only if it had shown everything that it knew of and
    /// all of that is consumed (else [`Reader::wait`] does).
    ///
    /// Fails with [`Error::Corrupt`] if the writer's word makes no sense. That the writer is gone
    /// is told by the waits, not here.
    pub fn data(&mut self) -> Result<&[u8], Error> {
        if self.end.unread() == 0 {
            self.end.refresh()?;
        }
        self.shown = self.end.head();
        Ok(self.seen())
    }

    /// What [`Reader::data`] showed last, without what was consumed since.
    #[must_use]
    pub fn seen(&self) -> &[u8] {
        self.end.view(self.shown)
    }

    /// Gives up the first `bytes` bytes of what [`Reader::data`] showed. Fails with
    /// [`Error::Overrun`] if it did not show that many.
    pub fn consume(&mut self, bytes: usize) -> Result<(), Error> {
        let (bytes, held) = (bytes as u64, self.shown - self.end.tail());
        if bytes > held {
            return Err(Error::Overrun { bytes, held });
        }
        self.end.consume(bytes);
        if self.end.untold() >= self.end.capacity() / TELL_PART {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.end.tell();
        fence(Ordering::SeqCst);
        let shared = self.end.shared();
        if shared.sleeps(Side::Writer)
            && self.end.tail() >= shared.header().writer_wants.load(Ordering::Relaxed)
        {
            shared.wake(Side::Writer);
        }
    }

    /// Blocks until there are bytes that [`Reader::data`] has not yet shown, or no more will
    /// come. Never answers [`Ready::TimedOut`].
    ///
    /// Fails with [`Error::WriterDied`] once everything that a dead writer had published has been
    /// shown, with [`Error::TooLarge`] if over half the ring is full of what was shown and not
    /// consumed (the writer could be waiting for room), and with [`Error::Corrupt`].
    pub fn wait(&mut self) -> Result<Ready, Error> {
        self.wait_for(self.one_more(), None)
    }

    /// [`Reader::wait`] for at most `limit`.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Ready, Error> {
        self.wait_for(self.one_more(), Some(limit))
    }

    /// Blocks until at least `bytes` bytes are there to be shown, those not yet consumed
    /// included. At the writer's end there may be fewer. Fails as [`Reader::wait`] does, with
    /// [`Error::TooLarge`] above half the capacity.
    pub fn wait_until(&mut self, bytes: usize) -> Result<Ready, Error> {
        self.wait_for(bytes as u64, None)
    }

    fn one_more(&self) -> u64 {
        self.shown.saturating_sub(self.end.tail()) + 1
    }

    fn wait_for(&mut self, bytes: u64, limit: Option<Duration>) -> Result<Ready, Error> {
        let bytes_max = self.end.capacity() / 2;
        if bytes > bytes_max {
            return Err(Error::TooLarge { bytes, bytes_max });
        }
        if self.end.unread() >= bytes {
            return Ok(Ready::More);
        }
        self.end.refresh()?;
        if self.end.unread() >= bytes {
            return Ok(Ready::More);
        }
        // Its wake-up, if it wants one, comes with the announcement to sleep.
        self.end.tell();
        let answer = self.block(bytes, limit.and_then(after));
        self.end.shared().awake(Side::Reader);
        answer
    }

    fn block(&mut self, bytes: u64, deadline: Option<Instant>) -> Result<Ready, Error> {
        loop {
            let shared = self.end.shared();
            shared.announce(Side::Reader);
            // Whatever it waits for: a ring that is read this far is empty enough.
            shared.wake(Side::Writer);
            // Asked in this order, so that what the writer did last is not missed.
            let gone = self.watch.news().peer_gone();
            let closed = self.end.closed()?;
            self.end.refresh()?;
            if self.end.unread() >= bytes {
                return Ok(Ready::More);
            }
            if closed {
                return Ok(Ready::End);
            }
            if gone {
                return Err(Error::WriterDied { pid: self.peer_pid() });
            }
            if self.watch.news().take_poke() {
                return Ok(Ready::Interrupted);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Ready::TimedOut);
            }
            match self.end.shared().sleep(Side::Reader, left)? {
                Slept::Signal => return Ok(Ready::Interrupted),
                Slept::Woken | Slept::TimedOut => {}
            }
        }
    }

    /// Whether [`Reader::wait`] would block now: nothing is there that was not shown, and the
    /// writer has not ended. A caller that holds output back flushes it then.
    pub fn is_idle(&mut self) -> Result<bool, Error> {
        if self.end.head() > self.shown {
            return Ok(false);
        }
        let ended = self.watch.news().peer_gone() || self.end.closed()?;
        self.end.refresh()?;
        Ok(self.end.head() <= self.shown && !ended)
    }

    /// Leaves in order: the writer gets [`Error::ReaderDetached`], unless it has closed the ring.
    pub fn detach(self) {}

    /// Size of the ring in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.end.capacity()
    }

    /// Bytes published and not consumed: the depth of the queue.
    pub fn queued(&mut self) -> Result<u64, Error> {
        self.end.refresh()?;
        Ok(self.end.unread())
    }

    /// The writer's process.
    #[must_use]
    pub fn peer_pid(&self) -> u32 {
        self.watch.peer().pid
    }

    /// The socket to the writer. Nothing is ever sent on it: it hangs up (`POLLHUP`, and it is
    /// readable) when the writer is gone. To be watched, not read.
    #[must_use]
    pub fn peer_fd(&self) -> BorrowedFd<'_> {
        self.watch.peer().socket.as_fd()
    }

    /// Ends waits with [`Ready::Interrupted`] once that descriptor speaks: for a stage whose own
    /// output may lose its reader while it waits for input. A copy of it is kept and
    /// watched until then, or until this side is dropped; it is for the caller to look what it
    /// said.
    pub fn watch(&self, fd: BorrowedFd<'_>, until: Until) -> Result<(), Error> {
        self.watch.add(fd, until)
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &std::sync::Arc<super::shared::Shared> {
        self.end.shared()
    }

    /// A handle by which other threads, or a signal handler, can end waits.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.watch.waker()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A reader that fails by panic is one that died, whether its process goes on or not.
        if std::thread::panicking() {
            return;
        }
        self.end.tell();
        let shared = self.end.shared();
        shared.header().reader_closed.store(1, Ordering::Release);
        shared.wake_surely(Side::Writer);
    }
}
