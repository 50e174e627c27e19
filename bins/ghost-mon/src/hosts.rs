//! The hosts of a tool that listens to many: how many stand how, and which stand out.

use std::cmp::Ordering;

use cli::units::show_bytes;
use serde::Serialize;
use stats::{Host, HostState};

use crate::figures::{and, count, rate, short, span};
use crate::style::{Line, Paint};

/// Hosts that are named as the loudest, and as the slowest.
const NAMED: usize = 5;
/// The longest name in a list; of a longer one the end is shown, which tells more.
const NAME_CELLS: usize = 30;

/// The order of a list of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those that send most first; of those that are silent, those that have said most.
    #[default]
    Loudest,
    /// Those whose events are oldest when they come first.
    Slowest,
    /// Those that can't be reached first.
    Dead,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Loudest => Self::Slowest,
            Self::Slowest => Self::Dead,
            Self::Dead => Self::Loudest,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Loudest => "loudest",
            Self::Slowest => "slowest",
            Self::Dead => "dead",
        }
    }

    fn compare(self, a: &Host, b: &Host) -> Ordering {
        let keys = |host: &Host| match self {
            Self::Loudest => (host.rate_milli, host.events),
            Self::Slowest => (host.lag_ns.unwrap_or(0), 0),
            Self::Dead => (trouble(host), host.failures),
        };
        keys(b).cmp(&keys(a)).then_with(|| a.name.cmp(&b.name))
    }

    /// So many hosts, those that come first in this order.
    pub(crate) fn first<'a>(
        self,
        hosts: impl Iterator<Item = &'a Host>,
        most: usize,
    ) -> Vec<&'a Host> {
        let mut hosts: Vec<_> = hosts.collect();
        if let Some(last) = most.checked_sub(1).filter(|last| *last < hosts.len()) {
            hosts.select_nth_unstable_by(last, |a, b| self.compare(a, b));
        }
        hosts.truncate(most);
        hosts.sort_unstable_by(|a, b| self.compare(a, b));
        hosts
    }
}

fn trouble(host: &Host) -> u64 {
    match host.state {
        HostState::Connected => 0,
        HostState::Waiting => 1,
        HostState::Refused => 2,
        HostState::Dead => 3,
    }
}

/// What there is to say of all hosts of a tool.
pub(crate) struct Roll<'a> {
    connected: usize,
    waiting: usize,
    dead: usize,
    refused: usize,
    /// Those that send most, those whose events are oldest when they come, and those that were
    /// tried most in vain, the most so first.
    loudest: Vec<&'a Host>,
    slowest: Vec<&'a Host>,
    lost: Vec<&'a Host>,
    /// Of a tool that tells copies: those that sent most of what had come before.
    copiers: Vec<&'a Host>,
}

impl<'a> Roll<'a> {
    /// Of these hosts, if there are any.
    pub(crate) fn of(hosts: &'a [Host]) -> Option<Self> {
        let standing = |state: HostState| hosts.iter().filter(move |host| host.state == state);
        let lag = |host: &Host| host.lag_ns.map_or(0, |lag| lag.saturating_add(1));
        (!hosts.is_empty()).then(|| Self {
            connected: standing(HostState::Connected).count(),
            waiting: standing(HostState::Waiting).count(),
            dead: standing(HostState::Dead).count(),
            refused: standing(HostState::Refused).count(),
            loudest: most(hosts.iter(), |host| host.rate_milli),
            slowest: most(standing(HostState::Connected), lag),
            lost: most(standing(HostState::Dead), |host| host.failures.saturating_add(1)),
            copiers: most(hosts.iter(), |host| host.copies),
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
        if !self.lost.is_empty() {
            let lost = named(&self.lost, |host| format!("({} tries)", count(host.failures)));
            lines.push(format!("dead {lost}"));
        }
        if !self.copiers.is_empty() {
            let copiers = named(&self.copiers, |host| {
                format!("{} (first with {})", count(host.copies), count(host.first))
            });
            lines.push(format!("copies {copiers}"));
        }
        lines.iter().map(|text| Line::of(rank, Paint::Dim, &format!("    {text}"))).collect()
    }
}

/// The hosts with the most of something, at most [`NAMED`] of them; those with nothing are left
/// out. One pass, for there may be ten thousand.
fn most<'a>(hosts: impl Iterator<Item = &'a Host>, of: fn(&Host) -> u64) -> Vec<&'a Host> {
    let mut top: Vec<&Host> = Vec::with_capacity(NAMED + 1);
    for host in hosts {
        let value = of(host);
        let least = top.last().filter(|_| top.len() == NAMED).map_or(0, |last| of(last));
        if value > least {
            top.insert(top.partition_point(|other| of(other) >= value), host);
            top.truncate(NAMED);
        }
    }
    top
}

fn per_second(host: &Host) -> f64 {
    host.rate_milli as f64 / 1e3
}

