//! Who came first: arrivals of both sides matched, and counted once they are settled.
//!
//! An event is settled when it can't change any more: `patience` after it first arrived on either
//! side. Not counted are events that first arrived before both sides had begun and settled down,
//! and those that were under way while the relay was not connected to: its silence says nothing
//! then. At the end, what has waited for less than its patience is left open.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use serde::Serialize;

use super::spread::Spread;
use super::{Arrival, News};
use crate::figures::{count, span};

/// Events that are open at one time. Beyond that the oldest are settled early.
const OPEN_MAX: usize = 1 << 20;

/// What counts as what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) patience_ns: u64,
    settle_ns: u64,
    tie_ns: u64,
}

impl Rules {
    pub(super) fn new(patience: Duration, settle: Duration, tie: Duration) -> Self {
        let ns = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self { patience_ns: ns(patience), settle_ns: ns(settle), tie_ns: ns(tie) }
    }
}

/// An event that has arrived on one side at least.
struct Open {
    did: Box<str>,
    rev: Box<str>,
    first_ns: u64,
    ours_ns: Option<u64>,
    received_ns: Option<u64>,
    theirs_ns: Option<u64>,
}

/// The score so far.
pub(super) struct Score {
    rules: Rules,
    log: Option<BufWriter<File>>,
    open: HashMap<[u8; 16], Open>,
    /// In the order in which they first arrived.
    order: VecDeque<[u8; 16]>,
    ours_began: Option<u64>,
    theirs_began: Option<u64>,
    /// Since when the relay is not connected to.
    blind_since: Option<u64>,
    /// Until when it was not, the last time, and from when on.
    blind: Option<(u64, u64)>,
    summary: Summary,
}

/// How it ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) seconds: f64,
    pub(super) wins: u64,
    pub(super) ties: u64,
    pub(super) losses: u64,
    pub(super) missed_by_us: u64,
    pub(super) missed_by_them: u64,
    /// Events that do not count, and copies that came again on the same side.
    pub(super) left_out: u64,
    pub(super) open: u64,
    pub(super) repeats: u64,
    pub(super) breaks: u64,
    /// Theirs behind ours, at the end of our chain and at its socket.
    pub(super) advantage: Spread,
    pub(super) at_socket: Spread,
}

#[derive(Serialize)]
struct LogLine<'a> {
    r#type: &'static str,
    did: &'a str,
    rev: &'a str,
    result: &'static str,
    ours_ns: Option<u64>,
    theirs_ns: Option<u64>,
    received_ns: Option<u64>,
    advantage_ns: Option<i64>,
}

impl Score {
    pub(super) fn new(rules: Rules, log: Option<BufWriter<File>>) -> Self {
        Self {
            rules,
            log,
            open: HashMap::new(),
            order: VecDeque::new(),
            ours_began: None,
            theirs_began: None,
            blind_since: None,
            blind: None,
            summary: Summary::default(),
        }
    }

    /// An event of ours has arrived.
    pub(super) fn ours(&mut self, arrival: Arrival) -> anyhow::Result<()> {
        self.ours_began.get_or_insert(arrival.arrived_ns);
        let (arrived_ns, received_ns) = (arrival.arrived_ns, arrival.received_ns);
        let open = self.opened(arrival)?;
        let is_first = open.ours_ns.is_none();
        if is_first {
            (open.ours_ns, open.received_ns) = (Some(arrived_ns), Some(received_ns));
        }
        self.summary.repeats += u64::from(!is_first);
        Ok(())
    }

