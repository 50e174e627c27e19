//! The side that publishes.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::lock::Lock;
use super::meet;
use super::memory::{self, Sizes};
use super::poll::{Clock, after, hung_up};
use super::shared::{Slept, WriteEnd};
use super::watch::{Waker, Watch};
use crate::{Address, Error, Patience, Ready, Side, Until};

/// Bytes published without a wake-up after which a sleeping reader is woken all the same.
const WAKE_BYTES: u64 = 128 << 10;

/// The side that publishes bytes. Dropped without [`Writer::close`] it counts as died: what was
/// published is half a stream.
#[derive(Debug)]
pub struct Writer {
    // In this order: the thread ends and the socket closes, then the side is free for another.
    watch: Watch,
    end: WriteEnd,
    reserved: u64,
    unannounced: u64,
    _lock: Lock,
}

impl Writer {
    /// Makes the ring of that name, with memory for `capacity` bytes ([`CAPACITY_BYTES`] unless
    /// there is a reason), and waits until its reader has come.
    ///
    /// Fails with [`Error::Busy`] if there is a writer of that name, with [`Error::NoMemory`] if
    /// not every byte of it can be had, with [`Error::Interrupted`] or [`Error::TimedOut`] when
    /// the patience ends, and as [`Address::new`] does.
    ///
    /// [`CAPACITY_BYTES`]: crate::CAPACITY_BYTES
    pub fn create(name: &str, capacity: usize, patience: Patience<'_>) -> Result<Self, Error> {
        Self::create_at(&Address::new(name)?, capacity, patience)
    }

    /// [`Writer::create`] for an address in a directory of the caller's choice.
    pub fn create_at(
        address: &Address,
        capacity: usize,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let clock = Clock::start(patience);
        let sizes = Sizes::of(capacity as u64)?;
        let place = address.place()?;
        let lock = Lock::take(&place, Side::Writer)?;
        let memory = memory::create(&place.name, sizes)?;
        let end = WriteEnd::map(memory.as_fd(), sizes)
            .map_err(|source| Error::NoMemory { bytes: sizes.bytes() as u64, source })?;
        let peer = meet::accept(&place, memory.as_fd(), sizes, clock)?;
        let watch = Watch::start(end.shared(), Side::Writer, peer)?;
        Ok(Self { watch, end, reserved: 0, unannounced: 0, _lock: lock })
    }

    /// The next `bytes` free bytes, in one piece, to be filled and then handed to
    /// [`Writer::publish`]; blocks while the ring is too full.
    ///
    /// Fails with [`Error::TooLarge`] above [`Writer::bytes_max`], with
    /// [`Error::ReaderDetached`] or [`Error::ReaderDied`] if nobody will read them, with
    /// [`Error::Corrupt`] if the reader's word makes no sense, and with [`Error::Interrupted`]
    /// (only if it had to block): nothing has changed then, and it may be called again.
    pub fn reserve(&mut self, bytes: usize) -> Result<&mut [u8], Error> {
        self.reserved = 0;
        match self.wait_room(bytes, None)? {
            Ready::More => {}
            Ready::End | Ready::Interrupted | Ready::TimedOut => return Err(Error::Interrupted),
        }
        self.reserved = bytes as u64;
        Ok(self.end.span(bytes))
    }

    /// Waits until `bytes` bytes are free, at most for `limit`; with a limit of zero it only
    /// looks. Never answers [`Ready::End`]. Fails as [`Writer::reserve`] does.
    pub fn wait_room(&mut self, bytes: usize, limit: Option<Duration>) -> Result<Ready, Error> {
        let bytes = bytes as u64;
        if bytes > self.bytes_max() {
            return Err(Error::TooLarge { bytes, bytes_max: self.bytes_max() });
        }
        self.reader_is_there()?;
        if self.end.room() >= bytes {
            return Ok(Ready::More);
        }
        self.end.refresh()?;
        if self.end.room() >= bytes {
            return Ok(Ready::More);
        }
        let answer = self.block(bytes, limit.and_then(after));
        self.end.shared().awake(Side::Writer);
        answer
    }

