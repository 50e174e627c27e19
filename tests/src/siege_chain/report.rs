//! What a siege of the chain came to: Markdown for people, JSON for scripts.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::ChainSiege;
use super::stored::Stored;
use crate::machine;

/// What was seen.
#[derive(Debug, Clone)]
pub struct ChainReport {
    /// What was laid.
    pub siege: ChainSiege,
    /// Events sent, with their copies.
    pub sent: u64,
    /// Good events, each counted once.
    pub good: u64,
    /// False ones.
    pub forged: u64,
    /// How often the chain was started.
    pub starts: usize,
    /// When which stage was killed.
    pub kills: Vec<(Duration, &'static str)>,
    /// From the first start until the archive had taken the last event.
    pub took: Duration,
    /// From the last event until then.
    pub behind: Duration,
    /// Seconds, and events that the tap had not handed on; empty if stages were killed.
    pub backlog: Vec<(u64, u64)>,
    /// What was found behind the chain.
    pub stored: Stored,
}

impl ChainReport {
    /// Whether every good event is stored once, nothing else is, and every false one was refused.
    pub fn is_exact(&self) -> bool {
        let Stored {
            events, lost, twice, foreign, refused_falsely, passed_falsely, refused, ..
        } = self.stored;
        lost + twice + foreign + refused_falsely + passed_falsely == 0
            && events == self.good
            && refused == self.forged
            && self.good + self.forged == self.siege.events
    }

    fn most_behind(&self) -> u64 {
        self.backlog.iter().map(|(_, events)| *events).max().unwrap_or(0)
    }

    /// The report as one object.
    pub fn json(&self) -> Value {
        let kills: Vec<Value> = self
            .kills
            .iter()
            .map(|(at, stage)| json!({ "at_s": at.as_secs_f64(), "stage": stage }))
            .collect();
        json!({
            "type": "siege-chain",
            "machine": machine(),
            "seed": self.siege.seed,
            "hosts": self.siege.hosts,
            "accounts": self.siege.accounts,
            "events": self.siege.events,
            "events_per_s": self.siege.rate,
            "events_sent": self.sent,
            "good": self.good,
            "forged": self.forged,
            "slower": self.siege.slowness,
            "kills": kills,
            "starts": self.starts,
            "stored": self.stored.events,
            "lost": self.stored.lost,
            "stored_twice": self.stored.twice,
            "foreign": self.stored.foreign,
            "refused_falsely": self.stored.refused_falsely,
            "refused_falsely_by": self.stored.false_rules,
            "forged_refused": self.stored.refused,
            "forged_stored": self.stored.passed_falsely,
            "took_s": self.took.as_secs_f64(),
            "behind_s": self.behind.as_secs_f64(),
            "backlog_max": self.most_behind(),
            "backlog": self.backlog,
        })
    }
}

impl fmt::Display for ChainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChainSiege { hosts, accounts, events, rate, slowness, seed, .. } = &self.siege;
        let stored = &self.stored;
        let title = match slowness {
            1 => "The whole chain under siege".to_owned(),
            parts => format!("The whole chain on a machine {parts} times slower"),
        };
        writeln!(f, "## {title}\n")?;
        writeln!(
            f,
            "{events} events of {accounts} accounts on {hosts} hosts, {rate} a second, each sent \
             twice; {}.\n",
            machine()
        )?;
        writeln!(f, "| what | events |\n|---|---|")?;
        writeln!(f, "| sent, with copies | {} |", self.sent)?;
        writeln!(f, "| good | {} |", self.good)?;
        writeln!(f, "| stored | {} |", stored.events)?;
        writeln!(f, "| lost | {} |", stored.lost)?;
        writeln!(f, "| stored twice | {} |", stored.twice)?;
        writeln!(f, "| stored and sent by nobody | {} |", stored.foreign)?;
        let by = match stored.false_rules.is_empty() {
            true => String::new(),
            false => format!(" ({})", stored.false_rules.join(", ")),
        };
        writeln!(f, "| refused falsely | {}{by} |", stored.refused_falsely)?;
        writeln!(f, "| forged | {} |", self.forged)?;
        writeln!(f, "| forged and refused | {} |", stored.refused)?;
        writeln!(f, "| forged and stored | {} |\n", stored.passed_falsely)?;
        if !self.kills.is_empty() {
            let kills: Vec<String> = self
                .kills
                .iter()
                .map(|(at, stage)| format!("{stage} at {:.1} s", at.as_secs_f64()))
                .collect();
            writeln!(f, "Killed (seed {seed}): {}. ", kills.join(", "))?;
            writeln!(f, "The chain was started {} times.\n", self.starts)?;
        }
        if *slowness > 1 {
            writeln!(
                f,
                "Each process of the chain was stopped (SIGSTOP) for {} of {slowness} parts of \
                 time. It was at most {} events (with copies) behind the hosts.\n",
                slowness - 1,
                self.most_behind()
            )?;
        }
        write!(
            f,
            "All was stored {:.1} s after the start, {:.1} s after the last event came to be.",
            self.took.as_secs_f64(),
            self.behind.as_secs_f64()
        )
    }
}