    /// Something is new on the side of the relay.
    pub(super) fn theirs(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Nothing => {}
            News::Begun(at_ns) => {
                self.theirs_began.get_or_insert(at_ns);
                if let Some(since) = self.blind_since.take() {
                    self.blind = Some((since, at_ns));
                }
            }
            News::Broken(at_ns) => {
                self.summary.breaks += u64::from(self.theirs_began.is_some());
                self.blind_since.get_or_insert(at_ns);
            }
            News::Arrived(arrival) => {
                let arrived_ns = arrival.arrived_ns;
                let open = self.opened(arrival)?;
                let is_first = open.theirs_ns.is_none();
                open.theirs_ns.get_or_insert(arrived_ns);
                self.summary.repeats += u64::from(!is_first);
            }
        }
        Ok(())
    }

    fn opened(&mut self, arrival: Arrival) -> anyhow::Result<&mut Open> {
        let Arrival { identity, did, rev, arrived_ns, .. } = arrival;
        if !self.open.contains_key(&identity) {
            if self.order.len() >= OPEN_MAX {
                self.settle_first()?;
            }
            self.order.push_back(identity);
        }
        let open = self.open.entry(identity).or_insert(Open {
            did,
            rev,
            first_ns: arrived_ns,
            ours_ns: None,
            received_ns: None,
            theirs_ns: None,
        });
        // The two sides are told of in turns, so the first one told of may have come second.
        open.first_ns = open.first_ns.min(arrived_ns);
        Ok(open)
    }

    /// Settles all whose patience is over.
    pub(super) fn settle(&mut self, now_ns: u64) -> anyhow::Result<()> {
        let due_ns = now_ns.saturating_sub(self.rules.patience_ns);
        while let Some(open) = self.order.front().and_then(|first| self.open.get(first)) {
            if open.first_ns >= due_ns {
                break;
            }
            self.settle_first()?;
        }
        Ok(())
    }

    fn settle_first(&mut self) -> anyhow::Result<()> {
        let open = self.order.pop_front().and_then(|first| self.open.remove(&first));
        open.map_or(Ok(()), |open| self.judge(&open))
    }

    /// When both sides had begun, and settled down.
    fn began_ns(&self) -> Option<u64> {
        let begun = self.ours_began?.max(self.theirs_began?);
        Some(begun.saturating_add(self.rules.settle_ns))
    }

    /// Whether the relay was not connected to while this event was under way.
    fn was_blind(&self, first_ns: u64) -> bool {
        let until_ns = first_ns.saturating_add(self.rules.patience_ns);
        let overlaps = |from: u64, to: u64| from <= until_ns && first_ns <= to;
        self.blind_since.is_some_and(|since| overlaps(since, u64::MAX))
            || self.blind.is_some_and(|(from, to)| overlaps(from, to))
    }

    fn judge(&mut self, open: &Open) -> anyhow::Result<()> {
        let counts = self.began_ns().is_some_and(|began| open.first_ns >= began);
        let is_whole = open.ours_ns.is_some() && open.theirs_ns.is_some();
        if !counts || (!is_whole && self.was_blind(open.first_ns)) {
            self.summary.left_out += 1;
            return Ok(());
        }
        let behind = |ours: Option<u64>| {
            let (ours, theirs) = (ours?, open.theirs_ns?);
            let ns = i128::from(theirs) - i128::from(ours);
            Some(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
        };
        let advantage_ns = behind(open.ours_ns);
        let summary = &mut self.summary;
        let (result, counter) = match advantage_ns {
            Some(ns) if ns.unsigned_abs() <= self.rules.tie_ns => ("tie", &mut summary.ties),
            Some(0..) => ("win", &mut summary.wins),
            Some(_) => ("loss", &mut summary.losses),
            None if open.ours_ns.is_none() => ("missed-by-us", &mut summary.missed_by_us),
            None => ("missed-by-them", &mut summary.missed_by_them),
        };
        *counter += 1;
        if let Some(ns) = advantage_ns {
            summary.advantage.record(ns);
        }
        if let Some(ns) = behind(open.received_ns) {
            summary.at_socket.record(ns);
        }
        if let Some(log) = &mut self.log {
            let line = LogLine {
                r#type: "race",
                did: &open.did,
                rev: &open.rev,
                result,
                ours_ns: open.ours_ns,
                theirs_ns: open.theirs_ns,
                received_ns: open.received_ns,
                advantage_ns,
            };
            serde_json::to_writer(&mut *log, &line)?;
            log.write_all(b"\n")?;
        }
        Ok(())
    }

    /// How it stands, in a line.
    pub(super) fn line(&self) -> String {
        self.summary.line()
    }

    /// The end: what both have is settled, what one has not had its time for is left open.
    pub(super) fn end(mut self, now_ns: u64) -> anyhow::Result<Summary> {
        self.settle(now_ns)?;
        while let Some(first) = self.order.pop_front() {
            let Some(open) = self.open.remove(&first) else { continue };
            match open.ours_ns.is_some() && open.theirs_ns.is_some() {
                true => self.judge(&open)?,
                false => self.summary.open += 1,
            }
        }
        if let Some(log) = &mut self.log {
            log.flush()?;
        }
        let began_ns = self.began_ns().unwrap_or(now_ns);
        self.summary.seconds = now_ns.saturating_sub(began_ns) as f64 / 1e9;
        Ok(self.summary)
    }
}

#[derive(Serialize)]
struct Object {
    r#type: &'static str,
    seconds: f64,
    wins: u64,
    ties: u64,
    losses: u64,
    missed_by_us: u64,
    missed_by_them: u64,
    open: u64,
    left_out: u64,
    repeats: u64,
    breaks: u64,
    advantage: Percentiles,
    advantage_at_socket: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    count: u64,
    p50_ns: Option<i64>,
    p90_ns: Option<i64>,
    p99_ns: Option<i64>,
}

