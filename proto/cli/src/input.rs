//! The inputs of a stage: one frame stream after the other, read as far as they go.
//!
//! A torn stream (no `end` frame) is passed on as far as it is whole; the next operand is read
//! after it, and the error comes at the very end, in place of a clean one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, anyhow};
use frame::{Decoder, Frame, Item, Located};
use stats::State;

use crate::fail::OutputClosed;
use crate::pipe::{self, Ready};
use crate::rings::RingIn;
use crate::{Cli, Endpoint, Output, usage};

/// What a read takes at most: as much as a pipe holds.
const READ_BYTES: usize = 1 << 20;

/// Frames of one or several inputs, in order.
///
/// The loop of a stage flushes its output whenever the next read would block:
///
/// ```ignore
/// loop {
///     if input.idle()? {
///         output.flush()?;
///     }
///     match input.next()? { ... }
/// }
/// ```
#[derive(Debug)]
pub struct Input<'c> {
    cli: &'c Cli,
    waiting: VecDeque<Endpoint>,
    /// What each input that was opened is called on the stats page.
    joints: Vec<String>,
    source: Source,
    name: String,
    decoder: Decoder,
    located: Option<Located>,
    /// How much of the source the last item took; let go of at the next call.
    taken: usize,
    watched: Vec<OwnedFd>,
    torn: Option<anyhow::Error>,
    stats: stats::Page,
}

impl<'c> Input<'c> {
    /// Opens the first of these endpoints; none means standard input.
    ///
    /// # Errors
    /// Misuse if standard input would be a terminal; otherwise what the system says.
    pub fn open(endpoints: &[Endpoint], cli: &'c Cli) -> anyhow::Result<Input<'c>> {
        let mut waiting: VecDeque<Endpoint> = endpoints.iter().cloned().collect();
        let first = waiting.pop_front();
        if first.is_none() && io::stdin().is_terminal() {
            return Err(usage(
                "standard input is a terminal; name an input, or pipe frames in (see --help)",
            ));
        }
        let first = first.unwrap_or(Endpoint::Stdio);
        Input::new(&first, waiting, cli.stats().clone(), cli)
    }

    /// Opens one of several inputs that are read at the same time. What it reads is counted by
    /// the caller.
    ///
    /// # Errors
    /// What the system says.
    pub fn one_of_many(endpoint: &Endpoint, cli: &'c Cli) -> anyhow::Result<Input<'c>> {
        Input::new(endpoint, VecDeque::new(), stats::Page::none(), cli)
    }

    fn new(
        first: &Endpoint,
        waiting: VecDeque<Endpoint>,
        stats: stats::Page,
        cli: &'c Cli,
    ) -> anyhow::Result<Input<'c>> {
        let (source, name, joint) = Source::open(first, cli)?;
        stats.set_inputs(std::slice::from_ref(&joint));
        Ok(Input {
            cli,
            stats,
            joints: vec![joint],
            waiting,
            source,
            name,
            decoder: Decoder::default(),
            located: None,
            taken: 0,
            watched: Vec::new(),
            torn: None,
        })
    }

    /// Ends a wait with [`OutputClosed`] as soon as the reader of `output` goes away.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn watch(&mut self, output: &Output<'_>) -> anyhow::Result<()> {
        output.watched().map_or(Ok(()), |fd| self.watch_end(fd))
    }

    /// The same for the other end of any pipe or socket.
    ///
    /// # Errors
    /// If there are no descriptors left, or too many are watched.
    pub fn watch_end(&mut self, fd: BorrowedFd<'_>) -> anyhow::Result<()> {
        if self.watched.len() == pipe::WATCHED_MAX {
            return Err(usage(format!("more than {} outputs", pipe::WATCHED_MAX - 1)));
        }
        self.source.watch(fd)?;
        self.watched.push(fd.try_clone_to_owned()?);
        Ok(())
    }

    /// What the inputs that were opened are called on the stats page.
    #[must_use]
    pub fn joints(&self) -> &[String] {
        &self.joints
    }

    /// How many bytes wait to be read, and how many fit; zeros where that is not known.
    pub fn queue(&mut self) -> (u64, u64) {
        self.source.queue()
    }

    /// Whether [`Input::next`] may have to wait.
    ///
    /// # Errors
    /// What the system says of the source.
    pub fn idle(&mut self) -> anyhow::Result<bool> {
        self.wait_up_to(Some(Duration::ZERO)).map(|ready| !ready)
    }

