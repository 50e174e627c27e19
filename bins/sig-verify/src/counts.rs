//! What came of the events, for `ghost-mon` and for the last line of `-v`.

use cli::Cli;
use frame::verdict::{Rule, Status, Verdict};
use stats::Counter;

/// Rules have numbers below this; others are not counted by name.
const RULES_MAX: usize = 128;

/// Counts by outcome and rule.
pub(crate) struct Counts {
    proved: Counter,
    unchecked: Counter,
    answers: Counter,
    silences: Counter,
    /// By rule, of events refused and of those left unproved. Asked for when the rule occurs first,
    /// so that the page shows what happened.
    refused_by: Vec<Option<Counter>>,
    unproved_by: Vec<Option<Counter>>,
    events: u64,
    ok: u64,
    refused: u64,
}

impl Counts {
    pub(crate) fn new(cli: &Cli) -> Counts {
        let stats = cli.stats();
        Counts {
            proved: stats.named("proved"),
            unchecked: stats.named("unchecked"),
            answers: stats.named("answers"),
            silences: stats.named("no-answers"),
            refused_by: vec![None; RULES_MAX],
            unproved_by: vec![None; RULES_MAX],
            events: 0,
            ok: 0,
            refused: 0,
        }
    }

    /// Counts a verdict; `passed` says whether its event is passed on.
    pub(crate) fn count(&mut self, cli: &Cli, verdict: &Verdict, passed: bool) {
        self.events += 1;
        match verdict.status {
            Status::Ok => {
                self.ok += 1;
                self.proved.add(u64::from(verdict.key.is_some()));
            }
            Status::Refused => self.refused += 1,
            Status::Unchecked => self.unchecked.add(1),
        }
        if !passed || verdict.status == Status::Refused {
            cli.stats().refused(1);
        }
        let rule = verdict.rule.unwrap_or(Rule(0));
        let is_unproved = verdict.status == Status::Unchecked;
        let rules = if is_unproved { &mut self.unproved_by } else { &mut self.refused_by };
        if let Some(name) = rule.name()
            && let Some(counter) = rules.get_mut(usize::from(rule.0))
        {
            let stats = cli.stats();
            let make = || if is_unproved { stats.unproved(name) } else { stats.refusal(name) };
            counter.get_or_insert_with(make).add(1);
        }
    }

    /// Counts what came of a look-up.
    pub(crate) fn answer(&self, answered: bool) {
        if answered { &self.answers } else { &self.silences }.add(1);
    }

    /// Says it all, with `-v`.
    pub(crate) fn say(&self, cli: &Cli) {
        let Counts { events, ok, refused, .. } = self;
        let unchecked = events - ok - refused;
        cli.info(format_args!(
            "{events} events: {ok} ok, {refused} refused, {unchecked} unchecked"
        ));
    }
}
