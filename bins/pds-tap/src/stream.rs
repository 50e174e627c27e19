//! What leaves the tap: hosts, events, holes, marks, the end; and what is refused or dropped.

use std::time::{Duration, Instant};

use cli::{Cli, Output};
use frame::hole::Hole;
use frame::mark::Mark;
use frame::verdict::Rule;
use frame::{Header, Kind};
use stats::Counter;

use crate::cursor::Seen;
use crate::host::Host;
use crate::rejects::Rejects;
use crate::voice::Voice;

/// How long what was handed on waits for its mark.
const MARK_EVERY: Duration = Duration::from_millis(500);

/// The first event of a host is marked sooner: until then the host has no cursor. Not at once,
/// because thousands of hosts may be joined in a minute and each mark costs the archive a sync.
const MARK_FIRST: Duration = Duration::from_millis(100);

/// The output, and all counts of it.
pub(crate) struct Stream<'c> {
    cli: &'c Cli,
    output: Output<'c>,
    rejects: Option<Rejects>,
    pub(crate) voice: Voice<'c>,
    counters: Counters,
    /// Which hosts have moved since the last mark.
    moved: Vec<usize>,
    marked: Instant,
    /// When the next mark is to be made.
    mark_at: Option<Instant>,
    scratch: Vec<u8>,
}

struct Counters {
    bad_frame: Counter,
    too_big: Counter,
    seq_order: Counter,
    seq_jumps: Counter,
    seq_back: Counter,
    holes: Counter,
}