    /// Waits until [`Input::next`] has something to say, up to `timeout`; whether it has.
    ///
    /// # Errors
    /// What the system says of the source; [`OutputClosed`] if the watched output's reader left.
    pub fn wait_up_to(&mut self, timeout: Option<Duration>) -> anyhow::Result<bool> {
        self.let_go()?;
        if self.located.is_some() || self.source.holds_an_item() {
            return Ok(true);
        }
        let waits = timeout.is_none_or(|timeout| !timeout.is_zero());
        let mut wait = || self.source.wait(&self.watched, timeout);
        let ready = if waits { self.stats.wait(State::Input, wait) } else { wait() };
        match ready.with_context(|| self.name.clone())? {
            Ready::Input => Ok(true),
            Ready::Nothing => Ok(false),
            Ready::OutputGone => Err(OutputClosed.into()),
        }
    }

    /// The next item; `None` at a clean end of the last input. `end` frames are not shown.
    ///
    /// # Errors
    /// What the system says; a stream that is torn or no frame stream, after everything before it.
    #[expect(clippy::should_implement_trait, reason = "an item borrows from the input")]
    pub fn next(&mut self) -> anyhow::Result<Option<Item<'_>>> {
        self.let_go()?;
        let located = loop {
            match self.locate()? {
                Some(located) => break located,
                None if self.next_operand()? => {}
                None => return self.torn.take().map_or(Ok(None), Err),
            }
        };
        self.taken = located.len;
        let item = located.item(self.source.data()?);
        if let Item::Frame(frame) = &item {
            self.stats.frames_in(1);
            if frame.header.kind == frame::Kind::EVENT {
                self.stats.events_in(1);
            }
        }
        Ok(Some(item))
    }

    /// Shows the frames that are there already and that [`Input::next`] will give next, in order,
    /// until `see` returns false or something else than a whole frame comes. Nothing is taken: a
    /// stage that prepares many frames at once looks ahead with this.
    ///
    /// # Errors
    /// What the system says of the source.
    pub fn ahead(&mut self, mut see: impl FnMut(&Frame<'_>) -> bool) -> anyhow::Result<()> {
        self.let_go()?;
        let mut decoder = self.decoder.clone();
        let mut data = self.source.data().with_context(|| self.name.clone())?;
        // What is no frame, and what cannot be read, is for `next` to say.
        while let Ok(Some(located)) = decoder.locate(data)
            && let Item::Frame(frame) = located.item(data)
            && see(&frame)
        {
            data = data.get(located.len..).unwrap_or_default();
        }
        Ok(())
    }

    /// What the current input is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where in the current input the next item begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    fn let_go(&mut self) -> anyhow::Result<()> {
        self.source.consume(std::mem::take(&mut self.taken))
    }

    /// The next item of the current input that is to be shown; `None` at its end.
    fn locate(&mut self) -> anyhow::Result<Option<Located>> {
        loop {
            let data = self.source.data().with_context(|| self.name.clone())?;
            match self.decoder.locate(data) {
                Err(error) => return self.give_up(error.into()),
                Ok(Some(located)) if self.decoder.ended() => self.source.consume(located.len)?,
                Ok(Some(located)) => return Ok(Some(located)),
                Ok(None) => {
                    let held = data.len();
                    let stats = &self.stats;
                    let (depth, capacity) = self.source.queue();
                    stats.queue(depth, capacity);
                    let more = stats.wait(State::Input, || self.source.fill(&self.watched));
                    match more {
                        Ok(More::Bytes(bytes)) => {
                            stats.bytes_in(bytes as u64);
                            self.cli.clock().read(stats);
                        }
                        Ok(More::End) if held == 0 && self.decoder.ended() => return Ok(None),
                        Ok(More::End) => return self.give_up(self.torn_at(held)),
                        Ok(More::OutputGone) => return Err(OutputClosed.into()),
                        Err(error) => return self.give_up(error),
                    }
                }
            }
        }
    }

    fn torn_at(&self, held: usize) -> anyhow::Error {
        let offset = self.decoder.offset();
        match (offset, held) {
            (0, 0) => anyhow!("empty: not even a frame stream's magic (did its writer fail?)"),
            (_, 0) => {
                anyhow!("offset {offset}: torn: it stops without an `end` frame (its writer died?)")
            }
            _ => anyhow!(
                "offset {offset}: torn: it stops {held} bytes into a frame (its writer died?)"
            ),
        }
    }

    /// Remembers the error for the very end, and turns to the next input.
    fn give_up(&mut self, error: anyhow::Error) -> anyhow::Result<Option<Located>> {
        let error = error.context(self.name.clone());
        if self.waiting.is_empty() {
            return Err(self.torn.take().unwrap_or(error));
        }
        self.cli.warn(format_args!("{}; going on with the next input", crate::run::worded(&error)));
        self.torn.get_or_insert(error);
        Ok(None)
    }

    /// Opens the next operand; whether there was one.
    fn next_operand(&mut self) -> anyhow::Result<bool> {
        let Some(endpoint) = self.waiting.pop_front() else { return Ok(false) };
        let joint;
        (self.source, self.name, joint) = Source::open(&endpoint, self.cli)?;
        self.joints.push(joint);
        self.stats.set_inputs(&self.joints);
        self.watched.iter().try_for_each(|fd| self.source.watch(fd.as_fd()))?;
        self.decoder = Decoder::default();
        Ok(true)
    }
}

