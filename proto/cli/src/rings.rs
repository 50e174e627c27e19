//! Rings as endpoints: what the ring room says, in the words of inputs and outputs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ring::{CAPACITY_BYTES, Error, Patience, Reader, Ready as RingReady, Until, Writer};

use crate::Cli;
use crate::fail::{OutputClosed, Stopped};
use crate::input::More;
use crate::pipe::{self, Ready};

/// The reading end.
#[derive(Debug)]
pub(crate) struct RingIn {
    reader: Reader,
}

impl RingIn {
    /// Joins the ring; waits for its writer, until a signal comes.
    pub(crate) fn attach(name: &str, cli: &Cli) -> anyhow::Result<RingIn> {
        cli.info(format_args!("joining ring:{name} to read"));
        let reader = Reader::attach(name, patience(cli)).map_err(stopped)?;
        Ok(RingIn { reader })
    }

    /// Has waits look at the stage's output, too.
    pub(crate) fn watch(&self, output: BorrowedFd<'_>) -> anyhow::Result<()> {
        Ok(self.reader.watch(output, Until::HungUp)?)
    }

    pub(crate) fn data(&mut self) -> anyhow::Result<&[u8]> {
        Ok(self.reader.data()?)
    }

    pub(crate) fn consume(&mut self, bytes: usize) -> anyhow::Result<()> {
        Ok(self.reader.consume(bytes)?)
    }

    /// Waits for bytes or the end.
    pub(crate) fn wait(
        &mut self,
        watched: &[OwnedFd],
        timeout: Option<Duration>,
    ) -> anyhow::Result<Ready> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Ok(if self.reader.is_idle()? { Ready::Nothing } else { Ready::Input });
        }
        loop {
            let ready = match timeout {
                Some(timeout) => self.reader.wait_timeout(timeout),
                None => self.reader.wait(),
            };
            match ready {
                Ok(RingReady::More | RingReady::End) => return Ok(Ready::Input),
                Ok(RingReady::TimedOut) => return Ok(Ready::Nothing),
                Ok(RingReady::Interrupted) if is_any_gone(watched) => {
                    return Ok(Ready::OutputGone);
                }
                Ok(RingReady::Interrupted) => {}
                // That there are too many bytes to wait on, or none to come, is for `fill` to say.
                Err(Error::WriterDied { .. }) => return Ok(Ready::Input),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until there is more than was shown.
    pub(crate) fn fill(&mut self, watched: &[OwnedFd]) -> anyhow::Result<More> {
        let shown = self.reader.seen().len();
        loop {
            match self.reader.wait()? {
                RingReady::More => {
                    return Ok(More::Bytes(self.reader.data()?.len().saturating_sub(shown)));
                }
                RingReady::End => return Ok(More::End),
                RingReady::Interrupted | RingReady::TimedOut => {
                    if is_any_gone(watched) {
                        return Ok(More::OutputGone);
                    }
                }
            }
        }
    }

    /// How many bytes wait, and how many fit.
    pub(crate) fn queue(&mut self) -> (u64, u64) {
        (self.reader.queued().unwrap_or(0), self.reader.capacity())
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct RingOut {
    writer: Option<Writer>,
}

impl RingOut {
    /// Makes the ring; waits for its reader, until a signal comes.
    pub(crate) fn create(name: &str, cli: &Cli) -> anyhow::Result<RingOut> {
        cli.info(format_args!("waiting for a reader of ring:{name}"));
        let writer = Writer::create(name, CAPACITY_BYTES, patience(cli)).map_err(stopped)?;
        Ok(RingOut { writer: Some(writer) })
    }

    /// Hands these bytes to the reader, as soon as there is room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Err(OutputClosed.into()) };
        loop {
            match writer.write(bytes) {
                // A signal: the stage drains on, so the bytes still have to go.
                Err(Error::Interrupted) => {}
                done => return done.map_err(detached),
            }
        }
    }

    /// Fails if the reader has left, in order or not.
    pub(crate) fn check_reader(&self) -> anyhow::Result<()> {
        self.writer.as_ref().map_or(Ok(()), Writer::check_reader).map_err(detached)
    }

    /// Ends the stream in order.
    pub(crate) fn close(&mut self) -> anyhow::Result<()> {
        self.writer.take().map_or(Ok(()), Writer::close).map_err(detached)
    }

    /// Hangs up when the reader is gone.
    pub(crate) fn peer_fd(&self) -> Option<BorrowedFd<'_>> {
        self.writer.as_ref().map(Writer::peer_fd)
    }
}

/// Whether what a stage is there for is gone.
fn is_any_gone(watched: &[OwnedFd]) -> bool {
    watched.iter().any(|fd| pipe::is_hung_up(fd.as_fd()))
}

/// Either side waits for the other as long as it takes, as with a named pipe.
fn patience(cli: &Cli) -> Patience<'_> {
    Patience { stop: Some(cli.stop_fd()), limit: None }
}

fn stopped(error: Error) -> anyhow::Error {
    match error {
        Error::Interrupted => Stopped.into(),
        error => error.into(),
    }
}

/// A reader that left in order wants no more, which is not a failure; one that died is.
fn detached(error: Error) -> anyhow::Error {
    match error {
        Error::ReaderDetached { .. } => OutputClosed.into(),
        error => error.into(),
    }
}
