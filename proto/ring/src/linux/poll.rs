//! Waiting for a descriptor before the ring exists.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Error, Patience};

/// A [`Patience`] that has begun to run.
#[derive(Clone, Copy)]
pub(super) struct Clock<'a> {
    stop: Option<BorrowedFd<'a>>,
    deadline: Option<Instant>,
}

impl<'a> Clock<'a> {
    pub(super) fn start(patience: Patience<'a>) -> Self {
        Self { stop: patience.stop, deadline: patience.limit.and_then(after) }
    }

    /// Waits until the descriptor is readable or hung up.
    pub(super) fn readable(self, fd: BorrowedFd<'_>) -> Result<(), Error> {
        if self.readable_within(Some(fd), None)? { Ok(()) } else { Err(Error::TimedOut) }
    }

    /// The same for at most `pause`, or for all of it if there is no descriptor; tells whether it
    /// is readable.
    pub(super) fn readable_within(
        self,
        fd: Option<BorrowedFd<'_>>,
        pause: Option<Duration>,
    ) -> Result<bool, Error> {
        let pause = pause.and_then(after);
        loop {
            let least = [self.deadline, pause].into_iter().flatten().min();
            let fds = [fd, self.stop].into_iter().flatten();
            let mut waited: Vec<PollFd<'_>> =
                fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut waited, timeout(least)) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::System { call: "poll", source: errno.into() }),
            }
            let spoke = |at: usize| waited.get(at).and_then(PollFd::any).unwrap_or(false);
            if self.stop.is_some() && spoke(usize::from(fd.is_some())) {
                return Err(Error::Interrupted);
            }
            if fd.is_some() && spoke(0) {
                return Ok(true);
            }
            let now = Instant::now();
            if self.deadline.is_some_and(|at| at <= now) {
                return Err(Error::TimedOut);
            }
            if pause.is_some_and(|at| at <= now) {
                return Ok(false);
            }
        }
    }
}

/// A moment that far away; none if the clock cannot express it, which is as good as never.
pub(super) fn after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

fn timeout(deadline: Option<Instant>) -> PollTimeout {
    deadline.map_or(PollTimeout::NONE, |at| {
        let left = at.saturating_duration_since(Instant::now());
        // Rounded up: a poll that ends a little early would only be repeated.
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    })
}

/// Whether the other end of a socket is gone, at this moment.
pub(super) fn hung_up(fd: BorrowedFd<'_>) -> bool {
    // A hang-up is told unasked.
    let mut asked = [PollFd::new(fd, PollFlags::empty())];
    matches!(poll(&mut asked, PollTimeout::ZERO), Ok(1..))
}
