//! How far a run has come, for people while it runs and for scripts at its end.

use std::time::{Duration, Instant};

use cli::Cli;
use cli::units::show_bytes;
use serde::Serialize;

use crate::directory::Counts;
use crate::fetch::Fetch;
use crate::intake::Intake;
use crate::limiter::Learned;
use crate::page::show_ms;
use crate::sink;

/// Pause between two looks.
const SHOW: Duration = Duration::from_millis(500);

/// Nearer to the present than this there is no end to estimate.
const NEAR_MS: u64 = 120_000;

/// Progress on stderr.
pub(crate) struct Progress<'c> {
    cli: &'c Cli,
    began: Instant,
    shown: Instant,
    /// The first position that was seen.
    from_ms: Option<u64>,
}

impl<'c> Progress<'c> {
    pub(crate) fn new(cli: &'c Cli) -> Self {
        let now = Instant::now();
        Self { cli, began: now, shown: now, from_ms: None }
    }

    /// Shows how far it is, if it is time to show something again.
    pub(crate) fn show(&mut self, intake: &Intake<'_>, counts: Counts, limit: Option<Learned>) {
        self.from_ms = self.from_ms.or(intake.newest_ms());
        if !self.cli.progress() || self.shown.elapsed() < SHOW {
            return;
        }
        self.shown = Instant::now();
        let rate = intake.operations as f64 / self.began.elapsed().as_secs_f64();
        let at = intake.newest_ms().map(|at| format!(", at {}", show_ms(at))).unwrap_or_default();
        let end = self.left(intake.newest_ms()).map(|left| format!(", {left} to go"));
        let limit = limit.map(|limit| format!(", {}", said(&limit)));
        self.cli.show(format_args!(
            "{} operations ({rate:.0}/s), {}{at}{}, {} requests, {} refused{}",
            intake.operations,
            show_bytes(intake.bytes),
            end.unwrap_or_default(),
            counts.requests,
            counts.refused,
            limit.unwrap_or_default(),
        ));
    }

    /// Shows how far a dump has been taken in.
    pub(crate) fn importing(&mut self, intake: &Intake<'_>, said: &str) {
        if !self.cli.progress() || self.shown.elapsed() < SHOW {
            return;
        }
        self.shown = Instant::now();
        let rate = intake.operations as f64 / self.began.elapsed().as_secs_f64();
        let at = intake.newest_ms().map(show_ms).unwrap_or_default();
        self.cli.show(format_args!(
            "{said}: {} operations ({rate:.0}/s), {}, at {at}",
            intake.operations,
            show_bytes(intake.bytes)
        ));
    }

    /// The time that is left, if the rest goes by as quickly as what is behind.
    fn left(&self, at_ms: Option<u64>) -> Option<String> {
        let now_ms = cli::now_ns() / 1_000_000;
        let (from, at) = self.from_ms.zip(at_ms)?;
        let (done, rest) = (at.checked_sub(from)?, now_ms.checked_sub(at)?);
        if done == 0 || rest < NEAR_MS {
            return None;
        }
        let left = self.began.elapsed().as_secs_f64() * rest as f64 / done as f64;
        Some(show_span(Duration::try_from_secs_f64(left).ok()?))
    }
}

/// A limit in words.
fn said(limit: &Learned) -> String {
    format!("limit {} in {:.1?}", limit.requests, limit.span())
}

fn show_span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    url: &'a str,
    /// Handed on by this run.
    operations: u64,
    /// Of JSON.
    bytes: u64,
    /// Of the operations, those from a dump.
    imported: u64,
    /// How operations came: `import`, `seq`, `time`, `stream`.
    interfaces: &'a [&'static str],
    requests: u64,
    /// Requests that came too soon for the directory.
    requests_refused: u64,
    last_created_at: Option<String>,
    last_seq: Option<u64>,
    /// What the directory bears, if that was found out.
    limit: Option<Limit>,
    /// The least time between two requests that this comes to.
    interval_ms: f64,
    seconds: f64,
}

#[derive(Serialize)]
struct Limit {
    requests: u32,
    span_ms: u64,
}

/// Prints what was fetched.
pub(crate) fn report(fetch: &Fetch<'_>) -> anyhow::Result<()> {
    let limiter = &fetch.directory.limiter;
    let report = serde_json::to_string(&Report {
        r#type: "summary",
        url: &fetch.directory.url,
        operations: fetch.intake.operations,
        bytes: fetch.intake.bytes,
        imported: fetch.imported,
        interfaces: &fetch.interfaces,
        requests: fetch.directory.counts.requests,
        requests_refused: fetch.directory.counts.refused,
        last_created_at: fetch.intake.newest_ms().map(show_ms),
        last_seq: fetch.intake.numbered.as_ref().map(|last| last.seq),
        limit: limiter.learned().map(|learned| Limit {
            requests: learned.requests,
            span_ms: u64::try_from(learned.span().as_millis()).unwrap_or(u64::MAX),
        }),
        interval_ms: limiter.interval().as_secs_f64() * 1000.0,
        seconds: fetch.progress.began.elapsed().as_secs_f64(),
    })?;
    sink::print(format!("{report}\n").as_bytes())
}
