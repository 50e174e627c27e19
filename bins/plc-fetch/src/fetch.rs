//! Page after page.

use std::time::{Duration, Instant};

use anyhow::Context;
use cli::Cli;
use cli::units::show_bytes;
use net::http::Response;
use serde::Serialize;

use crate::ask::{self, Asker};
use crate::pace::Pace;
use crate::page::{self, Line, show_ms};
use crate::seen::{BACK_MS, Seen};
use crate::sink::Sink;
use crate::state::{self, State};

/// Operations asked for at a time; a directory gives no more.
const PAGE_LINES: usize = 1000;

/// So many refusals in a row are spoken of with `-v` only.
const REFUSALS_QUIET: u32 = 5;

/// What to fetch.
pub(crate) struct Plan {
    /// Where to begin if nothing is stored, unix milliseconds.
    pub(crate) after: Option<u64>,
    /// Whether to go on when there is nothing more, and how often to ask then.
    pub(crate) follow: Option<Duration>,
    /// How many failures in a row are the end.
    pub(crate) failures_max: u32,
}

/// What a page came to.
enum Step {
    /// There may be more behind this time.
    More(u64),
    /// There is nothing more.
    Done,
}

/// Fetching, and what it counts.
pub(crate) struct Fetch<'c> {
    cli: &'c Cli,
    url: String,
    asker: Asker,
    pace: Pace,
    sink: Sink,
    seen: Seen,
    began: Instant,
    shown: Instant,
    /// Requests in a row that were not answered, refusals left out.
    failures: u32,
    /// Refusals in a row.
    refusals: u32,
    operations: u64,
    bytes: u64,
    requests: u64,
    refused: u64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    url: &'a str,
    /// Stored by this run.
    operations: u64,
    /// Of JSON.
    bytes: u64,
    requests: u64,
    /// Requests that came too soon for the directory.
    requests_refused: u64,
    last_created_at: Option<String>,
    interval_ms: f64,
    seconds: f64,
}

impl<'c> Fetch<'c> {
    pub(crate) fn new(
        cli: &'c Cli,
        url: String,
        asker: Asker,
        pace: Pace,
        sink: Sink,
        seen: Seen,
    ) -> Self {
        let now = Instant::now();
        Self {
            cli,
            url,
            asker,
            pace,
            sink,
            seen,
            began: now,
            shown: now,
            failures: 0,
            refusals: 0,
            operations: 0,
            bytes: 0,
            requests: 0,
            refused: 0,
        }
    }

    /// Fetches until there is nothing more, or, following, until a signal comes.
    pub(crate) fn run(&mut self, plan: &Plan) -> anyhow::Result<()> {
        // Operations can appear a little after later ones, also while nobody was asking: every
        // run goes on from a minute back and drops what it has.
        let mut after = match self.seen.newest_ms() {
            Some(newest) => newest.saturating_sub(BACK_MS),
            None => plan.after.unwrap_or(0),
        };
        if after > 0 {
            self.cli.info(format_args!("going on from {}", show_ms(after)));
        }
        loop {
            let Some(page) = self.page(after, plan)? else { return Ok(()) };
            match self.take(after, &page)? {
                Step::More(next) => after = next,
                Step::Done => {
                    let Some(every) = plan.follow else { return Ok(()) };
                    if ask::sleep(every, self.cli)? {
                        return Ok(());
                    }
                    let newest = self.seen.newest_ms();
                    after = newest.map_or(after, |newest| newest.saturating_sub(BACK_MS));
                }
            }
            self.show();
        }
    }

    /// Stores what is new in a page and says where to go on.
    fn take(&mut self, after: u64, page: &Page) -> anyhow::Result<Step> {
        let mut text = Vec::with_capacity(page.body.len() + 1);
        let mut new = 0;
        for line in &page.lines {
            if self.seen.add(line) {
                new += 1;
                text.extend_from_slice(page.body.get(line.place.clone()).unwrap_or_default());
                text.push(b'\n');
            }
        }
        if new > 0 {
            self.sink.put(&text, new)?;
            self.operations += new;
            self.bytes += text.len() as u64;
            self.cli.stats().events_out(new);
            self.cli.stats().bytes_out(text.len() as u64);
        }
        self.cli.stats().dropped(page.lines.len() as u64 - new);
        let Some(last) = page.lines.last() else { return Ok(Step::Done) };
        // Later than `after` at the grain of a millisecond: others of the last one may follow.
        let next = last.created_ms.saturating_sub(1);
        if next > after {
            return Ok(Step::More(next));
        }
        anyhow::ensure!(
            page.lines.len() < PAGE_LINES,
            "{}: a whole page of {} operations at {}; there may be more of that millisecond, and \
             no way to ask for them",
            self.url,
            page.lines.len(),
            show_ms(last.created_ms)
        );
        Ok(if new > 0 { Step::More(after) } else { Step::Done })
    }

