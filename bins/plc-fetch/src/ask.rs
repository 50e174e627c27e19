//! Asking on a thread of its own, so that a signal is obeyed while a directory is silent.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use cli::Cli;
use net::http::{Client, Response};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Longest answer that is read: a thousand operations of some tens of thousands of bytes.
pub(crate) const PAGE_BYTES_MAX: u64 = 64 << 20;

/// A thread that asks one question after the other.
pub(crate) struct Asker {
    questions: Sender<String>,
    answers: Receiver<Result<Response, net::Error>>,
    /// Has a byte for every answer.
    ready: UnixStream,
}

impl Asker {
    pub(crate) fn start(client: Client) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        let (ready, mut wake) = UnixStream::pair()?;
        thread::Builder::new().name("ask".into()).spawn(move || {
            for url in asked {
                let sent = answer.send(client.get(&url, PAGE_BYTES_MAX));
                if sent.is_err() || wake.write_all(&[0]).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers, ready })
    }

    /// Asks and waits for the answer; nothing if a signal came first.
    pub(crate) fn ask(
        &mut self,
        url: String,
        cli: &Cli,
    ) -> io::Result<Option<Result<Response, net::Error>>> {
        let gone = || io::Error::other("the thread that asks has ended");
        self.questions.send(url).map_err(|_| gone())?;
        if !ready(Some(self.ready.as_fd()), None, cli)? {
            return Ok(None);
        }
        self.ready.read_exact(&mut [0])?;
        self.answers.recv().map(Some).map_err(|_| gone())
    }
}

/// Waits; says whether a signal came before the time was over.
pub(crate) fn sleep(time: Duration, cli: &Cli) -> io::Result<bool> {
    let until = Instant::now() + time;
    Ok(!time.is_zero() && !ready(None, Some(until), cli)? && cli.stopping())
}

/// Waits until a descriptor can be read (true), or the time is over or a signal came (false).
fn ready(fd: Option<BorrowedFd<'_>>, until: Option<Instant>, cli: &Cli) -> io::Result<bool> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if cli.stopping() || left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        // Rounded up, or the last millisecond would be a busy one.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let stop = PollFd::new(cli.stop_fd(), PollFlags::POLLIN);
        let mut fds = vec![stop];
        fds.extend(fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds.get(1).and_then(PollFd::any).unwrap_or(false) {
            return Ok(true);
        }
    }
}
