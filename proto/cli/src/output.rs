//! The output of a stage: frames into a pipe, a file or a ring.
//!
//! Frames gather in a buffer that is handed on when it is full or when the stage would wait; what
//! passes as it is goes into a ring without that, and its reader is woken as seldom. A file is
//! written in place: the stream itself says whether it is whole (its `end` frame), and a
//! reader may follow it while it grows.
//!
//! That costs a copy, which a vectored write from where each frame lies would not. `make
//! bench-ring` prints both: gathered, small frames are twice as quick, larger ones the same within
//! what a run differs from the next; and a frame with a section more has to be put together anyway.
//! Who wants the copy saved takes a ring, which saves the system's as well.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use frame::{Frame, Header, Kind, Tag};
use stats::State;

use crate::fail::OutputClosed;
use crate::rings::RingOut;
use crate::{Cli, Endpoint, pipe};

/// How much gathers before it is handed on.
const BATCH_BYTES: usize = 256 << 10;

/// Where frames go.
#[derive(Debug)]
pub struct Output<'c> {
    cli: &'c Cli,
    sink: Sink,
    name: String,
    /// What it is called on the stats page.
    joint: String,
    buffer: Vec<u8>,
    /// How much lies in a ring whose reader may not know of it.
    untold: usize,
    /// When each event that has not been handed on was received.
    received_ns: Vec<u64>,
    /// How much has been handed on.
    written: u64,
    started: bool,
    closed: bool,
}

impl<'c> Output<'c> {
    /// Opens the output for frames; `None` means standard output, unless it is a terminal.
    ///
    /// # Errors
    /// Misuse if it is a terminal that was not named by `-`; a file that exists without `force`;
    /// otherwise what the system says.
    pub fn frames(
        endpoint: Option<&Endpoint>,
        force: bool,
        cli: &'c Cli,
    ) -> anyhow::Result<Output<'c>> {
        let (sink, name) = match endpoint {
            None => {
                pipe::refuse_terminal()?;
                Sink::stdout()?
            }
            Some(Endpoint::Stdio) => Sink::stdout()?,
            Some(Endpoint::File(path)) => {
                let name = path.display().to_string();
                let exists = path.symlink_metadata().is_ok();
                let special = exists && !path.is_file();
                if exists && !force && !special {
                    anyhow::bail!(
                        "{name}: exists; name another file, or overwrite it with --force"
                    );
                }
                let mut options = OpenOptions::new();
                let options = options.write(true).create(true).truncate(!special);
                let file = options.open(path).with_context(|| name.clone())?;
                (Sink::Fd(file), name)
            }
            Some(Endpoint::Ring(ring)) => {
                let name = format!("ring:{ring}");
                let writer = RingOut::create(ring, cli).with_context(|| name.clone())?;
                (Sink::Ring(Box::new(writer)), name)
            }
        };
        let joint = match &sink {
            Sink::Fd(file) => {
                pipe::widen(file.as_fd());
                stats::endpoint_of(file)
            }
            Sink::Ring(_) => name.clone(),
        };
        cli.stats().set_output(&joint);
        let buffer = Vec::with_capacity(2 * BATCH_BYTES);
        let received_ns = Vec::with_capacity(BATCH_BYTES / 64);
        Ok(Output {
            cli,
            sink,
            name,
            joint,
            buffer,
            untold: 0,
            received_ns,
            written: 0,
            started: false,
            closed: false,
        })
    }

    /// Opens several outputs at once.
    ///
    /// # Errors
    /// As [`Output::frames`].
    pub fn several(
        endpoints: &[Endpoint],
        force: bool,
        cli: &'c Cli,
    ) -> anyhow::Result<Vec<Output<'c>>> {
        let outputs: Vec<Output<'c>> = endpoints
            .iter()
            .map(|endpoint| Output::frames(Some(endpoint), force, cli))
            .collect::<anyhow::Result<_>>()?;
        let joints: Vec<&str> = outputs.iter().map(|output| output.joint.as_str()).collect();
        cli.stats().set_outputs(&joints);
        Ok(outputs)
    }

    /// Whether nobody will read any more.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.watched().is_some_and(pipe::is_hung_up)
    }

    /// Begins the stream, or begins it anew: host ids are given again after this.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn start(&mut self) -> anyhow::Result<()> {
        frame::put_magic(&mut self.buffer);
        self.started = true;
        self.hand_on_if_full()
    }

    /// Passes a frame on as it is.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn put(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        match &mut self.sink {
            Sink::Ring(ring) if self.buffer.is_empty() => {
                let bytes = frame.bytes();
                let put = self.cli.stats().wait(State::Output, || ring.put(bytes));
                self.untold += bytes.len();
                self.handed_on(bytes.len(), put)?;
            }
            _ => self.buffer.extend_from_slice(frame.bytes()),
        }
        self.count(&frame.header);
        self.hand_on_if_full()
    }

    /// Passes a frame on with a section appended, or replaced.
    ///
    /// # Errors
    /// As [`Output::flush`]; a frame that is over its limit with the section.
    pub fn put_with(&mut self, frame: &Frame<'_>, tag: Tag, data: &[u8]) -> anyhow::Result<()> {
        frame::put_with(&mut self.buffer, frame, tag, data)?;
        self.count(&frame.header);
        self.hand_on_if_full()
    }

    /// The buffer, for frames that the caller encodes; [`Output::commit`] comes after.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Says that a frame of this header was put into the buffer.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn commit(&mut self, header: &Header) -> anyhow::Result<()> {
        self.count(header);
        self.hand_on_if_full()
    }

    /// Hands on what has gathered. Call it whenever the stage is about to wait.
    ///
    /// # Errors
    /// [`OutputClosed`] if the reader has gone; otherwise what the system says.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        if self.buffer.is_empty() && self.untold == 0 {
            return Ok(());
        }
        let written = self.cli.stats().wait(State::Output, || self.sink.write_all(&self.buffer));
        let bytes = self.buffer.len();
        self.buffer.clear();
        self.untold = 0;
        self.cli.clock().handed_on(self.cli.stats(), &mut self.received_ns);
        self.handed_on(bytes, written)
    }

    /// So many bytes are the reader's, or will never be.
    fn handed_on(&mut self, bytes: usize, written: anyhow::Result<()>) -> anyhow::Result<()> {
        self.cli.stats().bytes_out(bytes as u64);
        self.written += bytes as u64;
        self.closed |= written.is_err();
        written.with_context(|| self.name.clone()).map_err(closed_first)
    }

    /// Ends the stream cleanly: an `end` frame, and everything handed on (a file is synced).
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn finish(mut self) -> anyhow::Result<()> {
        if !self.started {
            self.start()?;
        }
        frame::put(&mut self.buffer, &Header::new(Kind::END, crate::now_ns()), b"")?;
        self.flush()?;
        self.closed = true;
        self.sink.finish().with_context(|| self.name.clone()).map_err(closed_first)
    }

    /// How many bytes have been handed on.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What the output is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A descriptor that reports a hang-up or an error when the reader is gone; `None` for a file.
    #[must_use]
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        match &self.sink {
            Sink::Fd(file) => pipe::can_hang_up(file.as_fd()).then(|| file.as_fd()),
            Sink::Ring(ring) => ring.peer_fd(),
        }
    }

    fn count(&mut self, header: &Header) {
        self.cli.stats().frames_out(1);
        if header.kind == Kind::EVENT {
            self.cli.stats().events_out(1);
            self.received_ns.push(header.time_ns);
        }
    }

    fn hand_on_if_full(&mut self) -> anyhow::Result<()> {
        if self.buffer.len() + self.untold >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }
}

