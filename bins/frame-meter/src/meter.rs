//! What was counted, put into a line now and then.
//!
//! | field of `--json` | meaning |
//! |---|---|
//! | `type` | `meter`; the last one is `total` |
//! | `seconds` | since the start |
//! | `frames`, `events`, `bytes` | handed on since the start |
//! | `frames_per_s`, `events_per_s`, `bytes_per_s` | since the line before; in the last one since the start |
//! | `input_wait_share`, `output_wait_share` | of that time, spent waiting for the side before and the side behind |

use std::time::{Duration, Instant};

use cli::Cli;
use cli::units::show_bytes;
use serde::Serialize;

pub(crate) struct Meter<'c> {
    cli: &'c Cli,
    interval: Duration,
    json: bool,
    began: Instant,
    /// The last line: when it was due, and what had been counted then.
    last: (Instant, Counted),
}

#[derive(Clone, Copy, Default)]
struct Counted {
    frames: u64,
    events: u64,
    bytes: u64,
    input_wait_ns: u64,
    output_wait_ns: u64,
}

#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    seconds: f64,
    frames: u64,
    events: u64,
    bytes: u64,
    frames_per_s: f64,
    events_per_s: f64,
    bytes_per_s: f64,
    input_wait_share: f64,
    output_wait_share: f64,
}

impl<'c> Meter<'c> {
    pub(crate) fn new(cli: &'c Cli, interval: Duration, json: bool) -> Self {
        let now = Instant::now();
        Self { cli, interval, json, began: now, last: (now, Counted::default()) }
    }

    /// How long it is to the next line.
    pub(crate) fn left(&self) -> Duration {
        // Never nothing, which would be no wait at all.
        const LEAST: Duration = Duration::from_millis(1);
        self.interval.saturating_sub(self.last.0.elapsed()).max(LEAST)
    }

    /// Says how it stands, if that is due.
    pub(crate) fn tick(&mut self) {
        if !self.cli.progress() || self.last.0.elapsed() < self.interval {
            return;
        }
        let line = self.line("meter", self.last);
        self.last = (Instant::now(), self.counted());
        self.cli.show(format_args!("{}", self.worded(&line)));
    }

    /// The last word.
    pub(crate) fn end(&self) {
        let line = self.line("total", (self.began, Counted::default()));
        self.cli.warn(format_args!("{}", self.worded(&line)));
    }

    fn counted(&self) -> Counted {
        let counts = self.cli.stats().snapshot().counts;
        Counted {
            frames: counts.frames_out,
            events: counts.events_out,
            bytes: counts.bytes_in,
            input_wait_ns: counts.input_wait_ns,
            output_wait_ns: counts.output_wait_ns,
        }
    }

    fn line(&self, kind: &'static str, (since, before): (Instant, Counted)) -> Line {
        let now = self.counted();
        let seconds = since.elapsed().as_secs_f64().max(1e-9);
        let rounded = |value: f64| (value * 1e3).round() / 1e3;
        let rate = |before: u64, now: u64| rounded(now.saturating_sub(before) as f64 / seconds);
        let share = |before: u64, now: u64| (rate(before, now) / 1e9).min(1.0);
        Line {
            r#type: kind,
            seconds: rounded(self.began.elapsed().as_secs_f64()),
            frames: now.frames,
            events: now.events,
            bytes: now.bytes,
            frames_per_s: rate(before.frames, now.frames),
            events_per_s: rate(before.events, now.events),
            bytes_per_s: rate(before.bytes, now.bytes),
            input_wait_share: rounded(share(before.input_wait_ns, now.input_wait_ns)),
            output_wait_share: rounded(share(before.output_wait_ns, now.output_wait_ns)),
        }
    }

    fn worded(&self, line: &Line) -> String {
        if self.json
            && let Ok(text) = serde_json::to_string(line)
        {
            return text;
        }
        format!(
            "{} events, {:.0}/s; {}, {}/s; {:.0} % waiting for input, {:.0} % for output",
            line.events,
            line.events_per_s,
            show_bytes(line.bytes),
            show_bytes(line.bytes_per_s as u64),
            line.input_wait_share * 100.0,
            line.output_wait_share * 100.0
        )
    }
}
