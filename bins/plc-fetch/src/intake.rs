//! What is new goes on to where operations belong; what is there already is dropped.

use cli::Cli;

use crate::directory::Page;
use crate::page::Line;
use crate::seen::{KEEP_MS, Seen};
use crate::sink::Sink;
use crate::store::Stored;

/// New lines of a page, each with its end.
#[derive(Debug, Default)]
pub(crate) struct New {
    pub(crate) text: Vec<u8>,
    pub(crate) lines: u64,
}

/// The last operation with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) seq: u64,
    pub(crate) name: Box<str>,
}

/// Takes operations in.
pub(crate) struct Intake<'c> {
    cli: &'c Cli,
    pub(crate) sink: Sink,
    seen: Seen,
    /// Operations up to this time are there already, or not wanted.
    floor_ms: Option<u64>,
    /// The last one of the directory's numbers, while these are gone by.
    pub(crate) numbered: Option<Numbered>,
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
}

impl<'c> Intake<'c> {
    /// Goes on behind what is stored, or behind a time.
    pub(crate) fn new(sink: Sink, stored: Stored, after_ms: Option<u64>, cli: &'c Cli) -> Self {
        let stored_any = stored.last.is_some();
        let mut intake = Self {
            cli,
            sink,
            seen: stored.seen,
            floor_ms: None,
            numbered: None,
            operations: 0,
            bytes: 0,
        };
        intake.floor_ms = if stored_any { intake.known_up_to() } else { after_ms };
        intake
    }

    /// createdAt of the newest operation.
    pub(crate) fn newest_ms(&self) -> Option<u64> {
        self.seen.newest_ms()
    }

    /// Of what is not later than this, all was handed on; of what is later, it is known what.
    pub(crate) fn known_up_to(&self) -> Option<u64> {
        self.newest_ms()?.checked_sub(KEEP_MS + 1)
    }

    /// Begins at a place that may lie before what is remembered: what is older is dropped.
    pub(crate) fn step_back(&mut self) {
        self.floor_ms = self.floor_ms.max(self.known_up_to());
    }

    /// What comes from here on was never there, whatever its time.
    pub(crate) fn go_on(&mut self) {
        self.floor_ms = None;
    }

    /// Picks what is new.
    pub(crate) fn pick(&mut self, page: &Page) -> New {
        let mut new = New::default();
        new.text.reserve(page.body.len() + 1);
        for line in &page.lines {
            if self.is_new(line) {
                new.lines += 1;
                new.text.extend_from_slice(page.body.get(line.place.clone()).unwrap_or_default());
                new.text.push(b'\n');
            }
            let later = |last: &Numbered| line.seq.is_some_and(|seq| seq > last.seq);
            if let (Some(seq), true) = (line.seq, self.numbered.as_ref().is_none_or(later)) {
                self.numbered = Some(Numbered { seq, name: line.name.clone() });
            }
        }
        self.cli.stats().dropped(page.lines.len() as u64 - new.lines);
        new
    }

    /// Hands on what is new. When it returns, it is where it belongs.
    pub(crate) fn put(&mut self, new: &New) -> anyhow::Result<()> {
        self.hand_on(new, true)
    }

    /// Hands on what is new, and leaves it to [`Sink::sync`] to make it durable.
    pub(crate) fn append(&mut self, new: &New) -> anyhow::Result<()> {
        self.hand_on(new, false)
    }

    fn hand_on(&mut self, new: &New, durable: bool) -> anyhow::Result<()> {
        if new.lines > 0 {
            self.sink.put(&new.text, new.lines, durable)?;
            self.operations += new.lines;
            self.bytes += new.text.len() as u64;
            self.cli.stats().events_out(new.lines);
            self.cli.stats().bytes_out(new.text.len() as u64);
        }
        Ok(())
    }

    fn is_new(&mut self, line: &Line) -> bool {
        let old = self.floor_ms.is_some_and(|floor| line.created_ms <= floor);
        !old && self.seen.add(line)
    }
}
