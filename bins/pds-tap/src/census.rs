//! The hosts as `ghost-mon` sees them: a row each, written once a second.

use std::time::{Duration, Instant};

use stats::{HostState, HostTable, Page};

use crate::host::{Host, State};

/// Over about how long the rate of a host is what it was of late.
const LATELY: Duration = Duration::from_secs(10);

/// The table, and what is remembered for it.
pub(crate) struct Census {
    page: Page,
    /// `None` where no table can be written.
    table: Option<HostTable>,
    rates: Vec<Rate>,
    taken: Instant,
}

/// How much a host sends.
#[derive(Clone, Copy, Default)]
struct Rate {
    events: u64,
    per_second: f64,
}

impl Rate {
    /// It has sent so many events in all, and this long after the last look.
    fn look(&mut self, events: u64, elapsed: Duration) {
        let more = events.saturating_sub(self.events);
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let weight = 1.0 - (-seconds / LATELY.as_secs_f64()).exp();
        self.per_second += (more as f64 / seconds - self.per_second) * weight;
        self.events = events;
    }
}

impl Census {
    /// A table beside that page.
    pub(crate) fn new(page: &Page) -> Self {
        let (page, table) = (page.clone(), page.host_table());
        Self { page, table, rates: Vec::new(), taken: Instant::now() }
    }

    /// Writes down how the hosts stand.
    pub(crate) fn take(&mut self, hosts: &[Host]) {
        let Some(table) = &mut self.table else { return };
        let elapsed = self.taken.elapsed();
        self.taken = Instant::now();
        self.rates.resize(hosts.len(), Rate::default());
        let rows = hosts.iter().zip(&mut self.rates).filter_map(|(host, rate)| {
            rate.look(host.events, elapsed);
            let state = match host.state() {
                State::Connected => HostState::Connected,
                State::Waiting => HostState::Waiting,
                State::Dead => HostState::Dead,
                State::Refused => HostState::Refused,
                State::Left => return None,
            };
            Some(stats::Host {
                name: host.name(),
                state,
                events: host.events,
                bytes: host.bytes,
                rate_milli: (rate.per_second * 1e3) as u64,
                seq: host.cursor.seq().unwrap_or(0),
                last_event_ns: host.last_ns,
                lag_ns: (host.last_ns > 0).then(|| host.lag.ns()),
                failures: u64::from(host.failures),
                ..stats::Host::default()
            })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_what_comes_and_fades_when_nothing_does() {
        let mut rate = Rate::default();
        (1..=60).for_each(|second| rate.look(second * 50, Duration::from_secs(1)));
        assert!((49.0..=50.0).contains(&rate.per_second), "{}", rate.per_second);
        (0..60).for_each(|_| rate.look(3000, Duration::from_secs(1)));
        assert!(rate.per_second < 0.2, "{}", rate.per_second);
    }
}