impl From<&Spread> for Percentiles {
    fn from(spread: &Spread) -> Self {
        Self {
            count: spread.count(),
            p50_ns: spread.percentile(0.5),
            p90_ns: spread.percentile(0.9),
            p99_ns: spread.percentile(0.99),
        }
    }
}

impl Summary {
    fn line(&self) -> String {
        let Self { wins, ties, losses, missed_by_us, missed_by_them, .. } = self;
        let all = wins + ties + losses;
        let share = if all == 0 { 0.0 } else { 100.0 * *wins as f64 / all as f64 };
        format!(
            "{} wins ({share:.1} %), {} ties, {} losses; missed by us {}, by them {}",
            count(*wins),
            count(*ties),
            count(*losses),
            count(*missed_by_us),
            count(*missed_by_them)
        )
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let of = |spread: &Spread| {
            let shown = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)].map(|(name, share)| {
                format!("{name} {}", spread.percentile(share).map_or("-".into(), signed))
            });
            shown.join(", ")
        };
        format!(
            "{}\n  advantage at the end of our chain: {}\n  advantage at our socket: {}\n  \
             {:.0} s; {} left open, {} left out, {} repeats, {} breaks of the relay's connection\n",
            self.line(),
            of(&self.advantage),
            of(&self.at_socket),
            self.seconds,
            count(self.open),
            count(self.left_out),
            count(self.repeats),
            count(self.breaks)
        )
    }

    /// For scripts.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let object = Object {
            r#type: "summary",
            seconds: (self.seconds * 1e3).round() / 1e3,
            wins: self.wins,
            ties: self.ties,
            losses: self.losses,
            missed_by_us: self.missed_by_us,
            missed_by_them: self.missed_by_them,
            open: self.open,
            left_out: self.left_out,
            repeats: self.repeats,
            breaks: self.breaks,
            advantage: (&self.advantage).into(),
            advantage_at_socket: (&self.at_socket).into(),
        };
        Ok(serde_json::to_string(&object)? + "\n")
    }
}

/// A span with its sign.
pub(super) fn signed(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "+" };
    format!("{sign}{}", span(ns.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn arrival(id: u8, arrived_ms: u64) -> Arrival {
        Arrival {
            identity: [id; 16],
            did: "did:plc:a".into(),
            rev: "r".into(),
            arrived_ns: arrived_ms * MS,
            received_ns: arrived_ms * MS - MS,
        }
    }

    /// Both sides begin at 1 s, nothing has to settle, patience is 10 s, 1 ms is a tie.
    fn score() -> Score {
        let second = Duration::from_secs(1);
        let mut score = Score::new(Rules::new(10 * second, Duration::ZERO, second / 1000), None);
        score.theirs(News::Begun(1_000 * MS)).unwrap();
        score.ours(arrival(255, 1_000)).unwrap();
        score.theirs(News::Arrived(arrival(255, 1_000))).unwrap();
        score
    }

    #[test]
    fn each_event_is_won_lost_tied_or_missed_once() {
        let mut score = score();
        score.ours(arrival(1, 2_000)).unwrap();
        score.ours(arrival(2, 2_000)).unwrap();
        score.ours(arrival(3, 2_050)).unwrap();
        score.ours(arrival(4, 2_050)).unwrap();
        score.ours(arrival(4, 2_060)).unwrap();
        score.theirs(News::Arrived(arrival(1, 2_030))).unwrap();
        score.theirs(News::Arrived(arrival(2, 2_001))).unwrap();
        score.theirs(News::Arrived(arrival(3, 2_000))).unwrap();
        score.theirs(News::Arrived(arrival(5, 2_000))).unwrap();
        let summary = score.end(20_000 * MS).unwrap();
        let Summary { wins, ties, losses, missed_by_us, missed_by_them, repeats, .. } = summary;
        assert_eq!((wins, ties, losses, missed_by_us, missed_by_them), (1, 2, 1, 1, 1));
        assert_eq!((repeats, summary.advantage.count()), (1, 4));
        assert_eq!(summary.seconds, 19.0);
    }

    #[test]
    fn what_had_no_time_is_open_and_what_no_side_could_see_does_not_count() {
        let mut score = score();
        score.theirs(News::Arrived(arrival(1, 500))).unwrap();
        score.theirs(News::Broken(3_000 * MS)).unwrap();
        score.ours(arrival(2, 4_000)).unwrap();
        score.theirs(News::Begun(5_000 * MS)).unwrap();
        score.settle(18_000 * MS).unwrap();
        score.ours(arrival(3, 18_000)).unwrap();
        let summary = score.end(19_000 * MS).unwrap();
        assert_eq!((summary.missed_by_us, summary.missed_by_them), (0, 0));
        assert_eq!((summary.left_out, summary.open, summary.breaks), (2, 1, 1));
        assert_eq!(summary.ties, 1);
    }
}
