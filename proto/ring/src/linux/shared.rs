//! The mapped memory: the one module that touches it, and the reasons why that is sound.
//!
//! # The mapping
//! One range of addresses holds the header page, the data, and the data once more: the same pages
//! twice in a row, so that any run of bytes up to `capacity` is in one piece wherever it begins.
//! The memory is sealed against resizing and has every page in place, so that no access faults.
//!
//! # Bytes
//! The writer stores `head` with Release behind the bytes and the reader loads it with Acquire in
//! front of them, so the bytes below `head` are seen whole. The reader stores `tail` with Release
//! after its last look and the writer loads it with Acquire before it writes, so nothing is
//! overwritten while it is looked at. Each side writes its own word only and keeps the value
//! locally; it loads the other's only when what it knew is used up, so that the cache lines stay
//! where they are while both are busy.
//!
//! # Sleep
//! A side that has to wait stores 1 in its bell, passes a SeqCst fence, looks at the other's word
//! again, and only then sleeps on the bell for as long as it holds 1. A side that has stored its
//! own word passes a SeqCst fence and then looks at the other's bell; if that is not 0 it stores
//! 0 and wakes. Of the two fences one comes first: either the sleeper sees the word, or the other
//! sees the bell; and 0 stored between the last look and the sleep makes the kernel refuse to
//! sleep. So no wake-up is lost, and without a sleeper there is no system call.
//!
//! A thread of the sleeper's own process (peer gone, descriptor watched) does the same with a
//! local flag in the place of the word, and wakes whatever the bell says. A process that is
//! killed between its word and the wake-up is noticed by that thread.
//!
//! Nobody spins before sleeping. With two cores a reader that spun for some microseconds cost a
//! writer that publishes without wake-ups more than it saved, and in a chain there are more
//! stages than cores, so that the time is another stage's.
#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use super::layout::Header;
use super::memory::Sizes;
use crate::{Error, Side, Word};

/// A ring's memory in this process. Only the two ends below reach the data; everybody else sees
/// the header, of which any content is valid.
#[derive(Debug)]
pub(super) struct Shared {
    map: MmapRaw,
    sizes: Sizes,
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slept {
    /// Woken, or there was no need to sleep: look again.
    Woken,
    /// A signal handler ran.
    Signal,
    /// The time is over.
    TimedOut,
}

impl Shared {
    fn map(memory: BorrowedFd<'_>, sizes: Sizes, side: Side) -> io::Result<Self> {
        // The range is had first, as memory that is never touched, and the pages are laid over
        // it: between two separate mappings somebody else's could come to lie. `map` owns the
        // range from here on and gives all of it back.
        let Sizes { header_bytes, capacity } = sizes;
        let length = header_bytes + 2 * capacity;
        let map = MmapRaw::from(MmapOptions::new().len(length).no_reserve_swap().map_anon()?);
        let words = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let data = if side == Side::Writer { words } else { ProtFlags::PROT_READ };
        lay(&map, 0, header_bytes, words, memory, 0)?;
        lay(&map, header_bytes, capacity, data, memory, header_bytes)?;
        lay(&map, header_bytes + capacity, capacity, data, memory, header_bytes)?;
        Ok(Self { map, sizes })
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the mapping begins on a page, is at least a page long, is readable and
        // writable there, and lives as long as self. A Header is made of atomic integers, so any
        // content is valid and changes by another process are allowed for.
        unsafe { &*self.map.as_ptr().cast::<Header>() }
    }

    /// Address of the byte at that position. From it at least `capacity` bytes are mapped.
    fn at(&self, position: u64) -> *mut u8 {
        let offset = position & (self.sizes.capacity as u64 - 1);
        // SAFETY: the offset is below the capacity, so this is inside the mapping, in the first
        // of the two copies, and the whole second copy lies behind it.
        unsafe { self.map.as_mut_ptr().add(self.sizes.header_bytes + offset as usize) }
    }

    fn bell(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::Writer => &self.header().writer_bell,
            Side::Reader => &self.header().reader_bell,
        }
    }