/// What a fill ended with.
pub(crate) enum More {
    Bytes(usize),
    End,
    OutputGone,
}

/// Where bytes come from.
#[derive(Debug)]
enum Source {
    Fd(Buffered),
    Ring(Box<RingIn>),
}

impl Source {
    /// The source, what it is called in messages, and what on the stats page.
    fn open(endpoint: &Endpoint, cli: &Cli) -> anyhow::Result<(Source, String, String)> {
        let (fd, name) = match endpoint {
            Endpoint::Stdio => (io::stdin().as_fd().try_clone_to_owned()?, "standard input".into()),
            Endpoint::File(path) => {
                let name = path.display().to_string();
                let file = File::open(path).with_context(|| name.clone())?;
                (OwnedFd::from(file), name)
            }
            Endpoint::Ring(ring) => {
                let name = endpoint.to_string();
                let reader = RingIn::attach(ring, cli).with_context(|| name.clone())?;
                return Ok((Source::Ring(Box::new(reader)), name.clone(), name));
            }
        };
        pipe::widen(fd.as_fd());
        let joint = stats::endpoint_of(&fd);
        if pipe::same_file(&fd, io::stdout()) {
            return Err(usage(format!("{name} is both input and output")));
        }
        Ok((Source::Fd(Buffered::new(fd)), name, joint))
    }

    /// How many bytes wait in the joint, and how many fit; zeros where that is not known.
    fn queue(&mut self) -> (u64, u64) {
        match self {
            Source::Fd(buffered) => pipe::queue(buffered.file.as_fd()),
            Source::Ring(ring) => ring.queue(),
        }
    }

    /// What has been read and not let go of.
    fn data(&mut self) -> anyhow::Result<&[u8]> {
        match self {
            Source::Fd(buffered) => Ok(buffered.data()),
            Source::Ring(ring) => ring.data(),
        }
    }

    fn consume(&mut self, bytes: usize) -> anyhow::Result<()> {
        match self {
            Source::Fd(buffered) => buffered.from += bytes,
            Source::Ring(ring) => ring.consume(bytes)?,
        }
        Ok(())
    }

    fn holds_an_item(&mut self) -> bool {
        match self.data() {
            Ok(data) => data.starts_with(&frame::MAGIC) || data.len() >= Decoder::wants(data),
            // The error is for `next` to say.
            Err(_) => true,
        }
    }

    /// Has waits look at one more descriptor.
    fn watch(&self, fd: BorrowedFd<'_>) -> anyhow::Result<()> {
        match self {
            Source::Ring(ring) => ring.watch(fd),
            // It is told of them with each wait.
            Source::Fd(_) => Ok(()),
        }
    }

    fn wait(&mut self, watched: &[OwnedFd], timeout: Option<Duration>) -> anyhow::Result<Ready> {
        match self {
            Source::Fd(buffered) => Ok(pipe::wait(buffered.file.as_fd(), watched, timeout)?),
            Source::Ring(ring) => ring.wait(watched, timeout),
        }
    }

    fn fill(&mut self, watched: &[OwnedFd]) -> anyhow::Result<More> {
        match self {
            Source::Fd(buffered) => {
                if !watched.is_empty()
                    && pipe::wait(buffered.file.as_fd(), watched, None)? == Ready::OutputGone
                {
                    return Ok(More::OutputGone);
                }
                Ok(match buffered.fill()? {
                    0 => More::End,
                    bytes => More::Bytes(bytes),
                })
            }
            Source::Ring(ring) => ring.fill(watched),
        }
    }
}

/// A descriptor and the bytes that were read from it.
#[derive(Debug)]
struct Buffered {
    file: File,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffered {
    fn new(fd: OwnedFd) -> Buffered {
        Buffered { file: File::from(fd), buffer: vec![0; 2 * READ_BYTES], from: 0, to: 0 }
    }

    fn data(&self) -> &[u8] {
        self.buffer.get(self.from..self.to).unwrap_or_default()
    }

    /// Reads once, as much as there is; how much that was.
    fn fill(&mut self) -> io::Result<usize> {
        let wanted = Decoder::wants(self.data());
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.buffer.len() - self.to < READ_BYTES || self.buffer.len() - self.from < wanted
        {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.buffer.len() < wanted + READ_BYTES {
            self.buffer.resize(wanted + READ_BYTES, 0);
        }
        let room = self.buffer.get_mut(self.to..).unwrap_or_default();
        let bytes = loop {
            match self.file.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(bytes) => break bytes,
            }
        };
        self.to += bytes;
        Ok(bytes)
    }
}
