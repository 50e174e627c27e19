//! The hosts of a tool that listens to many: how many stand how, and which stand out.

use std::cmp::Reverse;

use serde::Serialize;
use stats::{Host, HostState};

use crate::figures::{and, count, rate, short, span};
use crate::style::{Line, Paint};

/// Hosts that are named as the loudest, and as the slowest.
const NAMED: usize = 5;
/// The longest name in a list; of a longer one the end is shown, which tells more.
const NAME_CELLS: usize = 32;

/// What there is to say of all hosts of a tool.
pub(crate) struct Roll<'a> {
    connected: usize,
    waiting: usize,
    dead: usize,
    refused: usize,
    /// Those that send most, and those whose events are oldest when they come, the most so first.
    loudest: Vec<&'a Host>,
    slowest: Vec<&'a Host>,
}

impl<'a> Roll<'a> {
    /// Of these hosts, if there are any.
    pub(crate) fn of(hosts: &'a [Host]) -> Option<Self> {
        let standing = |state: HostState| hosts.iter().filter(|host| host.state == state).count();
        let connected = hosts.iter().filter(|host| host.state == HostState::Connected);
        let lagging = connected.filter(|host| host.lag_ns.is_some());
        (!hosts.is_empty()).then(|| Self {
            connected: standing(HostState::Connected),
            waiting: standing(HostState::Waiting),
            dead: standing(HostState::Dead),
            refused: standing(HostState::Refused),
            loudest: most(hosts.iter().filter(|host| host.rate_milli > 0), |host| host.rate_milli),
            slowest: most(lagging, |host| host.lag_ns.unwrap_or(0)),
        })
    }

    /// The same in words.
    pub(crate) fn lines(&self, rank: u8) -> Vec<Line> {
        let shown = [
            (self.connected, "connected"),
            (self.waiting, "waiting"),
            (self.dead, "dead"),
            (self.refused, "refused"),
        ];
        let shown = shown.iter().filter(|(hosts, word)| *hosts > 0 || *word != "refused");
        let shown: Vec<_> =
            shown.map(|(hosts, word)| format!("{} {word}", count(*hosts as u64))).collect();
        let mut lines = vec![format!("hosts {}", shown.join(", "))];
        let named = |hosts: &[&Host], figure: fn(&Host) -> String| {
            let named = hosts.iter().map(|host| format!("{} {}", host.name, figure(host)));
            and(&named.collect::<Vec<_>>())
        };
        if !self.loudest.is_empty() {
            let loudest = named(&self.loudest, |host| format!("{}/s", rate(per_second(host))));
            lines.push(format!("loudest {loudest}"));
        }
        if !self.slowest.is_empty() {
            let slowest = named(&self.slowest, |host| span(host.lag_ns.unwrap_or(0)));
            lines.push(format!("slowest {slowest} behind"));
        }
        lines.iter().map(|text| Line::of(rank, Paint::Dim, &format!("    {text}"))).collect()
    }
}

/// The hosts with the most of something, at most [`NAMED`] of them.
fn most<'a>(hosts: impl Iterator<Item = &'a Host>, of: fn(&Host) -> u64) -> Vec<&'a Host> {
    let mut hosts: Vec<_> = hosts.collect();
    hosts.sort_by_key(|host| (Reverse(of(host)), host.name.as_str()));
    hosts.truncate(NAMED);
    hosts
}

fn per_second(host: &Host) -> f64 {
    host.rate_milli as f64 / 1e3
}

/// So many hosts, the loudest first; of those that are silent, those that have said most.
pub(crate) fn listed(hosts: &[Host], most: usize) -> Vec<&Host> {
    let mut hosts: Vec<_> = hosts.iter().collect();
    hosts.sort_by_key(|host| (Reverse(host.rate_milli), Reverse(host.events), host.name.as_str()));
    hosts.truncate(most);
    hosts
}