    /// Asks for a page until there is an answer; nothing if a signal came first.
    fn page(&mut self, after: u64, plan: &Plan) -> anyhow::Result<Option<Page>> {
        let url = format!("{}/export?count={PAGE_LINES}&after={}", self.url, show_ms(after));
        loop {
            if ask::sleep(self.pace.wait(), self.cli)? || self.cli.stopping() {
                return Ok(None);
            }
            self.pace.asked();
            self.requests += 1;
            let asked = Instant::now();
            let Some(answer) = self.asker.ask(url.clone(), self.cli)? else { return Ok(None) };
            self.cli.stats().latency(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
            let failure = match answer {
                Ok(response) if response.status == 200 => match Page::read(response) {
                    Ok(page) => {
                        self.pace.answered();
                        (self.failures, self.refusals) = (0, 0);
                        self.cli.stats().events_in(page.lines.len() as u64);
                        self.cli.stats().bytes_in(page.body.len() as u64);
                        return Ok(Some(page));
                    }
                    Err(error @ page::Error::Cut { .. }) => Failure::passing(error),
                    Err(error) => return Err(error).with_context(|| self.url.clone()),
                },
                Ok(response) => Failure::of_status(&response),
                Err(error) => Failure::of_net(error),
            };
            self.fail(failure, plan.failures_max)?;
        }
    }

    /// Makes a pause, or gives up.
    fn fail(&mut self, failure: Failure, failures_max: u32) -> anyhow::Result<()> {
        let Failure { error, passing, refused, retry_after } = failure;
        if !passing {
            return Err(error.context(self.url.clone()));
        }
        if refused {
            // Slow is not gone: a refusal does not count towards giving up.
            self.refused += 1;
            self.refusals += 1;
            self.cli.stats().refused(1);
            let pause = self.pace.refused(retry_after);
            let said = format_args!("{}: {error:#}; again in {pause:.1?}", self.url);
            // A few are the way to find out how fast it can be asked; a row of them is not.
            if self.refusals < REFUSALS_QUIET {
                self.cli.info(said);
            } else {
                self.cli.warn(said);
            }
            return Ok(());
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures > failures_max {
            return Err(error.context(format!("{}: given up", self.url)));
        }
        let pause = self.pace.failed(retry_after);
        self.cli.warn(format_args!("{}: {error:#}; again in {pause:.1?}", self.url));
        Ok(())
    }

    /// Keeps for the next run how fast the directory can be asked.
    pub(crate) fn remember_pace(&self) {
        let Some(path) = self.sink.state_path() else { return };
        let state = State::new(&self.url, self.pace.interval());
        if let Err(error) = state::save(&path, &state) {
            self.cli.info(format_args!("{}: {error}", path.display()));
        }
    }

    /// Prints what was fetched.
    pub(crate) fn report(&self) -> anyhow::Result<()> {
        let report = serde_json::to_string(&Report {
            r#type: "summary",
            url: &self.url,
            operations: self.operations,
            bytes: self.bytes,
            requests: self.requests,
            requests_refused: self.refused,
            last_created_at: self.seen.newest_ms().map(show_ms),
            interval_ms: self.pace.interval().as_secs_f64() * 1000.0,
            seconds: self.began.elapsed().as_secs_f64(),
        })?;
        Sink::Stdout.put(format!("{report}\n").as_bytes(), 1)
    }

    fn show(&mut self) {
        if !self.cli.progress() || self.shown.elapsed() < Duration::from_millis(500) {
            return;
        }
        self.shown = Instant::now();
        let at = self.seen.newest_ms().map(show_ms).unwrap_or_default();
        let rate = self.operations as f64 / self.began.elapsed().as_secs_f64();
        self.cli.show(format_args!(
            "{} operations ({rate:.0}/s), {}, at {at}, {} requests, {} refused",
            self.operations,
            show_bytes(self.bytes),
            self.requests,
            self.refused
        ));
    }
}

/// An answer that is one.
struct Page {
    body: Vec<u8>,
    lines: Vec<Line>,
}

impl Page {
    fn read(response: Response) -> Result<Self, page::Error> {
        let lines = page::lines(&response.body)?;
        Ok(Self { body: response.body, lines })
    }
}

/// Why there is no page.
struct Failure {
    error: anyhow::Error,
    /// It may be otherwise next time.
    passing: bool,
    /// The directory wants to be asked more slowly.
    refused: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    fn passing(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), passing: true, refused: false, retry_after: None }
    }

    fn of_status(response: &Response) -> Self {
        let status = response.status;
        Self {
            error: anyhow::anyhow!("status {status}"),
            // 408 is a timeout too.
            passing: matches!(status, 408 | 429 | 500..),
            refused: status == 429,
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
