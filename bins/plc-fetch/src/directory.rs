//! A directory that is asked for pages, at the pace it bears and however often that takes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use net::http::Response;

use crate::ask::Asker;
use crate::limiter::{Hints, Limiter};
use crate::page::{self, Line};
use crate::wait::Wait;

/// So many refusals in a row are spoken of with `-v` only.
const REFUSALS_QUIET: u32 = 5;

/// How far an earlier run may lie before this one and still have spent of its window.
const EARLIER: Duration = Duration::from_secs(86_400);

/// A page of an export.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    pub(crate) lines: Vec<Line>,
}

/// What a question came to.
#[derive(Debug)]
pub(crate) enum Answer {
    Page(Page),
    /// The directory does not take such a question (status 400 or 422).
    Unasked,
    /// A signal came first.
    Stopped,
}

/// How often a directory was asked.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    /// Requests that came too soon for it.
    pub(crate) refused: u64,
}

/// A directory and how it is asked.
pub(crate) struct Directory<'c> {
    pub(crate) url: String,
    pub(crate) asker: Asker,
    pub(crate) limiter: Limiter,
    pub(crate) counts: Counts,
    wait: Wait<'c>,
    /// How many failures in a row are the end.
    failures_max: u32,
    /// Moments are counted from here.
    began: Instant,
    /// The question whose answer is on its way.
    pending: Option<(String, Instant)>,
    /// Requests in a row that were not answered, refusals left out.
    failures: u32,
    /// Refusals in a row.
    refusals: u32,
}

impl<'c> Directory<'c> {
    pub(crate) fn new(
        url: String,
        asker: Asker,
        limiter: Limiter,
        failures_max: u32,
        wait: Wait<'c>,
    ) -> Self {
        Self {
            url,
            asker,
            limiter,
            counts: Counts::default(),
            wait,
            failures_max,
            began: Instant::now(),
            pending: None,
            failures: 0,
            refusals: 0,
        }
    }

    /// Asks `/export` if it may be asked at this moment, so that the answer is on its way while
    /// something else is done.
    pub(crate) fn begin(&mut self, query: &str) -> anyhow::Result<()> {
        if self.pending.is_none() && self.limiter.next() <= self.now() {
            self.send(query)?;
        }
        Ok(())
    }

    /// Asks `/export` until there is an answer.
    pub(crate) fn get(&mut self, query: &str) -> anyhow::Result<Answer> {
        loop {
            if self.pending.as_ref().is_some_and(|(asked, _)| asked != query) {
                // Answers come in the order of questions: nobody wants this one any more.
                self.pending = None;
                if self.asker.answer(self.wait)?.is_none() {
                    return Ok(Answer::Stopped);
                }
                self.limiter.answered(self.now(), &Hints::default());
            }
            if self.pending.is_none() {
                let pause = self.limiter.next().saturating_sub(self.now());
                if self.wait.sleep(pause)? {
                    return Ok(Answer::Stopped);
                }
                self.send(query)?;
            }
            let Some(answer) = self.asker.answer(self.wait)? else { return Ok(Answer::Stopped) };
            let asked = self.pending.take().map_or_else(Instant::now, |(_, asked)| asked);
            let latency_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.wait.cli.stats().latency(latency_ns);
            let failure = match answer {
                Ok(response) if response.status == 200 => {
                    self.limiter.answered(self.now(), &hints(&response));
                    match page::lines(&response.body) {
                        Ok(lines) => return Ok(Answer::Page(self.good(response, lines))),
                        Err(error @ page::Error::Cut { .. }) => Failure::passing(error),
                        Err(error) => return Err(error).with_context(|| self.url.clone()),
                    }
                }
                Ok(response) if matches!(response.status, 400 | 422) => {
                    self.limiter.answered(self.now(), &hints(&response));
                    return Ok(Answer::Unasked);
                }
                Ok(response) => Failure::of_status(&response),
                Err(error) => Failure::of_net(error),
            };
            self.fail(failure)?;
        }
    }

