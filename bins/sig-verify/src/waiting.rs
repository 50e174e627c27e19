//! What is said to people while answers are waited for, and how often.

use std::time::{Duration, Instant};

use cli::Cli;

use crate::hold::Hold;
use crate::identity::Identities;

/// The pause between two lines about the same thing.
const EVERY: Duration = Duration::from_secs(10);

/// What was said last.
#[derive(Debug)]
pub(crate) struct Waiting {
    pressing: Option<Instant>,
    silence: Option<Instant>,
    /// Since when answers are counted, and how many there were before.
    since: Instant,
    answered: u64,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { pressing: None, silence: None, since: Instant::now(), answered: 0 }
    }
}

impl Waiting {
    /// Says that nothing is read until there are more answers.
    pub(crate) fn say_pressing(&mut self, cli: &Cli, hold: &Hold, identities: &Identities) {
        if !is_due(&mut self.pressing) {
            return;
        }
        let spent = self.since.elapsed().as_secs_f64().max(0.001);
        let answered = identities.answered();
        let rate = (answered - self.answered) as f64 / spent;
        let (events, accounts) = (hold.events(), hold.accounts());
        let hint = if identities.has_index() { "" } else { "; an index would help" };
        cli.warn(format_args!(
            "resolving {rate:.0}/s, {accounts} accounts waiting with {events} events; reading \
             pauses until there is room{hint}"
        ));
        (self.since, self.answered) = (Instant::now(), answered);
    }

    /// Says why a question had no answer, if there is something new to say.
    pub(crate) fn say_silence(&mut self, cli: &Cli, identities: &Identities) {
        let is_early = self.silence.is_some_and(|last| last.elapsed() < EVERY);
        if !is_early && let Some(why) = identities.why() {
            self.silence = Some(Instant::now());
            cli.warn(format_args!("no answer: {why}"));
        }
    }
}

fn is_due(last: &mut Option<Instant>) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= EVERY);
    if due {
        *last = Some(Instant::now());
    }
    due
}
