//! `--update`: operations in as they come, until their end or a signal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use cli::{Cli, Text};
use serde::Serialize;

use crate::keeper::Keeper;
use crate::piece::{LINE_BYTES_MAX, Piece, Pieces};
use crate::record::Record;
use crate::source::{self, Source};

/// Taken in together at most: a second's worth at the most that a directory gives.
const BATCH_MAX: usize = 4096;

/// How often a wait for lines looks whether there is something else to do.
const LOOK: Duration = Duration::from_millis(50);

/// How long what is still on its way is waited for when a signal has come.
const DRAIN: Duration = Duration::from_secs(2);

/// So many bad lines are reported one by one.
const REPORTS_MAX: u64 = 20;

/// What to do.
pub(crate) struct Plan {
    /// The index.
    pub(crate) index: PathBuf,
    /// Operations on disk.
    pub(crate) ops: Option<PathBuf>,
    /// States in the delta at which it is merged.
    pub(crate) merge_at: Option<u64>,
    /// Stop at the first line that is no operation.
    pub(crate) strict: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    lines: u64,
    lines_bad: u64,
    json_bytes: u64,
    /// Operations that were not known.
    operations: u64,
    repeated: u64,
    /// Operations from before the last three days, of accounts that were there.
    old: u64,
    /// Operations from a time that has not come.
    ahead: u64,
    /// States of accounts that were written.
    states: u64,
    merges: u64,
    accounts: u64,
    last_created_at: Option<String>,
    seconds: f64,
}

/// Keeps the index current.
pub(crate) fn run(cli: &Cli, plan: &Plan, json: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    let name = plan.index.display();
    let files = plan.ops.as_deref().filter(|ops| *ops != Path::new("-"));
    let stdin = source::standard_input();
    if stdin.is_none() && files.is_none() {
        return Err(cli::usage(
            "operations do not come from a terminal: plc-fetch --follow | index-build --update, \
             or name those on disk with --ops",
        ));
    }
    let merge_at = plan.merge_at;
    let keeper = Keeper::open(cli, &plan.index, merge_at, files.is_some());
    let keeper = keeper.with_context(|| name.to_string())?;
    let mut sources = match files {
        Some(ops) => source::files_since(ops, keeper.behind_ms())?,
        None => Vec::new(),
    };
    sources.extend(stdin);
    let mut update = Update::new(cli, keeper, plan.strict, Arc::new(sources));
    let ended = update.run().with_context(|| name.to_string());
    let Update { mut keeper, lines, lines_bad, bytes, .. } = update;
    if ended.is_ok() && !cli.stopping() {
        keeper.settle().with_context(|| name.to_string())?;
    }
    let (counts, cursor, accounts) = (keeper.counts(), keeper.cursor(), keeper.accounts());
    keeper.finish().with_context(|| name.to_string())?;
    ended?;
    cli.info(format_args!("{name}: {} operations, {} merges", counts.operations, counts.merges));
    if json {
        let mut text = Text::new(cli);
        text.object(&Report {
            r#type: "summary",
            lines,
            lines_bad,
            json_bytes: bytes,
            operations: counts.operations,
            repeated: counts.repeated,
            old: counts.old,
            ahead: counts.ahead,
            states: counts.states,
            merges: counts.merges,
            accounts,
            last_created_at: ::lines::rfc3339_ms(cursor.created_ms),
            seconds: began.elapsed().as_secs_f64(),
        })?;
        text.flush()?;
    }
    Ok(())
}

/// Lines on their way into the index.
struct Update<'c> {
    cli: &'c Cli,
    keeper: Keeper<'c>,
    strict: bool,
    sources: Arc<Vec<Source>>,
    /// Where lines come from, and how many have.
    source: String,
    number: u64,
    batch: Vec<Record>,
    lines: u64,
    lines_bad: u64,
    bytes: u64,
    shown: Instant,
}

