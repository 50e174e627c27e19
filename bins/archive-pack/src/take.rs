//! Which events are taken. An event that is not proved is never stored as if it were: its verdict
//! stays with it.

use cli::Cli;
use frame::Frame;
use frame::verdict::{self, Status};
use stats::Counter;

/// A verdict that may be taken besides `ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Take {
    /// Proved; always taken
    Ok,
    /// Not decided
    Unchecked,
    /// Refused by a rule
    Refused,
}

/// What is not taken, counted.
pub(crate) struct Refusals<'c> {
    cli: &'c Cli,
    all: bool,
    unchecked: bool,
    refused: bool,
    counted: [u64; 3],
    counters: [Counter; 3],
    warned: bool,
}

/// What the counts are called, on the stats page and in the summary.
const NAMES: [&str; 3] = ["refused", "unchecked", "none"];

impl<'c> Refusals<'c> {
    pub(crate) fn new(cli: &'c Cli, all: bool, take: &[Take]) -> Refusals<'c> {
        Refusals {
            cli,
            all,
            unchecked: take.contains(&Take::Unchecked),
            refused: take.contains(&Take::Refused),
            counted: [0; 3],
            counters: ["not-taken-refused", "not-taken-unchecked", "not-taken-no-verdict"]
                .map(|name| cli.stats().refusal(name)),
            warned: false,
        }
    }

    /// Whether an event is to be stored; counted if not.
    pub(crate) fn takes(&mut self, frame: &Frame<'_>) -> bool {
        if self.all {
            return true;
        }
        // A verdict that can't be read proves nothing.
        let verdict = verdict::read(frame).ok().flatten();
        let (taken, index) = match verdict.map(|verdict| verdict.status) {
            Some(Status::Ok) => return true,
            Some(Status::Refused) => (self.refused, 0),
            Some(Status::Unchecked) => (self.unchecked, 1),
            None => (false, 2),
        };
        if taken {
            return true;
        }
        for (at, (counted, counter)) in self.counted.iter_mut().zip(&self.counters).enumerate() {
            if at == index {
                *counted += 1;
                counter.add(1);
            }
        }
        self.cli.stats().refused(1);
        if verdict.is_none() && !self.warned {
            self.warned = true;
            self.cli.warn(format_args!(
                "events without a verdict are not stored: put sig-verify before archive-pack, or \
                 store them with --unproved"
            ));
        }
        false
    }

    /// The counts by name.
    pub(crate) fn counts(&self) -> serde_json::Map<String, serde_json::Value> {
        NAMES.into_iter().map(str::to_owned).zip(self.counted.map(Into::into)).collect()
    }
}
