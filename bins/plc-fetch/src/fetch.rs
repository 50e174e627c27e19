//! Page after page, by number where the directory numbers its operations, else by time.
//!
//! | place | asked | the answer |
//! |---|---|---|
//! | [`Place::Begin`] | `after=0` | numbers or not; without, it is read as the year 2000, or refused |
//! | [`Place::Behind`] | `after=` last number - 1 | the last operation again, or the numbers are others |
//! | [`Place::Probe`] | `count=1&after=0` | numbers: the time is looked for among them |
//! | [`Place::Seq`] | `after=` last number | what comes next |
//! | [`Place::Time`] | `after=` last time - 1 ms | some again, and what comes next |
//!
//! A number is believed only with the operation that had it: a directory may be another one than
//! before under the same URL, an older one takes a number for a year, and an empty answer looks
//! the same in each case.

use std::time::{Duration, Instant};

use cli::Cli;

use crate::bisect;
use crate::directory::{Answer, Directory, Page};
use crate::intake::{Intake, Numbered};
use crate::page::{Line, show_ms};
use crate::progress::Progress;
use crate::seen::BACK_MS;
use crate::state::{self, State};

/// Operations asked for at a time; a directory gives no more.
const PAGE_LINES: usize = 1000;

/// What is learned of the limit is kept at most so often.
const REMEMBER: Duration = Duration::from_secs(5);

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the first operation of all.
    Begin,
    /// Behind this one, if the directory still numbers it so.
    Behind(Numbered),
    /// At this time, once it is known whether there are numbers.
    Probe(u64),
    /// Behind this number.
    Seq(u64),
    /// Behind this time, without numbers.
    Time(u64),
}

/// What a page came to.
enum Step {
    /// There may be more from here.
    More(Place),
    /// There is nothing more; more will come from here.
    Done(Place),
}

/// Fetching.
pub(crate) struct Fetch<'c> {
    pub(crate) cli: &'c Cli,
    pub(crate) directory: Directory<'c>,
    pub(crate) intake: Intake<'c>,
    pub(crate) state: State,
    pub(crate) place: Place,
    pub(crate) progress: Progress<'c>,
    /// How operations came, for the report.
    pub(crate) interfaces: Vec<&'static str>,
    /// Operations from a dump.
    pub(crate) imported: u64,
    /// When what was learned was last kept.
    pub(crate) remembered: Instant,
}

impl<'c> Fetch<'c> {
    /// Fetches until there is nothing more; false if a signal came first.
    pub(crate) fn catch_up(&mut self) -> anyhow::Result<bool> {
        loop {
            let place = self.place.clone();
            if let Place::Probe(time_ms) = place {
                let Some(found) = self.probe(time_ms)? else { return Ok(false) };
                self.place = found;
                continue;
            }
            let page = match self.directory.get(&query(&place))? {
                Answer::Page(page) => page,
                Answer::Stopped => return Ok(false),
                Answer::Unasked => {
                    self.place = self.without_numbers(&place)?;
                    continue;
                }
            };
            match self.take(&place, &page)? {
                Step::More(next) => self.place = next,
                Step::Done(next) => {
                    self.place = next;
                    return Ok(true);
                }
            }
            self.show();
        }
    }

    /// Where to look again for what has come since.
    pub(crate) fn again(&self) -> Place {
        match (&self.place, self.intake.numbered.clone(), self.intake.newest_ms()) {
            (Place::Seq(seq), Some(last), _) if last.seq == *seq => Place::Behind(last),
            // Operations can appear a little after later ones, also while nobody was asking.
            (Place::Time(_), _, Some(newest)) => Place::Time(newest.saturating_sub(BACK_MS)),
            (place, ..) => place.clone(),
        }
    }

    /// Takes a page in, and asks for the next one before it is stored.
    fn take(&mut self, place: &Place, page: &Page) -> anyhow::Result<Step> {
        let numbered = page.lines.iter().all(|line| line.seq.is_some()) && !page.lines.is_empty();
        let asked = match place {
            Place::Begin if page.lines.is_empty() => return Ok(Step::Done(Place::Begin)),
            Place::Begin if numbered => Some(0),
            Place::Behind(last) => {
                let same = |line: &Line| line.seq == Some(last.seq) && line.name == last.name;
                if !numbered || !page.lines.first().is_some_and(same) {
                    self.cli.info(format_args!(
                        "{}: number {} is not the operation it was; going on by time",
                        self.directory.url, last.seq
                    ));
                    return Ok(Step::More(self.by_time()));
                }
                // What has a later number is new, whatever its time.
                self.intake.go_on();
                Some(last.seq)
            }
            Place::Seq(asked) if numbered || page.lines.is_empty() => Some(*asked),
            Place::Seq(_) => return Ok(Step::More(self.by_time())),
            Place::Begin | Place::Time(_) | Place::Probe(_) => None,
        };
        if asked.is_some() {
            self.by_number()?;
        }
        let new = self.intake.pick(page);
        let step = match asked {
            Some(asked) => self.step_by_number(asked, place, page),
            None => self.step_in_time(place, page, new.lines),
        };
        if let Ok(Step::More(next)) = &step {
            self.directory.begin(&query(next))?;
        }
        self.intake.put(&new)?;
        step
    }