impl<'c> Update<'c> {
    fn new(cli: &'c Cli, keeper: Keeper<'c>, strict: bool, sources: Arc<Vec<Source>>) -> Self {
        Self {
            cli,
            keeper,
            strict,
            sources,
            source: String::new(),
            number: 0,
            batch: Vec::with_capacity(BATCH_MAX),
            lines: 0,
            lines_bad: 0,
            bytes: 0,
            shown: Instant::now(),
        }
    }

    /// Until there is no more, or a signal comes; what was read by then is taken in.
    fn run(&mut self) -> anyhow::Result<()> {
        let pieces =
            Pieces::read(Arc::clone(&self.sources), true).context("cannot begin to read")?;
        let mut stopping = None;
        loop {
            if self.cli.stopping() && stopping.get_or_insert_with(Instant::now).elapsed() > DRAIN {
                return Ok(());
            }
            self.keeper.tend()?;
            if self.keeper.is_full() {
                // Nothing is read meanwhile: the pressure reaches the directory's reader.
                self.keeper.settle()?;
                continue;
            }
            match pieces.next_within(LOOK) {
                Ok(first) => self.take(first, &pieces)?,
                Err(RecvTimeoutError::Timeout) if self.cli.stopping() => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.keeper.caught_up()?;
                    return self.keeper.tend();
                }
            }
            self.show();
        }
    }

    /// Takes in what is at hand.
    fn take(&mut self, first: Piece, pieces: &Pieces) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut next = Some(first);
        let mut ended = Ok(());
        while let (Some(piece), true) = (next, ended.is_ok()) {
            ended = self.piece(piece, pieces);
            next = if self.batch.len() < BATCH_MAX { pieces.at_hand() } else { None };
        }
        // What came before a line that ends it is good.
        self.flush()?;
        self.cli.stats().latency(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        ended
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.keeper.take(&self.batch)?;
        self.cli.stats().events_out(self.batch.len() as u64);
        self.batch.clear();
        Ok(())
    }

    fn piece(&mut self, piece: Piece, pieces: &Pieces) -> anyhow::Result<()> {
        match piece {
            Piece::File(number) => {
                let source = self.sources.get(number);
                let files_read = source.is_some_and(|source| !source.is_file());
                self.source = source.map(Source::name).unwrap_or_default();
                self.number = 0;
                if files_read {
                    self.flush()?;
                    self.keeper.caught_up()?;
                }
            }
            Piece::Lines(lines) => {
                lines
                    .strip_suffix(b"\n")
                    .unwrap_or(&lines)
                    .split(|byte| *byte == b'\n')
                    .try_for_each(|line| self.line(line))?;
                pieces.done(lines);
            }
            Piece::TooLong => {
                self.number += 1;
                self.lines += 1;
                self.bad(anyhow!("line is over the limit of {LINE_BYTES_MAX} bytes"))?;
            }
            // plc-fetch may be writing it at this moment; what is behind comes by the pipe.
            Piece::Torn => self.cli.info(format_args!("{}: its end is torn", self.source)),
            Piece::Failed(error) => return Err(error.context(self.source.clone())),
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        self.number += 1;
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
        self.cli.stats().events_in(1);
        self.cli.stats().bytes_in(line.len() as u64 + 1);
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.keeper.read(line) {
            Ok(record) => self.batch.push(record),
            Err(error) => self.bad(error.into())?,
        }
        Ok(())
    }

    fn bad(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let error = error.context(format!("{}: line {}", self.source, self.number));
        if self.strict {
            return Err(error);
        }
        self.lines_bad += 1;
        self.cli.stats().refused(1);
        if self.lines_bad < REPORTS_MAX {
            self.cli.warn(format_args!("{error:#}; left out"));
        } else if self.lines_bad == REPORTS_MAX {
            self.cli.warn(format_args!("{error:#}; left out, and further ones only counted"));
        }
        Ok(())
    }

    fn show(&mut self) {
        if !self.cli.progress() || self.shown.elapsed() < Duration::from_millis(500) {
            return;
        }
        self.shown = Instant::now();
        let newest = ::lines::rfc3339_ms(self.keeper.cursor().created_ms).unwrap_or_default();
        let operations = self.keeper.counts().operations;
        self.cli.show(format_args!("{operations} operations, up to {newest}"));
    }
}
