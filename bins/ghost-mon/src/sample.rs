//! What is known of each running tool at one moment: its page, what the system says of it, and
//! what happened since an earlier look at it.

use std::path::PathBuf;

use anyhow::Context;
use stats::{Histogram, Reader, Reading, Snapshot};

use crate::disk::Disk;
use crate::vitals::Vitals;

/// Monitors are not part of what they watch.
const OWN_NAME: &str = "ghost-mon";

/// A running tool.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// What tells it from all others: what a person calls it, with a number if there are several.
    pub(crate) label: String,
    pub(crate) page: Snapshot,
    pub(crate) recent: Recent,
    pub(crate) vitals: Option<Vitals>,
    pub(crate) disk: Option<Disk>,
}

/// What happened between two looks at a tool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// Time between the looks.
    pub(crate) seconds: f64,
    pub(crate) events_in_per_s: f64,
    pub(crate) events_out_per_s: f64,
    pub(crate) refused_per_s: f64,
    pub(crate) dropped_per_s: f64,
    pub(crate) bytes_in_per_s: f64,
    pub(crate) bytes_out_per_s: f64,
    /// Share of the time spent waiting for input, 0 to 1.
    pub(crate) input_wait: f64,
    /// Share of the time spent waiting for output, 0 to 1.
    pub(crate) output_wait: f64,
    /// Processor time in that time: 1 is one core. `None` if the system does not say.
    pub(crate) cores: Option<f64>,
    pub(crate) latency: Histogram,
    pub(crate) age: Histogram,
}

impl Stage {
    /// A tool as it is, compared with an earlier look. One that was not there then has done all it
    /// did since it started.
    pub(crate) fn of(page: Snapshot, earlier: &[Stage]) -> Self {
        let (vitals, disk) = (Vitals::of(&page), Disk::of(&page));
        let before = earlier.iter().find(|before| before.page.is_same_run(&page));
        let mut recent = match before {
            Some(before) => Recent::between(&before.page, &page),
            None => Recent::between(&newborn(&page), &page),
        };
        let used_ns = |now: Vitals| {
            let before = before.map_or(Some(0), |stage| Some(stage.vitals?.cpu_ns))?;
            Some(now.cpu_ns.saturating_sub(before))
        };
        let used_ns = vitals.and_then(used_ns).filter(|_| recent.seconds > 0.0);
        recent.cores = used_ns.map(|ns| ns as f64 / 1e9 / recent.seconds);
        Self { label: page.label().into(), page, recent, vitals, disk }
    }
}

/// A page as it was when its tool began.
fn newborn(page: &Snapshot) -> Snapshot {
    let age_ns = page.taken_ns.saturating_sub(page.start_ns);
    let taken_monotonic_ns = page.taken_monotonic_ns.saturating_sub(age_ns);
    Snapshot { taken_monotonic_ns, ..Snapshot::default() }
}

impl Recent {
    fn between(before: &Snapshot, now: &Snapshot) -> Self {
        let ns = now.taken_monotonic_ns.saturating_sub(before.taken_monotonic_ns);
        let seconds = ns as f64 / 1e9;
        let per_second = |before: u64, now: u64| match ns {
            0 => 0.0,
            _ => now.saturating_sub(before) as f64 / seconds,
        };
        let share = |before: u64, now: u64| (per_second(before, now) / 1e9).min(1.0);
        let (a, b) = (&before.counts, &now.counts);
        Self {
            seconds,
            events_in_per_s: per_second(a.events_in, b.events_in),
            events_out_per_s: per_second(a.events_out, b.events_out),
            refused_per_s: per_second(a.refused, b.refused),
            dropped_per_s: per_second(a.dropped, b.dropped),
            bytes_in_per_s: per_second(a.bytes_in, b.bytes_in),
            bytes_out_per_s: per_second(a.bytes_out, b.bytes_out),
            input_wait: share(a.input_wait_ns, b.input_wait_ns),
            output_wait: share(a.output_wait_ns, b.output_wait_ns),
            cores: None,
            latency: now.latency.since(&before.latency),
            age: now.age.since(&before.age),
        }
    }

    /// Share of the time spent at work, 0 to 1.
    pub(crate) fn work(&self) -> f64 {
        (1.0 - self.input_wait - self.output_wait).max(0.0)
    }
}

/// Reads all pages but those of monitors. A directory that was named has to be there; of the
/// usual ones, those that are.
pub(crate) fn read(reader: &mut Reader, dir: Option<&PathBuf>) -> anyhow::Result<Reading> {
    let mut all = Reading::default();
    match dir {
        Some(dir) => add(&mut all, reader.read_all(dir).context("name another with --dir")?),
        None => {
            for dir in stats::dirs() {
                add(&mut all, reader.read_all(&dir).unwrap_or_default());
            }
        }
    }
    Ok(all)
}

fn add(all: &mut Reading, more: Reading) {
    all.pages.extend(more.pages.into_iter().filter(|page| page.tool != OWN_NAME));
    all.skipped.extend(more.skipped);
    all.removed += more.removed;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seconds: u64, events: u64, input_wait_ns: u64) -> Snapshot {
        let mut page = Snapshot { pid: 1, start_ns: 1, ..Snapshot::default() };
        page.taken_ns = seconds * 1_000_000_000 + 1;
        page.taken_monotonic_ns = 5_000_000_000_000 + page.taken_ns;
        page.counts.events_in = events;
        page.counts.input_wait_ns = input_wait_ns;
        page
    }

    fn compared(now: Snapshot, before: Snapshot) -> Recent {
        Stage::of(now, &[Stage::of(before, &[])]).recent
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let recent = compared(page(14, 900, 3_000_000_000), page(10, 100, 0));
        assert_eq!((recent.seconds, recent.events_in_per_s), (4.0, 200.0));
        assert_eq!((recent.input_wait, recent.work()), (0.75, 0.25));
    }

    #[test]
    fn a_tool_not_seen_before_is_counted_from_its_start() {
        let mut other = page(0, 0, 0);
        other.pid = 2;
        let recent = compared(page(10, 100, 0), other);
        assert_eq!((recent.seconds, recent.events_in_per_s), (10.0, 10.0));
    }

    #[test]
    fn counts_that_go_back_and_clocks_that_stand_still_give_no_rate() {
        assert_eq!(compared(page(14, 50, 0), page(10, 100, 0)).events_in_per_s, 0.0);
        let recent = compared(page(10, 200, 9), page(10, 100, 0));
        assert_eq!((recent.events_in_per_s, recent.input_wait), (0.0, 0.0));
    }
}
