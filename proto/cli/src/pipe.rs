//! Descriptors: terminals, pipes, and waiting on two of them at once.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::usage;

/// What every pipe is asked to hold: a 5 KiB frame costs a third of what it does at the default.
const PIPE_BYTES: i32 = 1 << 20;

/// Asks for a pipe of 1 MiB. It is a wish: what is not a pipe, or over the user's quota, stays.
pub fn widen(fd: BorrowedFd<'_>) {
    #[cfg(target_os = "linux")]
    let _ = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    #[cfg(not(target_os = "linux"))]
    let _ = (fd, PIPE_BYTES);
}

/// Misuse if standard output is a terminal: frames are not for people.
///
/// # Errors
/// A usage error that names what to do instead.
pub fn refuse_terminal() -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        return Err(usage(
            "frames are not for a terminal; pipe them into frame-cat, or name a file with -o FILE",
        ));
    }
    Ok(())
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The input has bytes, or its end.
    Input,
    /// The reader of the output is gone.
    OutputGone,
    /// Nothing within the time.
    Nothing,
}

/// How many descriptors a wait looks at beside its input.
pub(crate) const WATCHED_MAX: usize = 33;

/// Waits until `input` can be read or the other end of one of `watched` goes away; for ever
/// without a timeout. An interrupted wait begins anew: a timeout is a bound on patience, not a
/// clock.
pub(crate) fn wait(
    input: BorrowedFd<'_>,
    watched: &[OwnedFd],
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
        PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)
    });
    loop {
        // Without events asked for, only an error or a hang-up is reported.
        let watched_fd = |at| watched.get(at).map_or(input, AsFd::as_fd);
        let mut fds: [PollFd<'_>; 1 + WATCHED_MAX] = std::array::from_fn(|at| match at {
            0 => PollFd::new(input, PollFlags::POLLIN),
            _ => PollFd::new(watched_fd(at - 1), PollFlags::empty()),
        });
        let fds = fds.get_mut(..=watched.len().min(WATCHED_MAX)).unwrap_or_default();
        match poll(fds, timeout) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) => return Ok(Ready::Nothing),
            Ok(_) => {}
        }
        let mut spoke = fds.iter().map(|fd| fd.any().unwrap_or(true));
        if spoke.next() == Some(true) {
            return Ok(Ready::Input);
        }
        if spoke.any(|spoke| spoke) {
            return Ok(Ready::OutputGone);
        }
    }
}

/// Whether two descriptors are the same regular file, which a tool must not read while it writes.
pub(crate) fn same_file(a: impl AsFd, b: impl AsFd) -> bool {
    let file = nix::sys::stat::SFlag::S_IFREG.bits();
    match (nix::sys::stat::fstat(a), nix::sys::stat::fstat(b)) {
        (Ok(a), Ok(b)) => a.st_mode & file == file && (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// Whether this descriptor has a reader that can go away.
pub(crate) fn can_hang_up(fd: BorrowedFd<'_>) -> bool {
    let kind = |mode: nix::libc::mode_t| mode & nix::libc::S_IFMT;
    nix::sys::stat::fstat(fd)
        .is_ok_and(|stat| matches!(kind(stat.st_mode), nix::libc::S_IFIFO | nix::libc::S_IFSOCK))
}

/// How many bytes wait in a pipe and how many fit; zeros for what is not a pipe.
#[cfg(target_os = "linux")]
pub(crate) fn queue(fd: BorrowedFd<'_>) -> (u64, u64) {
    let capacity = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap_or(0);
    if capacity <= 0 {
        return (0, 0);
    }
    let depth = rustix::io::ioctl_fionread(fd).unwrap_or(0);
    (depth, u64::try_from(capacity).unwrap_or(0))
}

/// How many bytes wait in a pipe, where the system can say it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn queue(_: BorrowedFd<'_>) -> (u64, u64) {
    (0, 0)
}

/// Whether the other end of a descriptor is gone.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}
