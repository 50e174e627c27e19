//! Going on for ever: by the stream where there is one, else by asking again and again.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::directory::{Directory, Page};
use crate::fetch::{Fetch, Place};
use crate::page;
use crate::stream::{End, Source};
use crate::wait::Wait;

/// After so long a directory without a stream is asked for one again.
const STREAM_AGAIN: Duration = Duration::from_secs(600);

/// The longest pause before a stream that broke is joined again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A stream that held so long did not fail for a reason that lasts.
const GOOD: Duration = Duration::from_secs(10);

/// How to follow.
pub(crate) struct Follow<'c> {
    source: Source,
    every: Duration,
    pause_first: Duration,
    wait: Wait<'c>,
    /// Not before this is a stream asked for again.
    stream_from: Option<Instant>,
    /// Streams in a row that broke soon.
    broken: u32,
}

impl<'c> Follow<'c> {
    /// By a stream, or by asking so often. The pause is the first one before a stream that broke
    /// is joined again.
    pub(crate) fn new(
        source: Source,
        every: Duration,
        pause_first: Duration,
        wait: Wait<'c>,
    ) -> Self {
        Self { source, every, pause_first, wait, stream_from: None, broken: 0 }
    }

    /// Follows until a signal comes.
    pub(crate) fn run(&mut self, fetch: &mut Fetch<'_>) -> anyhow::Result<()> {
        loop {
            let streams = self.stream_from.is_none_or(|from| from <= Instant::now());
            let pause = match fetch.place {
                Place::Seq(cursor) if streams => {
                    let Some(pause) = self.stream(cursor, fetch)? else { return Ok(()) };
                    pause
                }
                // Not more often than the directory bears in the long run, or there would be
                // times of silence between.
                _ => self.every.max(fetch.directory.limiter.interval()),
            };
            if self.wait.sleep(pause)? {
                return Ok(());
            }
            fetch.place = fetch.again();
            if !fetch.catch_up()? {
                return Ok(());
            }
        }
    }

    /// Takes what the stream brings until it ends, and says how long a pause is due. Nothing if a
    /// signal came.
    fn stream(&mut self, cursor: u64, fetch: &mut Fetch<'_>) -> anyhow::Result<Option<Duration>> {
        let began = Instant::now();
        let Fetch { cli, directory, intake, progress, interfaces, .. } = fetch;
        let Directory { url, asker, limiter, counts, .. } = directory;
        let mut last = cursor;
        let end = self.source.run(cursor, asker, self.wait, |body| {
            let lines = page::lines(&body).with_context(|| format!("{url}: the stream"))?;
            // After a reconnect some may come again.
            let lines: Vec<_> =
                lines.into_iter().filter(|line| line.seq.is_some_and(|seq| seq > last)).collect();
            if lines.is_empty() {
                return Ok(());
            }
            if !interfaces.contains(&"stream") {
                interfaces.push("stream");
            }
            let page = Page { body, lines };
            cli.stats().events_in(page.lines.len() as u64);
            cli.stats().bytes_in(page.body.len() as u64);
            let new = intake.pick(&page);
            intake.put(&new)?;
            last = intake.numbered.as_ref().map_or(last, |numbered| numbered.seq);
            progress.show(intake, *counts, limiter.learned());
            Ok(())
        })?;
        fetch.place = Place::Seq(last);
        if began.elapsed() > GOOD {
            self.broken = 0;
        }
        let url = &fetch.directory.url;
        match end {
            End::Stopped => return Ok(None),
            End::Outdated => {
                fetch.cli.info(format_args!("{url}: the stream begins later; paging up to it"));
            }
            End::Future => {
                fetch.cli.warn(format_args!(
                    "{url}: the stream has no number {last} yet; looking for the place by time"
                ));
                fetch.place = fetch.by_time();
            }
            End::Missing => {
                fetch.cli.info(format_args!("{url}: no stream; asking every {:?}", self.every));
                self.stream_from = Some(Instant::now() + STREAM_AGAIN);
                return Ok(Some(Duration::ZERO));
            }
            End::Broken(error, asked_for) => {
                self.broken = self.broken.saturating_add(1);
                let pause = asked_for.unwrap_or_else(|| self.pause());
                fetch.cli.info(format_args!("{url}: {error:#}; again in {pause:.1?}"));
                return Ok(Some(pause));
            }
        }
        self.broken = self.broken.saturating_add(1);
        Ok(Some(if self.broken > 1 { self.pause() } else { Duration::ZERO }))
    }

    /// Half to all of a pause that doubles, so that not all that a directory lost come back at
    /// one moment.
    fn pause(&self) -> Duration {
        let doublings = self.broken.saturating_sub(1).min(16);
        let pause = self.pause_first.saturating_mul(1 << doublings).min(PAUSE_MAX);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
