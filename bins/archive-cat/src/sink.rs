//! Where an archive's contents go: frames, or lines.

use archive::{Host, HostNo, Query, Scan};
use cli::{Cli, Output, Text};
use frame::mark::Mark;
use frame::{Decoder, Header, Item, Kind};

use crate::format::{Format, Lines};

/// A mark frame has no more entries than this, so that it stays small.
const MARKS_A_FRAME: usize = 4096;

/// The output, and which hosts were named on it.
pub(crate) struct Sink<'c> {
    to: To<'c>,
    named: Vec<bool>,
}

enum To<'c> {
    Frames(Box<Output<'c>>),
    Lines { frame: Vec<u8>, text: Text<'c>, lines: Box<Lines> },
}

impl<'c> Sink<'c> {
    pub(crate) fn frames(mut output: Output<'c>) -> anyhow::Result<Sink<'c>> {
        output.start()?;
        Ok(Sink { to: To::Frames(Box::new(output)), named: Vec::new() })
    }

    /// Of the operations of an event, those that the query wants are written.
    pub(crate) fn lines(cli: &'c Cli, format: Format, query: Query) -> Sink<'c> {
        let lines = Box::new(Lines::new(format, query));
        let to = To::Lines { frame: Vec::new(), text: Text::new(cli), lines };
        Sink { to, named: Vec::new() }
    }

    /// Hosts have other numbers from here on.
    pub(crate) fn other_numbers(&mut self) {
        self.named.clear();
    }

    /// Hands on what has gathered.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.to {
            To::Frames(output) => output.flush(),
            To::Lines { text, .. } => text.flush(),
        }
    }

    /// Names a host unless it was named.
    pub(crate) fn name(&mut self, number: HostNo, host: &Host) -> anyhow::Result<()> {
        let at = number.id().0 as usize;
        if self.named.len() <= at {
            self.named.resize(at + 1, false);
        }
        match self.named.get_mut(at) {
            Some(named) if !*named => *named = true,
            _ => return Ok(()),
        }
        let header = Header { host: number.id(), ..Header::new(Kind::HOST, 0) };
        self.put(&header, |out| frame::host::put(out, number.id(), host.role, &host.name))
    }

    /// Hands on the frame of this header that `put` appends.
    pub(crate) fn put(
        &mut self,
        header: &Header,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), frame::Error>,
    ) -> anyhow::Result<()> {
        match &mut self.to {
            To::Frames(output) => {
                put(output.buffer())?;
                output.commit(header)
            }
            To::Lines { frame, text, lines } => {
                frame.clear();
                frame::put_magic(frame);
                put(frame)?;
                let mut decoder = Decoder::default();
                decoder.next(frame)?;
                let behind = frame.get(frame::MAGIC.len()..).unwrap_or_default();
                if let Some((Item::Frame(frame), _)) = decoder.next(behind)? {
                    lines.put(text.buffer(), &frame)?;
                }
                text.commit()
            }
        }
    }

    /// Says where a chain that had fed this archive could go on.
    pub(crate) fn marks(&mut self, scan: &Scan<'_>) -> anyhow::Result<()> {
        let marks: Vec<_> = scan.marks().collect();
        for (number, _, _) in &marks {
            if let Some(host) = scan.host(*number) {
                self.name(*number, host)?;
            }
        }
        let now_ns = cli::now_ns();
        for marks in marks.chunks(MARKS_A_FRAME) {
            let entries = marks.iter().map(|(number, epoch, seq)| Mark {
                host: number.id(),
                epoch: *epoch,
                seq: *seq,
            });
            self.put(&Header::new(Kind::MARK, now_ns), |out| {
                frame::mark::put(out, &mut Vec::new(), now_ns, entries)
            })?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.to {
            To::Frames(output) => output.finish(),
            To::Lines { mut text, .. } => text.flush(),
        }
    }
}