    /// Says that this side is about to sleep. Whatever could make that needless has to be looked
    /// at after this.
    pub(super) fn announce(&self, side: Side) {
        self.bell(side).store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back.
    pub(super) fn awake(&self, side: Side) {
        self.bell(side).store(0, Ordering::Relaxed);
    }

    /// Whether that side has announced that it sleeps. To be preceded by a SeqCst fence behind
    /// the store that it waits for.
    pub(super) fn sleeps(&self, side: Side) -> bool {
        self.bell(side).load(Ordering::Relaxed) != 0
    }

    /// Wakes that side if it sleeps.
    pub(super) fn wake(&self, side: Side) {
        if self.sleeps(side) && self.bell(side).swap(0, Ordering::SeqCst) != 0 {
            self.futex_wake(side);
        }
    }

    /// Wakes that side whatever its bell says: for news that comes once and was stored before.
    pub(super) fn wake_surely(&self, side: Side) {
        fence(Ordering::SeqCst);
        self.bell(side).store(0, Ordering::SeqCst);
        self.futex_wake(side);
    }

    fn futex_wake(&self, side: Side) {
        // SAFETY: FUTEX_WAKE looks at the address only, which is that of a mapped, aligned u32.
        // It cannot fail with these arguments, and there would be nothing to do about it.
        let _ = unsafe {
            libc::syscall(libc::SYS_futex, self.bell(side).as_ptr(), libc::FUTEX_WAKE, i32::MAX)
        };
    }

    /// Sleeps until the bell of that side is rung, if [`Shared::announce`] still stands.
    pub(super) fn sleep(&self, side: Side, limit: Option<Duration>) -> Result<Slept, Error> {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the address is that of a mapped, aligned u32; `limit` is null or points to a
        // timespec that outlives the call. The word is not PRIVATE: the waker is elsewhere.
        let result = unsafe {
            libc::syscall(libc::SYS_futex, self.bell(side).as_ptr(), libc::FUTEX_WAIT, 1, limit)
        };
        match Errno::result(result) {
            Ok(_) | Err(Errno::EAGAIN) => Ok(Slept::Woken),
            Err(Errno::EINTR) => Ok(Slept::Signal),
            Err(Errno::ETIMEDOUT) => Ok(Slept::TimedOut),
            Err(errno) => Err(Error::System { call: "futex", source: errno.into() }),
        }
    }
}

/// Lays pages of the memory over a part of the range.
fn lay(
    map: &MmapRaw,
    at: usize,
    bytes: usize,
    access: ProtFlags,
    memory: BorrowedFd<'_>,
    from: usize,
) -> io::Result<()> {
    let address = NonZeroUsize::new(map.as_mut_ptr() as usize + at).ok_or(Errno::EINVAL)?;
    let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
    let from = libc::off_t::try_from(from).map_err(|_| Errno::EINVAL)?;
    if at.checked_add(bytes).is_none_or(|end| end > map.len()) {
        return Err(Errno::EINVAL.into());
    }
    // The pages are there already; that they are in the table, too, saves the first lap a fault on
    // each page and side.
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED | MapFlags::MAP_POPULATE;
    // SAFETY: MAP_FIXED replaces what lies there, and all of that is inside the range that `map`
    // owns and to which nothing points yet.
    unsafe { mmap(Some(address), length, access, flags, memory, from) }?;
    Ok(())
}

/// Takes a descriptor that `recvmsg` has just made for this process.
pub(super) fn adopt(received: RawFd) -> OwnedFd {
    // SAFETY: the caller is the handshake, which passes each descriptor of a message here once;
    // the kernel made it for that message, so nobody else has it.
    unsafe { OwnedFd::from_raw_fd(received) }
}

fn checked(word: Word, value: u64, least: u64, most: u64) -> Result<u64, Error> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Error::Corrupt { word, value, least, most })
    }
}

/// The writer's view: the only one in this process that can write the data.
#[derive(Debug)]
pub(super) struct WriteEnd {
    shared: Arc<Shared>,
    /// Published so far; `header().head` is a copy of it.
    head: u64,
    /// The reader's position as last read and checked: never above `head`, never over `capacity`
    /// below it.
    tail: u64,
}

