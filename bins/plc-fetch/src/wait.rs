//! Waiting: for a descriptor, for a moment, and always for a signal and for the reader of standard
//! output to go away.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use cli::Cli;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woke {
    /// The descriptor is ready.
    Ready,
    /// The time is over.
    Late,
    /// A signal came.
    Stopped,
}

/// What is waited for besides.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'c> {
    pub(crate) cli: &'c Cli,
    /// Lines go to standard output, and that is a pipe or a socket.
    piped: bool,
}

impl<'c> Wait<'c> {
    /// `prints` says whether anything goes to standard output.
    pub(crate) fn new(cli: &'c Cli, prints: bool) -> Self {
        let is_pipe = || {
            let kind = fstat(io::stdout()).map(|stat| stat.st_mode & SFlag::S_IFMT.bits());
            kind.is_ok_and(|kind| [SFlag::S_IFIFO.bits(), SFlag::S_IFSOCK.bits()].contains(&kind))
        };
        Self { cli, piped: prints && is_pipe() }
    }

    /// Waits so long; says whether a signal came before the time was over.
    pub(crate) fn sleep(&self, time: Duration) -> anyhow::Result<bool> {
        let until = Instant::now() + time;
        let stopped = || Ok(self.until(None, Some(until))? == Woke::Stopped);
        if time.is_zero() { Ok(self.cli.stopping()) } else { stopped() }
    }

    /// Waits until a descriptor is ready, a moment has come or a signal.
    ///
    /// # Errors
    /// [`cli::OutputClosed`] when the reader of standard output has gone.
    pub(crate) fn until(
        &self,
        fd: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Option<Instant>,
    ) -> anyhow::Result<Woke> {
        let stdout = io::stdout();
        loop {
            if self.cli.stopping() {
                return Ok(Woke::Stopped);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Woke::Late);
            }
            // Rounded up, or the last millisecond would be a busy one.
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            });
            let mut fds = vec![PollFd::new(self.cli.stop_fd(), PollFlags::POLLIN)];
            fds.extend(fd.map(|(fd, flags)| PollFd::new(fd, flags)));
            if self.piped {
                fds.push(PollFd::new(stdout.as_fd(), PollFlags::empty()));
            }
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let woken = |place: usize| fds.get(place).and_then(PollFd::any).unwrap_or(false);
            if fd.is_some() && woken(1) {
                return Ok(Woke::Ready);
            }
            if self.piped && woken(fds.len() - 1) {
                return Err(cli::OutputClosed.into());
            }
        }
    }
}