    /// Goes on in the window of the limit that an earlier run was in: when it began (unix us), and
    /// how much of it was spent.
    pub(crate) fn go_on(&mut self, (began_us, count): (u64, u32)) {
        let age = Duration::from_micros((cli::now_ns() / 1000).saturating_sub(began_us));
        if let Some(began) = self.now().checked_sub(age) {
            self.limiter.go_on(began, count);
        }
    }

    /// What a later run can go on in.
    pub(crate) fn window(&self) -> Option<(u64, u32)> {
        let (began, count) = self.limiter.present()?;
        let age_us = u64::try_from(self.now().saturating_sub(began).as_micros()).ok()?;
        Some(((cli::now_ns() / 1000).saturating_sub(age_us), count))
    }

    /// The time in which the limiter counts. What an earlier run did lies a little before this
    /// one.
    fn now(&self) -> Duration {
        EARLIER + self.began.elapsed()
    }

    fn send(&mut self, query: &str) -> anyhow::Result<()> {
        self.limiter.asked(self.now());
        self.counts.requests += 1;
        self.pending = Some((query.to_owned(), Instant::now()));
        Ok(self.asker.send(format!("{}/export?{query}", self.url))?)
    }

    fn good(&mut self, response: Response, lines: Vec<Line>) -> Page {
        (self.failures, self.refusals) = (0, 0);
        self.wait.cli.stats().events_in(lines.len() as u64);
        self.wait.cli.stats().bytes_in(response.body.len() as u64);
        Page { body: response.body, lines }
    }

    /// Makes a pause, or gives up.
    fn fail(&mut self, failure: Failure) -> anyhow::Result<()> {
        let Failure { error, passing, refused, retry_after } = failure;
        if !passing {
            return Err(error.context(self.url.clone()));
        }
        if let Some(hints) = refused {
            // Slow is not gone: a refusal does not count towards giving up.
            self.counts.refused += 1;
            self.refusals += 1;
            self.wait.cli.stats().refused(1);
            let pause = self.limiter.refused(self.now(), &hints);
            let said = format_args!("{}: {error:#}; again in {pause:.1?}", self.url);
            // A few are the way to find out how fast it can be asked; a row of them is not.
            if self.refusals < REFUSALS_QUIET {
                self.wait.cli.info(said);
            } else {
                self.wait.cli.warn(said);
            }
            return Ok(());
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures > self.failures_max {
            return Err(error.context(format!("{}: given up", self.url)));
        }
        let pause = self.limiter.failed(self.now(), retry_after);
        self.wait.cli.warn(format_args!("{}: {error:#}; again in {pause:.1?}", self.url));
        Ok(())
    }
}

fn hints(response: &Response) -> Hints {
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Hints::read(|name| response.header(name), response.retry_after, unix_s)
}

/// Why there is no page.
struct Failure {
    error: anyhow::Error,
    /// It may be otherwise next time.
    passing: bool,
    /// The directory wants to be asked more slowly.
    refused: Option<Hints>,
    retry_after: Option<Duration>,
}

impl Failure {
    fn passing(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), passing: true, refused: None, retry_after: None }
    }

    fn of_status(response: &Response) -> Self {
        let status = response.status;
        Self {
            error: anyhow::anyhow!("status {status}"),
            // 408 is a timeout too.
            passing: matches!(status, 408 | 429 | 500..),
            refused: (status == 429).then(|| hints(response)),
            retry_after: response.retry_after,
        }
    }

    fn of_net(error: net::Error) -> Self {
        use net::Error::{Connect, Cut, Http, Io, Resolve, Timeout};
        let passing =
            matches!(error, Timeout | Connect(_) | Io(_) | Cut | Http(_) | Resolve { .. });
        Self { passing, ..Self::passing(error) }
    }
}