impl WriteEnd {
    /// Maps fresh memory and stamps its header.
    pub(super) fn map(memory: BorrowedFd<'_>, sizes: Sizes) -> io::Result<Self> {
        let shared = Shared::map(memory, sizes, Side::Writer)?;
        shared.header().stamp(sizes.header_bytes as u32, sizes.capacity as u64);
        Ok(Self { shared: Arc::new(shared), head: 0, tail: 0 })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn capacity(&self) -> u64 {
        self.shared.sizes.capacity as u64
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Bytes not yet consumed, as last known.
    pub(super) fn unread(&self) -> u64 {
        self.head - self.tail
    }

    /// Bytes free, as last known; there can only be more.
    pub(super) fn room(&self) -> u64 {
        self.capacity() - self.unread()
    }

    /// Asks how far the reader is.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let tail = self.shared.header().tail.load(Ordering::Acquire);
        self.tail = checked(Word::Tail, tail, self.tail, self.head)?;
        Ok(())
    }

    /// Whether the reader says that it detached.
    pub(super) fn detached(&self) -> Result<bool, Error> {
        let word = self.shared.header().reader_closed.load(Ordering::Acquire);
        Ok(checked(Word::ReaderClosed, word.into(), 0, 1)? == 1)
    }

    /// The next free bytes, at most `room`.
    pub(super) fn span(&mut self, bytes: usize) -> &mut [u8] {
        let bytes = bytes.min(self.room() as usize);
        // SAFETY: `bytes` is at most the capacity, so the run is mapped, writable, and in one
        // piece. It begins at `head` and ends at most at `tail + capacity`: the reader has
        // published that it is done with what was there, and takes nothing at or above the
        // `head` that this end has stored. There is one WriteEnd, and it is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.shared.at(self.head), bytes) }
    }

    /// Publishes bytes at the beginning of the last span, at most `room`.
    pub(super) fn publish(&mut self, bytes: u64) {
        self.head += bytes.min(self.room());
        self.shared.header().head.store(self.head, Ordering::Release);
    }
}

/// The reader's view. Its data are mapped for reading alone.
#[derive(Debug)]
pub(super) struct ReadEnd {
    shared: Arc<Shared>,
    /// The writer's position as last read and checked: never below `tail`, never over `capacity`
    /// above `told`.
    head: u64,
    /// Consumed so far.
    tail: u64,
    /// What the writer knows of `tail`; `header().tail` is a copy of it.
    told: u64,
}

impl ReadEnd {
    /// Maps memory that was checked; none if its header is not that of a ring of these sizes.
    pub(super) fn map(memory: BorrowedFd<'_>, sizes: Sizes) -> io::Result<Option<Self>> {
        let shared = Shared::map(memory, sizes, Side::Reader)?;
        if !shared.header().is_stamped(sizes.header_bytes as u32, sizes.capacity as u64) {
            return Ok(None);
        }
        Ok(Some(Self { shared: Arc::new(shared), head: 0, tail: 0, told: 0 }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn capacity(&self) -> u64 {
        self.shared.sizes.capacity as u64
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// Bytes published and not consumed, as last known; there can only be more.
    pub(super) fn unread(&self) -> u64 {
        self.head - self.tail
    }

    /// Asks how far the writer is.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let head = self.shared.header().head.load(Ordering::Acquire);
        self.head = checked(Word::Head, head, self.head, self.told + self.capacity())?;
        Ok(())
    }

    /// Whether the writer says that it closed the ring. To be asked before [`ReadEnd::refresh`]:
    /// then that finds the last byte.
    pub(super) fn closed(&self) -> Result<bool, Error> {
        let word = self.shared.header().writer_closed.load(Ordering::Acquire);
        Ok(checked(Word::WriterClosed, word.into(), 0, 1)? == 1)
    }

    /// What is published and not consumed, up to that position.
    pub(super) fn view(&self, end: u64) -> &[u8] {
        let bytes = end.min(self.head).saturating_sub(self.tail) as usize;
        // SAFETY: the run lies between `tail` and `head`, which are at most the capacity apart,
        // so it is mapped, readable, and in one piece. The writer published it, and does not
        // write there before it is told a `tail` beyond; that takes `&mut self`, so this borrow
        // is over by then. A writer that breaks this is a broken process of the same user: bytes
        // may then change under the slice, as in any mapped file, but every value of a byte is
        // valid.
        unsafe { std::slice::from_raw_parts(self.shared.at(self.tail), bytes) }
    }

    /// Gives up bytes at the beginning of the view, at most `unread`.
    pub(super) fn consume(&mut self, bytes: u64) {
        self.tail += bytes.min(self.unread());
    }

    /// Bytes consumed of which the writer does not know.
    pub(super) fn untold(&self) -> u64 {
        self.tail - self.told
    }

    /// Lets the writer have what was consumed.
    pub(super) fn tell(&mut self) {
        self.told = self.tail;
        self.shared.header().tail.store(self.told, Ordering::Release);
    }
}
