//! Signals: the first SIGTERM or SIGINT asks to stop, the second kills.
//!
//! The first one sets a flag and makes a descriptor readable, so that a source that waits on
//! sockets wakes up. The default action is in force from then on, so that a second one kills with
//! the status that a shell expects.
//!
//! SIGHUP kills, unless a tool asks for it to mean "read your files again".
//!
//! A file that grows over its limit (`ulimit -f`) raises SIGXFSZ, which would kill: it is ignored,
//! so that the write fails and the tool can say so and end in order.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH, SIGXFSZ};

/// What the signals have said so far.
#[derive(Debug)]
pub(crate) struct Signals {
    stopping: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Signals {
    /// Installs the handlers.
    pub(crate) fn install() -> io::Result<Signals> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (wake, woken_by) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            // Registered first, so that the flag is still down when the first signal comes.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&stopping))?;
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
            signal_hook::low_level::pipe::register(signal, woken_by.try_clone()?)?;
        }
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        Ok(Signals { stopping, wake })
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// A signal that wakes a tool up instead of killing it, or of being passed over.
#[derive(Debug)]
pub struct Wakes {
    wake: UnixStream,
}

impl Wakes {
    /// From here on SIGHUP asks to read files again, for tools that run for months.
    ///
    /// # Errors
    /// What the system says.
    pub fn hangups() -> io::Result<Wakes> {
        Wakes::on(SIGHUP)
    }

    /// From here on a change of the terminal's size wakes.
    ///
    /// # Errors
    /// What the system says.
    pub fn resizes() -> io::Result<Wakes> {
        Wakes::on(SIGWINCH)
    }

    fn on(signal: i32) -> io::Result<Wakes> {
        let (wake, woken_by) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal, woken_by)?;
        Ok(Wakes { wake })
    }

    /// Readable when the signal has come since the last [`Wakes::take`].
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Whether the signal has come since this was last asked, once or several times.
    pub fn take(&self) -> bool {
        let mut bytes = [0; 64];
        let mut come = false;
        while let Ok(1..) = (&self.wake).read(&mut bytes) {
            come = true;
        }
        come
    }
}
