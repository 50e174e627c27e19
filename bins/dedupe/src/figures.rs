//! What is told of copies on the page of statistics: how many, of whom, and how well the filter
//! does. Once a second, and at the end.

use std::time::{Duration, Instant};

use seen::{Counts, Window};
use stats::{Counter, HostState, HostTable, Page};

use crate::hosts::Hosts;

/// How often.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// Parts of a million, which is how a page has shares.
const MILLION: f64 = 1e6;

/// The figures of a run.
pub(crate) struct Figures {
    page: Page,
    /// `None` where no table can be written.
    table: Option<HostTable>,
    /// Copies of what another side had sent before: for sig-verify and archive-pack to settle.
    passed: Counter,
    look_ups: Counter,
    false_positives: Counter,
    /// How much of that has been counted.
    counted: Counts,
    remembered: Counter,
    fill: Counter,
    wrong: Counter,
    wrong_expected: Counter,
    next_ns: u64,
    last: Instant,
    /// Events of each host at the last look, for its rate.
    before: Vec<u64>,
}

impl Figures {
    pub(crate) fn new(page: &Page) -> Figures {
        Figures {
            page: page.clone(),
            table: page.host_table(),
            passed: page.named("copies-passed"),
            look_ups: page.named("filter-look-ups"),
            false_positives: page.named("filter-wrong"),
            counted: Counts::default(),
            remembered: page.gauge("remembered"),
            fill: page.gauge("filter-fill-ppm"),
            wrong: page.gauge("filter-wrong-ppm"),
            wrong_expected: page.gauge("filter-expected-ppm"),
            next_ns: 0,
            last: Instant::now(),
            before: Vec::new(),
        }
    }

    /// An event was dropped.
    pub(crate) fn dropped(&self) {
        self.page.dropped(1);
    }

    /// A copy went through, since it came from another side.
    pub(crate) fn passed(&self) {
        self.passed.add(1);
    }

    /// Writes all of it, if it is time to.
    pub(crate) fn tick(&mut self, now_ns: u64, window: &Window, hosts: &Hosts) {
        if now_ns >= self.next_ns {
            self.next_ns = now_ns + EVERY.as_nanos() as u64;
            self.publish(window, hosts);
        }
    }

    /// Writes all of it.
    pub(crate) fn publish(&mut self, window: &Window, hosts: &Hosts) {
        let counts = window.counts();
        let new = counts.new - self.counted.new;
        let wrong = counts.false_positives - self.counted.false_positives;
        self.look_ups.add(new + counts.seen - self.counted.seen);
        self.false_positives.add(wrong);
        // Of late, as that is what the formula speaks of.
        if new > 0 {
            self.wrong.set((MILLION * wrong as f64 / new as f64) as u64);
        }
        self.counted = counts;
        self.remembered.set(window.len() as u64);
        self.fill.set((MILLION * window.fill()) as u64);
        self.wrong_expected.set((MILLION * window.false_positives_expected()) as u64);
        self.write_hosts(hosts);
    }

    fn write_hosts(&mut self, hosts: &Hosts) {
        let Some(table) = &mut self.table else { return };
        let seconds = self.last.elapsed().as_secs_f64().max(1e-3);
        self.last = Instant::now();
        self.before.resize(hosts.iter().count(), 0);
        let rows = hosts.iter().zip(&mut self.before).map(|(host, before)| {
            let tally = &host.tally;
            let more = tally.events - std::mem::replace(before, tally.events);
            stats::Host {
                name: &*host.name,
                state: HostState::Connected,
                events: tally.events,
                bytes: tally.bytes,
                rate_milli: (1e3 * more as f64 / seconds) as u64,
                seq: tally.seq,
                last_event_ns: tally.last_ns,
                lag_ns: None,
                failures: 0,
                first: tally.first,
                copies: tally.copies,
            }
        });
        match table.write(rows) {
            Ok(rows) => self.page.set_hosts(rows),
            // No room, most likely. A tool never fails for its statistics.
            Err(_) => {
                self.table = None;
                self.page.set_hosts(0);
            }
        }
    }
}