impl Drop for Output<'_> {
    /// A stage that fails still hands on what it has: without an `end`, the stream reads as torn.
    /// And if it ends because its reader is gone, a ring knows whether the reader died.
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let flushed = self.flush();
        let alive = match &self.sink {
            Sink::Fd(_) => Ok(()),
            Sink::Ring(ring) => ring.check_reader().with_context(|| self.name.clone()),
        };
        if let Err(error) = flushed.and(alive) {
            self.cli.output_failed(closed_first(error));
        }
    }
}

/// Brings [`OutputClosed`] to the top, so that it is seen below any context.
fn closed_first(error: anyhow::Error) -> anyhow::Error {
    if error.root_cause().is::<OutputClosed>() { OutputClosed.into() } else { error }
}

/// Where bytes go.
#[derive(Debug)]
enum Sink {
    Fd(File),
    Ring(Box<RingOut>),
}

impl Sink {
    fn stdout() -> io::Result<(Sink, String)> {
        let fd: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
        Ok((Sink::Fd(File::from(fd)), "standard output".into()))
    }

    fn write_all(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Sink::Fd(file) => file.write_all(bytes).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => OutputClosed.into(),
                _ => error.into(),
            }),
            Sink::Ring(ring) => ring.put(bytes).and_then(|()| ring.flush()),
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        match self {
            Sink::Fd(file) => match file.sync_all() {
                // Pipes and devices cannot be synced, and need not be.
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error.into()),
                _ => Ok(()),
            },
            Sink::Ring(ring) => ring.close(),
        }
    }
}
