//! Everything that was read, by account and as it counts for the index.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cli::Cli;
use cli::units::show_bytes;
use didindex::Seed;
use memchr::memchr;

use crate::audit::Audit;
use crate::hosts::Hosts;
use crate::piece::{LINE_BYTES_MAX, Piece, Pieces};
use crate::record::{RECORD_BYTES_MAX, Record};
use crate::source::Source;
use crate::spill::Spill;

/// So many bad lines are reported one by one.
const REPORTS_MAX: u64 = 20;

/// What was read, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) lines_bad: u64,
    pub(crate) bytes: u64,
    pub(crate) files_torn: u64,
}

/// All operations, and the hosts they name.
pub(crate) struct Gathered<'c> {
    cli: &'c Cli,
    strict: bool,
    counts: Counts,
    shown: Instant,
    /// Of the index that is to be built.
    pub(crate) seed: Seed,
    /// Whether there is to be one.
    pub(crate) indexing: bool,
    /// What is to be proved.
    pub(crate) audit: Option<Audit<'c>>,
    /// createdAt of the newest operation, unix milliseconds.
    pub(crate) newest_ms: u64,
    pub(crate) spill: Spill,
    pub(crate) hosts: Hosts,
}

impl<'c> Gathered<'c> {
    /// Nothing yet; up to `memory` bytes are kept in memory, the rest in a file in `folder`.
    pub(crate) fn new(
        cli: &'c Cli,
        strict: bool,
        folder: &Path,
        memory: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            cli,
            strict,
            counts: Counts::default(),
            shown: Instant::now(),
            seed: Seed::random()?,
            indexing: true,
            audit: None,
            newest_ms: 0,
            spill: Spill::new(folder, memory),
            hosts: Hosts::default(),
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads all of the files.
    pub(crate) fn read(&mut self, files: Vec<Source>) -> anyhow::Result<()> {
        let files = Arc::new(files);
        let pieces = Pieces::read(Arc::clone(&files), false).context("cannot begin to read")?;
        let (mut name, mut behind) = (String::new(), 0);
        for piece in &pieces {
            let before = self.counts.lines;
            match piece {
                Piece::File(number) => {
                    name = files.get(number).map(Source::name).unwrap_or_default();
                    behind = before;
                }
                Piece::Lines(lines) => {
                    self.lines(&lines, &name, behind)?;
                    pieces.done(lines);
                }
                Piece::TooLong => {
                    self.counts.lines += 1;
                    self.bad(too_long(), None, &name, behind)?;
                }
                Piece::Torn => {
                    self.counts.files_torn += 1;
                    self.cli.warn(format_args!(
                        "{name}: its end is torn; the {} lines before are taken, and the next \
                         plc-fetch mends it",
                        before - behind
                    ));
                }
                Piece::Failed(error) if before == behind => return Err(error.context(name)),
                Piece::Failed(error) => {
                    return Err(error.context(format!("{name}: behind line {}", before - behind)));
                }
            }
            self.cli.stats().events_in(self.counts.lines - before);
            self.show(&name);
            // What comes through a pipe ends by itself.
            if self.cli.stopping() && files.iter().all(Source::is_file) {
                anyhow::bail!("stopped before everything was read; no index was made");
            }
        }
        if let Some(audit) = &mut self.audit {
            audit.complete()?;
        }
        self.spill.complete()
    }

    /// Reads whole lines of a file whose first line came behind that many of others.
    fn lines(&mut self, lines: &[u8], name: &str, behind: u64) -> anyhow::Result<()> {
        self.counts.bytes += lines.len() as u64;
        self.cli.stats().bytes_in(lines.len() as u64);
        let mut rest = lines;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, more) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = more.get(1..).unwrap_or_default();
            self.counts.lines += 1;
            if line.len() > LINE_BYTES_MAX {
                self.bad(too_long(), None, name, behind)?;
            } else if !line.trim_ascii().is_empty() {
                match Record::of_line(line, &mut self.hosts) {
                    Ok(record) => self.keep(&record, line)?,
                    Err(error) => self.bad(error.into(), Some(line), name, behind)?,
                }
            }
        }
        Ok(())
    }

    fn bad(
        &mut self,
        error: anyhow::Error,
        line: Option<&[u8]>,
        name: &str,
        behind: u64,
    ) -> anyhow::Result<()> {
        let error = error.context(format!("{name}: line {}", self.counts.lines - behind));
        if let Some(audit) = &mut self.audit {
            self.counts.lines_bad += 1;
            return audit.take_bad(line.unwrap_or_default(), &error);
        }
        if self.strict {
            return Err(error);
        }
        self.counts.lines_bad += 1;
        self.cli.stats().refused(1);
        match self.counts.lines_bad {
            ..REPORTS_MAX => self.cli.warn(format_args!("{error:#}; left out")),
            REPORTS_MAX => {
                self.cli.warn(format_args!("{error:#}; left out, and further ones only counted"));
            }
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, record: &Record, line: &[u8]) -> anyhow::Result<()> {
        if let Some(audit) = &mut self.audit {
            audit.take(&record.did, line, true)?;
        }
        if !self.indexing {
            return Ok(());
        }
        self.newest_ms = self.newest_ms.max(record.created_ms);
        let hash = self.seed.hash(record.did.as_bytes());
        self.spill.push(hash, RECORD_BYTES_MAX, |bucket| record.write(bucket))
    }

    fn show(&mut self, name: &str) {
        if !self.cli.progress() || self.shown.elapsed() < Duration::from_millis(500) {
            return;
        }
        self.shown = Instant::now();
        let Counts { lines, bytes, .. } = self.counts;
        self.cli.show(format_args!("{name}: {lines} operations, {}", show_bytes(bytes)));
    }
}

fn too_long() -> anyhow::Error {
    anyhow::anyhow!("line is over the limit of {LINE_BYTES_MAX} bytes")
}