impl<'c> Stream<'c> {
    /// Begins the stream.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub(crate) fn start(
        cli: &'c Cli,
        mut output: Output<'c>,
        rejects: Option<Rejects>,
    ) -> anyhow::Result<Self> {
        output.start()?;
        let stats = cli.stats();
        let counters = Counters {
            bad_frame: stats.refusal("bad-frame"),
            too_big: stats.refusal("event-too-big"),
            seq_order: stats.named("seq-order"),
            seq_jumps: stats.named("seq-jumps"),
            seq_back: stats.named("seq-back"),
            holes: stats.named("holes"),
        };
        Ok(Self {
            cli,
            output,
            rejects,
            voice: Voice::new(cli),
            counters,
            moved: Vec::new(),
            marked: Instant::now(),
            mark_at: None,
            scratch: Vec::new(),
        })
    }

    /// How many bytes have been handed on.
    pub(crate) fn written(&self) -> u64 {
        self.output.written()
    }

    /// The output itself, to be watched and flushed.
    pub(crate) fn output(&mut self) -> &mut Output<'c> {
        &mut self.output
    }

    /// A host is listened to from here on. One that stays silent is marked all the same, or after a
    /// restart nothing would be known of it.
    pub(crate) fn joined(&mut self, index: usize, host: &mut Host) {
        if host.cursor.seq().is_none() && host.cursor.mark().is_some() {
            self.move_on(index, host, MARK_EVERY);
        }
    }

    /// An event has come from the host of that index: hands it on, unless it came before.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub(crate) fn event(
        &mut self,
        index: usize,
        host: &mut Host,
        seq: u64,
        body: &[u8],
        time_ns: u64,
    ) -> anyhow::Result<()> {
        if !self.take(index, host, seq, time_ns)? {
            return Ok(());
        }
        let header = Header {
            host: host.id,
            epoch: host.cursor.epoch(),
            seq,
            ..Header::new(Kind::EVENT, time_ns)
        };
        host.events += 1;
        host.bytes += body.len() as u64;
        host.last_ns = time_ns;
        frame::put(self.output.buffer(), &header, body)?;
        self.output.commit(&header)
    }

    /// Moves a host's cursor to a seq. `false` when that is not above the last one: what has it is
    /// dropped.
    fn take(
        &mut self,
        index: usize,
        host: &mut Host,
        seq: u64,
        time_ns: u64,
    ) -> anyhow::Result<bool> {
        let last = host.cursor.seq();
        match host.cursor.take(seq) {
            Seen::Stale { back } => {
                self.counters.seq_order.add(1);
                self.cli.stats().dropped(1);
                if back {
                    self.counters.seq_back.add(1);
                    let (name, last) = (host.name(), last.unwrap_or(0));
                    self.voice.warn(format_args!(
                        "{name}: goes back to seq {seq} behind {last}; dropped"
                    ));
                }
                Ok(false)
            }
            Seen::New { first, hole, jump } => {
                host.backoff.reset();
                self.counters.seq_jumps.add(u64::from(jump));
                self.introduce(host)?;
                if let Some(after) = hole {
                    self.hole(host, Hole { after, until: seq }, time_ns)?;
                }
                let due = if first { MARK_FIRST } else { MARK_EVERY };
                self.move_on(index, host, due);
                Ok(true)
            }
        }
    }

    /// Writes the host's name before its first frame.
    fn introduce(&mut self, host: &mut Host) -> anyhow::Result<()> {
        if host.introduced {
            return Ok(());
        }
        host.introduced = true;
        frame::host::put(self.output.buffer(), host.id, host.target.role, host.name())?;
        self.output.commit(&Header { host: host.id, ..Header::new(Kind::HOST, 0) })
    }

    fn hole(&mut self, host: &Host, hole: Hole, time_ns: u64) -> anyhow::Result<()> {
        self.counters.holes.add(1);
        let epoch = host.cursor.epoch();
        frame::hole::put(self.output.buffer(), host.id, epoch, time_ns, hole)?;
        let header = Header { host: host.id, epoch, ..Header::new(Kind::HOLE, time_ns) };
        self.output.commit(&header)
    }

    fn move_on(&mut self, index: usize, host: &mut Host, due: Duration) {
        if !host.moved {
            host.moved = true;
            self.moved.push(index);
        }
        let due = self.marked + due;
        self.mark_at = Some(self.mark_at.map_or(due, |at| at.min(due)));
    }

    /// A message that can't be read has come. It has no seq that could move the mark.
    ///
    /// # Errors
    /// What the system says about the file of rejects.
    pub(crate) fn unreadable(
        &mut self,
        host: &Host,
        body: &[u8],
        time_ns: u64,
    ) -> anyhow::Result<()> {
        self.counters.bad_frame.add(1);
        self.cli.stats().refused(1);
        let (name, bytes) = (host.name(), body.len());
        self.voice
            .warn(format_args!("{name}: a message of {bytes} bytes that is no event; refused"));
        let Some(rejects) = &mut self.rejects else { return Ok(()) };
        let about = (host.id, host.target.role, host.name());
        if !rejects.keep(about, time_ns, Rule::BAD_FRAME, body)? {
            self.voice.loud(format_args!("the file of rejects is full; they are only counted"));
            self.rejects = None;
        }
        Ok(())
    }

    /// A message over the limit has been read past. If its seq is known it moves the mark, or the
    /// host would send it again after every break.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub(crate) fn too_long(
        &mut self,
        index: usize,
        host: &mut Host,
        (bytes, seq): (u64, Option<u64>),
        time_ns: u64,
    ) -> anyhow::Result<()> {
        if let Some(seq) = seq
            && !self.take(index, host, seq, time_ns)?
        {
            return Ok(());
        }
        self.counters.too_big.add(1);
        self.cli.stats().refused(1);
        let (name, limit) = (host.name(), frame::EVENT_BYTES_MAX);
        self.voice.warn(format_args!(
            "{name}: a message of {bytes} bytes, over the limit of {limit}; read past"
        ));
        Ok(())
    }

    /// When the next mark is to be made, if anything has moved.
    pub(crate) fn mark_at(&self) -> Option<Instant> {
        self.mark_at
    }

    /// Marks what has been handed on of every host that moved.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub(crate) fn mark(&mut self, hosts: &mut [Host]) -> anyhow::Result<()> {
        self.marked = Instant::now();
        self.mark_at = None;
        if self.moved.is_empty() {
            return Ok(());
        }
        let moved = std::mem::take(&mut self.moved);
        for index in &moved {
            if let Some(host) = hosts.get_mut(*index) {
                self.introduce(host)?;
            }
        }
        self.moved = moved;
        let marks = self.moved.drain(..).filter_map(|index| {
            let host = hosts.get_mut(index)?;
            host.moved = false;
            let seq = host.cursor.mark()?;
            Some(Mark { host: host.id, epoch: host.cursor.epoch(), seq })
        });
        let time_ns = cli::now_ns();
        frame::mark::put(self.output.buffer(), &mut self.scratch, time_ns, marks)?;
        self.output.commit(&Header::new(Kind::MARK, time_ns))
    }

    /// The output is lost: ends at least the file of rejects.
    pub(crate) fn abandon(mut self) {
        if let Some(rejects) = self.rejects.take() {
            // There is an error to be told already.
            let _ = rejects.finish();
        }
    }

    /// The last mark and the end.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub(crate) fn finish(mut self, hosts: &mut [Host]) -> anyhow::Result<()> {
        self.mark(hosts)?;
        if let Some(rejects) = self.rejects.take() {
            rejects.finish()?;
        }
        self.output.finish()
    }
}
