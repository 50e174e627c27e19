//! What `ghost-mon` shows of this stage: what is stored and how long it took to be.

use std::path::{Path, PathBuf};

use archive::{Usage, Writer};
use cli::Cli;
use cli::units::show_bytes;
use frame::Frame;
use stats::Counter;

/// The folder is measured no more often than this.
const MEASURE_EVERY_NS: u64 = 1_000_000_000;
/// Under load batches are written without a word from here; nearly this often.
const WAITING_MAX: usize = 1024;

pub(crate) struct Meter<'c> {
    cli: &'c Cli,
    dir: PathBuf,
    /// When each event that is not written yet was received, and when the first came in here.
    received_ns: Vec<u64>,
    since_ns: u64,
    stored: Counter,
    raw_bytes: Counter,
    /// How much the archive grew in this run.
    stored_bytes: Counter,
    log_bytes: Counter,
    bytes_before: u64,
    log_before: u64,
    measured_ns: u64,
}

impl<'c> Meter<'c> {
    pub(crate) fn new(cli: &'c Cli, dir: &Path) -> anyhow::Result<Meter<'c>> {
        let stats = cli.stats();
        // A monitor has a folder of its own to begin from.
        let place = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        stats.set_output(&place.display().to_string());
        Ok(Meter {
            cli,
            dir: dir.to_owned(),
            received_ns: Vec::new(),
            since_ns: 0,
            stored: stats.named("stored"),
            raw_bytes: stats.named("raw-bytes"),
            stored_bytes: stats.gauge("stored-bytes"),
            log_bytes: stats.gauge("log-bytes"),
            bytes_before: bytes(archive::usage(dir)?),
            log_before: 0,
            measured_ns: 0,
        })
    }

    pub(crate) fn stored(&mut self, frame: &Frame<'_>, writer: &Writer) {
        if self.received_ns.len() >= WAITING_MAX {
            self.written(writer);
        }
        if self.received_ns.is_empty() {
            self.since_ns = cli::now_ns();
        }
        self.received_ns.push(frame.header.time_ns);
        self.stored.add(1);
        self.raw_bytes.add(frame.body().len() as u64);
        self.cli.stats().events_out(1);
    }

    pub(crate) fn duplicate(&self) {
        self.cli.stats().dropped(1);
    }

    /// Everything that was stored is written.
    pub(crate) fn written(&mut self, writer: &Writer) {
        if self.received_ns.is_empty() {
            return;
        }
        let (stats, now_ns) = (self.cli.stats(), cli::now_ns());
        for received_ns in self.received_ns.drain(..) {
            stats.latency(now_ns.saturating_sub(self.since_ns));
            stats.age(now_ns.saturating_sub(received_ns));
        }
        let written = writer.totals().log_bytes;
        stats.bytes_out(written - self.log_before);
        self.log_before = written;
        self.log_bytes.set(writer.log_bytes());
        if now_ns.saturating_sub(self.measured_ns) >= MEASURE_EVERY_NS {
            self.measured_ns = now_ns;
            if let Ok(usage) = archive::usage(&self.dir) {
                self.measured(usage);
                self.show(writer);
            }
        }
    }

    /// Tells a person how far it is.
    fn show(&self, writer: &Writer) {
        if self.cli.progress() {
            let totals = writer.totals();
            let (events, raw) = (totals.events, show_bytes(totals.raw_bytes));
            self.cli.show(format_args!("{events} events stored, {raw}"));
        }
    }

    /// The last word.
    pub(crate) fn end(&mut self, usage: Usage) {
        self.measured(usage);
        self.log_bytes.set(usage.log_bytes);
    }

    fn measured(&self, usage: Usage) {
        self.stored_bytes.set(bytes(usage).saturating_sub(self.bytes_before));
    }
}

fn bytes(usage: Usage) -> u64 {
    usage.segment_bytes + usage.index_bytes + usage.log_bytes
}