/// A list of hosts for people.
pub(crate) fn table(hosts: &[&Host], now_ns: u64, rank: u8) -> Vec<Line> {
    let head = format!(
        "    {:<NAME_CELLS$} {:<9} {:>7} {:>7} {:>6} {:>6} {:>5}",
        "host", "state", "in/s", "events", "lag", "last", "fails"
    );
    let row = |host: &&Host| {
        let skipped = host.name.chars().count().saturating_sub(NAME_CELLS);
        let name: String = host.name.chars().skip(skipped).collect();
        let last = match host.last_event_ns {
            0 => "-".into(),
            last => span(now_ns.saturating_sub(last)),
        };
        let lag = host.lag_ns.map_or("-".into(), span);
        let mut line = Line::of(rank, Paint::Plain, &format!("    {name:<NAME_CELLS$} "));
        let paint = match host.state {
            HostState::Connected => Paint::Good,
            HostState::Waiting => Paint::Warn,
            HostState::Dead | HostState::Refused => Paint::Bad,
        };
        line.push(paint, &format!("{:<9} ", word(host.state)));
        line.push(
            Paint::Plain,
            &format!(
                "{:>7} {:>7} {lag:>6} {last:>6} {:>5}",
                rate(per_second(host)),
                short(host.events),
                short(host.failures)
            ),
        );
        line
    };
    let rows = hosts.iter().map(row);
    std::iter::once(Line::of(rank, Paint::Dim, &head)).chain(rows).collect()
}

/// A host's state in a word.
pub(crate) fn word(state: HostState) -> &'static str {
    match state {
        HostState::Waiting => "waiting",
        HostState::Connected => "connected",
        HostState::Dead => "dead",
        HostState::Refused => "refused",
    }
}

/// The hosts of a tool, for scripts.
#[derive(Serialize)]
pub(crate) struct Hosts<'a> {
    connected: usize,
    waiting: usize,
    dead: usize,
    refused: usize,
    loudest: Vec<One<'a>>,
    slowest: Vec<One<'a>>,
}

impl<'a> From<Roll<'a>> for Hosts<'a> {
    fn from(roll: Roll<'a>) -> Self {
        let Roll { connected, waiting, dead, refused, loudest, slowest } = roll;
        let [loudest, slowest] =
            [loudest, slowest].map(|hosts| hosts.into_iter().map(One::from).collect());
        Self { connected, waiting, dead, refused, loudest, slowest }
    }
}

/// A host, for scripts.
#[derive(Serialize)]
pub(crate) struct One<'a> {
    host: &'a str,
    state: &'static str,
    events: u64,
    bytes: u64,
    events_per_s: f64,
    seq: Option<u64>,
    last_event_ns: Option<u64>,
    lag_ns: Option<u64>,
    failures: u64,
}

impl<'a> From<&'a Host> for One<'a> {
    fn from(host: &'a Host) -> Self {
        let known = |number: u64| (number > 0).then_some(number);
        Self {
            host: &host.name,
            state: word(host.state),
            events: host.events,
            bytes: host.bytes,
            events_per_s: per_second(host),
            seq: known(host.seq),
            last_event_ns: known(host.last_event_ns),
            lag_ns: host.lag_ns,
            failures: host.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, state: HostState, rate_milli: u64, lag_ns: Option<u64>) -> Host {
        Host { name: name.into(), state, rate_milli, lag_ns, ..Host::default() }
    }

    #[test]
    fn the_loudest_and_the_slowest_are_named_and_the_dead_are_neither() {
        use HostState::{Connected, Dead, Waiting};
        let mut hosts: Vec<_> =
            (0..9).map(|n| host(&format!("h{n}"), Connected, n * 1000, Some(n))).collect();
        hosts.push(host("gone", Dead, 0, Some(1_000)));
        hosts.push(host("new", Waiting, 0, None));
        let roll = Roll::of(&hosts).unwrap();
        let names = |hosts: &[&Host]| hosts.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
        assert_eq!((roll.connected, roll.waiting, roll.dead, roll.refused), (9, 1, 1, 0));
        assert_eq!(names(&roll.loudest), ["h8", "h7", "h6", "h5", "h4"]);
        assert_eq!(names(&roll.slowest), names(&roll.loudest));
        assert_eq!(names(&listed(&hosts, 2)), ["h8", "h7"]);
        assert!(Roll::of(&[]).is_none());
    }
}
