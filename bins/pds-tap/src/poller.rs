//! What the tap waits for: sockets, errands, signals, and the reader of its output going away.

use std::os::fd::AsFd;
use std::time::Duration;

use net::ws::Interest;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// How many wake-ups are taken at a time.
const EVENTS_MAX: usize = 256;

/// Who wants something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The connection of the host of this index.
    Host(usize),
    /// An errand is done.
    Errands,
    /// A signal asks to stop.
    Signal,
    /// A signal asks to read the files again.
    Hangup,
    /// The reader of the output is gone.
    Output,
}

const ERRANDS: u64 = u64::MAX;
const SIGNAL: u64 = u64::MAX - 1;
const OUTPUT: u64 = u64::MAX - 2;
const HANGUP: u64 = u64::MAX - 3;

impl Token {
    fn number(self) -> u64 {
        match self {
            Token::Host(index) => index as u64,
            Token::Errands => ERRANDS,
            Token::Signal => SIGNAL,
            Token::Output => OUTPUT,
            Token::Hangup => HANGUP,
        }
    }

    fn of(number: u64) -> Self {
        match number {
            ERRANDS => Token::Errands,
            SIGNAL => Token::Signal,
            OUTPUT => Token::Output,
            HANGUP => Token::Hangup,
            // It was an index when it was given.
            index => Token::Host(usize::try_from(index).unwrap_or(usize::MAX)),
        }
    }
}

/// Readiness of many descriptors.
pub(crate) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    count: usize,
}

impl Poller {
    pub(crate) fn new() -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); EVENTS_MAX], count: 0 })
    }

    /// Watches a descriptor until it is closed. Errors and hang-ups are always told.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(flags(interest), token.number()))
    }

    /// Watches for something else.
    pub(crate) fn change(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> nix::Result<()> {
        self.epoll.modify(fd, &mut EpollEvent::new(flags(interest), token.number()))
    }

    /// Doesn't watch it any longer.
    pub(crate) fn remove(&self, fd: impl AsFd) -> nix::Result<()> {
        self.epoll.delete(fd)
    }

    /// Waits, at most that long; a signal ends it early. Says whether something is ready.
    pub(crate) fn wait(&mut self, timeout: Duration) -> nix::Result<bool> {
        // Rounded up, so that a deadline has passed when the wait for it is over.
        let millis = timeout.as_nanos().div_ceil(1_000_000).min(60_000) as u16;
        self.count = match self.epoll.wait(&mut self.events, EpollTimeout::from(millis)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno),
        };
        Ok(self.count > 0)
    }

    /// The n-th of those that are ready.
    pub(crate) fn ready(&self, n: usize) -> Option<Token> {
        let events = self.events.get(..self.count)?;
        events.get(n).map(|event| Token::of(event.data()))
    }
}

fn flags(interest: Interest) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, interest.read);
    flags.set(EpollFlags::EPOLLOUT, interest.write);
    flags
}