    fn block(&mut self, bytes: u64, deadline: Option<Instant>) -> Result<Ready, Error> {
        // Being woken for each frame that the reader takes would cost both a system call a frame:
        // it is worth it from half a ring on. A reader that goes to sleep wakes the writer
        // without asking, and no wait on either side is for more than half a ring, so that the
        // two cannot sleep at once.
        let wants = self.end.head() - self.end.capacity() / 2;
        self.end.shared().header().writer_wants.store(wants, Ordering::Relaxed);
        loop {
            let shared = self.end.shared();
            shared.announce(Side::Writer);
            // The reader may be asleep for want of what was published without a wake-up.
            shared.wake(Side::Reader);
            self.unannounced = 0;
            self.reader_is_there()?;
            self.end.refresh()?;
            if self.end.room() >= bytes {
                return Ok(Ready::More);
            }
            if self.watch.news().take_poke() {
                return Ok(Ready::Interrupted);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Ready::TimedOut);
            }
            match self.end.shared().sleep(Side::Writer, left)? {
                Slept::Signal => return Ok(Ready::Interrupted),
                Slept::Woken | Slept::TimedOut => {}
            }
        }
    }

    /// Publishes the first `bytes` bytes of the last reservation without waking: a busy reader
    /// sees them, a sleeping one is left asleep until [`Writer::flush`], a wait for room, or
    /// 128 KiB of this. For callers that flush whenever their own input would block; it saves them
    /// a wake-up a frame. Fails with [`Error::Overrun`] if that many were not reserved.
    pub fn publish(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        if bytes > self.reserved {
            return Err(Error::Overrun { bytes, held: self.reserved });
        }
        self.reserved = 0;
        self.end.publish(bytes);
        self.unannounced += bytes;
        if self.unannounced >= WAKE_BYTES {
            self.announce();
        }
        Ok(())
    }

    /// Sees to it that the reader is awake if there is anything for it. Fails with
    /// [`Error::ReaderDetached`] or [`Error::ReaderDied`] if there is no reader.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.unannounced > 0 {
            self.announce();
        }
        self.reader_is_there()
    }

    fn announce(&mut self) {
        self.unannounced = 0;
        fence(Ordering::SeqCst);
        self.end.shared().wake(Side::Reader);
    }

    /// Ends the stream in order: the reader gets what was published and then
    /// [`Ready::End`]. It does not wait for that. Fails with [`Error::ReaderDetached`] or
    /// [`Error::ReaderDied`] if the reader was gone before it had consumed everything.
    pub fn close(mut self) -> Result<(), Error> {
        let gone = self.check_reader();
        self.end.refresh()?;
        let shared = self.end.shared();
        shared.header().writer_closed.store(1, Ordering::Release);
        shared.wake_surely(Side::Reader);
        if self.end.unread() == 0 { Ok(()) } else { gone }
    }

    /// Fails with [`Error::ReaderDetached`] or [`Error::ReaderDied`] if there is no reader. Asks
    /// the socket itself, so that a caller that saw it hang up gets the same answer: the thread
    /// that watches it may be a moment late.
    pub fn check_reader(&self) -> Result<(), Error> {
        if hung_up(self.watch.peer().socket.as_fd()) {
            return self.reader_is_gone();
        }
        self.reader_is_there()
    }

    fn reader_is_there(&self) -> Result<(), Error> {
        if self.watch.news().peer_gone() { self.reader_is_gone() } else { Ok(()) }
    }

    fn reader_is_gone(&self) -> Result<(), Error> {
        let pid = self.peer_pid();
        // The reader set the word before its socket closed, if it did.
        Err(if self.end.detached()? {
            Error::ReaderDetached { pid }
        } else {
            Error::ReaderDied { pid }
        })
    }

    /// Most bytes that can be reserved at once: half the capacity.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.end.capacity() / 2
    }

    /// Size of the ring in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.end.capacity()
    }

    /// Bytes published that the reader has not yet said it consumed: the depth of the queue. The
    /// reader says so every 1/32 of the capacity, and whenever it waits.
    pub fn queued(&mut self) -> Result<u64, Error> {
        self.end.refresh()?;
        Ok(self.end.unread())
    }

    /// The reader's process.
    #[must_use]
    pub fn peer_pid(&self) -> u32 {
        self.watch.peer().pid
    }

    /// The socket to the reader. Nothing is ever sent on it: it hangs up (`POLLHUP`, and it is
    /// readable) when the reader is gone. To be watched, not read.
    #[must_use]
    pub fn peer_fd(&self) -> BorrowedFd<'_> {
        self.watch.peer().socket.as_fd()
    }

    /// Ends waits with [`Ready::Interrupted`] or [`Error::Interrupted`] once that descriptor
    /// speaks. A copy of it is kept and watched until then, or until this side is dropped; it is
    /// for the caller to look what it said.
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