    fn step_by_number(&self, asked: u64, place: &Place, page: &Page) -> anyhow::Result<Step> {
        let last = page.lines.iter().filter_map(|line| line.seq).max();
        match last {
            Some(last) if last > asked => Ok(Step::More(Place::Seq(last))),
            // The last operation alone came again.
            Some(last) if matches!(place, Place::Behind(_)) => Ok(Step::Done(Place::Seq(last))),
            Some(last) => anyhow::bail!(
                "{}: asked for what comes after number {asked}, it gave numbers up to {last}",
                self.directory.url
            ),
            None => Ok(Step::Done(Place::Seq(asked))),
        }
    }

    fn step_in_time(&mut self, place: &Place, page: &Page, new: u64) -> anyhow::Result<Step> {
        self.came_by("time");
        let after = if let Place::Time(after) = place { *after } else { 0 };
        let Some(last) = page.lines.last() else { return Ok(Step::Done(Place::Time(after))) };
        // Later than `after` at the grain of a millisecond: others of the last one may follow.
        let next = last.created_ms.saturating_sub(1);
        if next > after {
            return Ok(Step::More(Place::Time(next)));
        }
        anyhow::ensure!(
            page.lines.len() < PAGE_LINES,
            "{}: a whole page of {} operations at {}; there may be more of that millisecond, and \
             no way to ask for them",
            self.directory.url,
            page.lines.len(),
            show_ms(last.created_ms)
        );
        let place = Place::Time(after);
        Ok(if new > 0 { Step::More(place) } else { Step::Done(place) })
    }

    /// Finds out whether there are numbers, and where among them a time lies; nothing if a signal
    /// came first.
    fn probe(&mut self, time_ms: u64) -> anyhow::Result<Option<Place>> {
        let by_time = Place::Time(time_ms);
        match self.directory.get("count=1&after=0")? {
            Answer::Stopped => return Ok(None),
            Answer::Page(page) if page.lines.first().is_some_and(|line| line.seq.is_some()) => {}
            Answer::Page(_) | Answer::Unasked => return Ok(Some(by_time)),
        }
        let found = bisect::number_before(&mut self.directory, time_ms.saturating_sub(BACK_MS))?;
        if self.cli.stopping() {
            return Ok(None);
        }
        let Some(seq) = found else { return Ok(Some(by_time)) };
        self.cli.info(format_args!("{} is behind number {seq}", show_ms(time_ms)));
        self.intake.numbered = None;
        self.intake.step_back();
        self.by_number()?;
        Ok(Some(Place::Seq(seq)))
    }

    /// From here on numbers are those of this directory.
    fn by_number(&mut self) -> anyhow::Result<()> {
        self.came_by("seq");
        let Some(store) = &self.intake.sink.store else { return Ok(()) };
        if !self.state.is_numbered(store.position()) {
            self.state.set_numbered_from(store.position());
            state::save(&store.state_path(), &self.state)?;
        }
        Ok(())
    }

    /// Where to go on in a directory that takes no number.
    fn without_numbers(&self, place: &Place) -> anyhow::Result<Place> {
        match place {
            Place::Begin => Ok(Place::Time(0)),
            Place::Behind(_) | Place::Seq(_) => Ok(match self.by_time() {
                Place::Probe(time_ms) => Place::Time(time_ms),
                other => other,
            }),
            Place::Probe(_) | Place::Time(_) => {
                anyhow::bail!("{}: status 400", self.directory.url)
            }
        }
    }

    /// Where to go on when no number is to be trusted.
    pub(crate) fn by_time(&self) -> Place {
        match self.intake.newest_ms() {
            Some(newest) => Place::Probe(newest.saturating_sub(BACK_MS)),
            None => Place::Begin,
        }
    }

    pub(crate) fn came_by(&mut self, interface: &'static str) {
        if !self.interfaces.contains(&interface) {
            self.interfaces.push(interface);
        }
    }

    pub(crate) fn show(&mut self) {
        let Directory { counts, limiter, .. } = &self.directory;
        self.progress.show(&self.intake, *counts, limiter.learned());
        // A kill may come at any time.
        if self.state.limit() != limiter.learned() && self.remembered.elapsed() > REMEMBER {
            self.remember();
        }
    }

    /// Keeps for the next run how fast the directory can be asked.
    pub(crate) fn remember(&mut self) {
        self.remembered = Instant::now();
        let Some(store) = &self.intake.sink.store else { return };
        self.state.set_limit(self.directory.limiter.learned());
        self.state.window = self.directory.window();
        if let Err(error) = state::save(&store.state_path(), &self.state) {
            self.cli.info(format_args!("{}: {error}", store.state_path().display()));
        }
    }
}

/// The question for a place.
fn query(place: &Place) -> String {
    let after = match place {
        Place::Begin | Place::Probe(_) => "0".into(),
        Place::Behind(last) => last.seq.saturating_sub(1).to_string(),
        Place::Seq(seq) => seq.to_string(),
        Place::Time(after) => show_ms(*after),
    };
    format!("count={PAGE_LINES}&after={after}")
}
