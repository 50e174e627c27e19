//! Rings as endpoints: what the ring room says, in the words of inputs and outputs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use frame::Decoder;
use ring::{CAPACITY_BYTES, Error, Patience, Reader, Ready as RingReady, Until, Writer};

use crate::Cli;
use crate::fail::{OutputClosed, Stopped};
use crate::input::More;
use crate::pipe::{self, Ready};

/// How many bytes are copied before the reader may have them.
const PIECE_BYTES: usize = 64 << 10;

/// The reading end. Frames are looked at where the writer put them. One that is longer than half
/// the ring, which is as much as it can promise in one piece, is put together in a buffer: such
/// frames are rare, and a ring that holds the longest twice is too large for any cache.
#[derive(Debug)]
pub(crate) struct RingIn {
    reader: Reader,
    /// What has come of a long frame; empty while there is none.
    long: Vec<u8>,
}

impl RingIn {
    /// Joins the ring; waits for its writer, until a signal comes.
    pub(crate) fn attach(name: &str, cli: &Cli) -> anyhow::Result<RingIn> {
        cli.info(format_args!("joining ring:{name} to read"));
        let reader = Reader::attach(name, patience(cli)).map_err(stopped)?;
        Ok(RingIn { reader, long: Vec::new() })
    }

    /// Has waits look at the stage's output, too.
    pub(crate) fn watch(&self, output: BorrowedFd<'_>) -> anyhow::Result<()> {
        Ok(self.reader.watch(output, Until::HungUp)?)
    }

    pub(crate) fn data(&mut self) -> anyhow::Result<&[u8]> {
        if self.long.is_empty() { Ok(self.reader.data()?) } else { Ok(&self.long) }
    }

    pub(crate) fn consume(&mut self, bytes: usize) -> anyhow::Result<()> {
        if self.long.is_empty() {
            return Ok(self.reader.consume(bytes)?);
        }
        self.long.drain(..bytes.min(self.long.len()));
        Ok(())
    }

    /// Puts what was shown of a long frame apart, so that there is room for the rest of it. What has
    /// come since is not looked at: with it there may be more than can be waited on.
    fn set_apart(&mut self) -> anyhow::Result<()> {
        let half = self.reader.capacity() / 2;
        if self.long.is_empty() && Decoder::wants(self.reader.seen()) as u64 > half {
            self.long.extend_from_slice(self.reader.seen());
            self.reader.consume(self.long.len())?;
        }
        Ok(())
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
        self.set_apart()?;
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
        self.set_apart()?;
        let shown = self.reader.seen().len();
        loop {
            match self.reader.wait()? {
                RingReady::More if self.long.is_empty() => {
                    return Ok(More::Bytes(self.reader.data()?.len().saturating_sub(shown)));
                }
                RingReady::More => return Ok(More::Bytes(self.lengthen()?)),
                RingReady::End => return Ok(More::End),
                RingReady::Interrupted | RingReady::TimedOut => {
                    if is_any_gone(watched) {
                        return Ok(More::OutputGone);
                    }
                }
            }
        }
    }

    /// Takes more of the long frame, and nothing behind it; how much.
    fn lengthen(&mut self) -> anyhow::Result<usize> {
        let missing = Decoder::wants(&self.long).saturating_sub(self.long.len());
        let data = self.reader.data()?;
        let taken = data.get(..missing).unwrap_or(data);
        self.long.extend_from_slice(taken);
        let taken = taken.len();
        self.reader.consume(taken)?;
        Ok(taken)
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

    /// Lays these bytes where a busy reader finds them, as soon as there is room. One that sleeps
    /// is left asleep until [`RingOut::flush`], or until it is worth it.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Err(OutputClosed.into()) };
        for piece in bytes.chunks(PIECE_BYTES) {
            loop {
                match writer.reserve(piece.len()) {
                    // A signal: the stage drains on, so the bytes still have to go.
                    Err(Error::Interrupted) => {}
                    Err(error) => return Err(detached(error)),
                    Ok(room) => break room.copy_from_slice(piece),
                }
            }
            writer.publish(piece.len())?;
        }
        Ok(())
    }

    /// Sees to it that the reader is awake for what has been put.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Err(OutputClosed.into()) };
        writer.flush().map_err(detached)
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use frame::{Header, Kind};
    use ring::Address;

    use super::*;

    /// Both sides of a ring.
    fn pair(folder: &std::path::Path) -> (Writer, RingIn) {
        let address = Address::new("a").unwrap().within(&folder.join("rings"));
        let there = address.clone();
        let reader = std::thread::spawn(move || Reader::attach_at(&there, Patience::default()));
        let writer = Writer::create_at(&address, CAPACITY_BYTES, Patience::default()).unwrap();
        (writer, RingIn { reader: reader.join().unwrap().unwrap(), long: Vec::new() })
    }

    fn publish(writer: &mut Writer, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            writer.reserve(piece.len()).unwrap().copy_from_slice(piece);
            writer.publish(piece.len()).unwrap();
        }
    }

    fn frame_of(bytes: usize) -> Vec<u8> {
        let mut whole = Vec::new();
        frame::put(&mut whole, &Header::new(Kind(99), 1), &vec![7; bytes]).unwrap();
        whole
    }

    // What came between a look at a long frame's beginning and the wait for the rest was taken for
    // a part of what had been looked at: the wait was for bytes behind a frame that was whole.
    #[test]
    fn the_rest_of_a_long_frame_that_came_since_it_was_seen_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut input) = pair(folder.path());
        let (long, next) = (frame_of(CAPACITY_BYTES / 2 + 1), frame_of(10));
        let (begun, rest) = long.split_at(1_000);

        publish(&mut writer, begun);
        assert_eq!(input.data().unwrap(), begun);
        publish(&mut writer, &[rest, &next].concat());
        // No more will come: who waits for more gets the end instead of waiting for ever.
        writer.close().unwrap();
        // Asked before each wait, and told how far the writer is.
        assert_eq!(input.queue().0, (long.len() + next.len()) as u64);

        assert!(matches!(input.fill(&[]).unwrap(), More::Bytes(bytes) if bytes == rest.len()));
        assert!(input.data().unwrap() == long);
        input.consume(long.len()).unwrap();
        assert_eq!(input.data().unwrap(), next);
        input.consume(next.len()).unwrap();
        assert!(matches!(input.fill(&[]).unwrap(), More::End));
    }
}