/// A list of hosts for people; one of them may be picked.
pub(crate) fn table(hosts: &[&Host], picked: Option<&str>, now_ns: u64, rank: u8) -> Vec<Line> {
    let mut head = format!(
        "    {:<NAME_CELLS$} {:<9} {:>7} {:>7} {:>6} {:>6} {:>5}",
        "host", "state", "in/s", "events", "lag", "last", "fails"
    );
    let tells_copies = hosts.iter().any(|host| is_told_of_copies(host));
    if tells_copies {
        head.push_str(&format!(" {:>7} {:>7}", "first", "copies"));
    }
    let row = |host: &&Host| {
        let skipped = host.name.chars().count().saturating_sub(NAME_CELLS);
        let name: String = host.name.chars().skip(skipped).collect();
        let last = match host.last_event_ns {
            0 => "-".into(),
            last => span(now_ns.saturating_sub(last)),
        };
        let lag = host.lag_ns.map_or("-".into(), span);
        let is_picked = picked == Some(host.name.as_str());
        let (mark, paint) = if is_picked { ("  > ", Paint::Bold) } else { ("    ", Paint::Plain) };
        let mut line = Line::of(rank, paint, &format!("{mark}{name:<NAME_CELLS$} "));
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
        if tells_copies {
            let copies = format!(" {:>7} {:>7}", short(host.first), short(host.copies));
            line.push(Paint::Plain, &copies);
        }
        line
    };
    let rows = hosts.iter().map(row);
    std::iter::once(Line::of(rank, Paint::Dim, &head)).chain(rows).collect()
}

/// All there is to say of one host.
pub(crate) fn about(host: &Host, now_ns: u64) -> Vec<(&'static str, String)> {
    let since = |ns: u64| match ns {
        0 => "never".into(),
        ns => format!("{} ago", span(now_ns.saturating_sub(ns))),
    };
    let mut about = vec![
        ("host", host.name.clone()),
        ("state", word(host.state).into()),
        ("rate", format!("{} events/s of late", rate(per_second(host)))),
        ("handed on", format!("{} events, {}", count(host.events), show_bytes(host.bytes))),
        ("seq", if host.seq == 0 { "-".into() } else { count(host.seq) }),
        ("last event", since(host.last_event_ns)),
        ("lag", host.lag_ns.map_or("-".into(), |lag| format!("{} when received", span(lag)))),
        ("failures", format!("{} attempts in a row", count(host.failures))),
    ];
    if is_told_of_copies(host) {
        let [first, copies] = [host.first, host.copies].map(count);
        about.push(("copies", format!("{copies} events, first of all with {first}")));
    }
    about
}

/// Whether its tool knows who was first, as dedupe does.
pub(crate) fn is_told_of_copies(host: &Host) -> bool {
    host.first > 0 || host.copies > 0
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
    lost: Vec<One<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copiers: Vec<One<'a>>,
}

impl<'a> From<Roll<'a>> for Hosts<'a> {
    fn from(roll: Roll<'a>) -> Self {
        let Roll { connected, waiting, dead, refused, .. } = roll;
        let [loudest, slowest, lost, copiers] =
            [roll.loudest, roll.slowest, roll.lost, roll.copiers]
                .map(|hosts| hosts.into_iter().map(One::from).collect());
        Self { connected, waiting, dead, refused, loudest, slowest, lost, copiers }
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
    first: Option<u64>,
    copies: Option<u64>,
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
            first: is_told_of_copies(host).then_some(host.first),
            copies: is_told_of_copies(host).then_some(host.copies),
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
        assert_eq!(names(&roll.lost), ["gone"]);
        assert_eq!(names(&Order::Loudest.first(hosts.iter(), 2)), ["h8", "h7"]);
        assert_eq!(names(&Order::Slowest.first(hosts.iter(), 3)), ["gone", "h8", "h7"]);
        assert_eq!(names(&Order::Dead.first(hosts.iter(), 2)), ["gone", "new"]);
        assert_eq!(Order::Dead.first(hosts.iter(), 0), Vec::<&Host>::new());
        assert_eq!(Order::Dead.first(hosts.iter(), 100).len(), 11);
        assert!(Roll::of(&[]).is_none());
    }

    #[test]
    fn who_sends_copies_and_who_is_first_is_shown_where_a_tool_knows_it() {
        let text = |lines: Vec<Line>| {
            let style = crate::style::Style { paint: false, unicode: false, cells: None };
            let mut text = String::new();
            lines.into_iter().for_each(|line| line.write(style, &mut text));
            text
        };
        let mut hosts = vec![host("a", HostState::Connected, 1, None)];
        assert!(!text(table(&[&hosts[0]], None, 0, 0)).contains("copies"));
        assert!(!text(Roll::of(&hosts).unwrap().lines(0)).contains("copies"));
        hosts.push(Host { first: 7, copies: 12, ..host("b", HostState::Connected, 1, None) });
        let shown = text(table(&hosts.iter().collect::<Vec<_>>(), None, 0, 0));
        assert!(shown.contains("first  copies") && shown.contains("      7      12"), "{shown}");
        let roll = Roll::of(&hosts).unwrap();
        assert!(text(roll.lines(0)).contains("copies b 12 (first with 7)"));
        let json = serde_json::to_value(Hosts::from(roll)).unwrap();
        assert_eq!(
            (&json["copiers"][0]["first"], &json["copiers"][0]["copies"]),
            (&7.into(), &12.into())
        );
        assert!(about(&hosts[1], 0).contains(&("copies", "12 events, first of all with 7".into())));
    }
}
