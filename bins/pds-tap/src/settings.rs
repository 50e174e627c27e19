//! How patient the tap is.

use std::time::Duration;

use net::Policy;

use crate::budget::CrowdLimits;
use crate::cursor::Patience;

/// What to do about a host that has begun anew, at seq 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnReset {
    /// Begin a new epoch of it, from the start of its window
    Epoch,
    /// Leave it alone until a person has looked
    Stop,
}

/// How much of a message has to come each second, beyond the time that any may take.
pub(crate) const MESSAGE_BYTES_PER_SECOND_MIN: u64 = 16 << 10;

/// The settings of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Which addresses may be used.
    pub(crate) policy: Policy,
    /// Leave when all hosts have been silent that long.
    pub(crate) until_idle: Option<Duration>,
    /// Leave after that long.
    pub(crate) run_for: Option<Duration>,
    /// Leave when that many bytes have been written.
    pub(crate) bytes_max: Option<u64>,
    /// What to do about a host that begins anew, and how sure to be that it did.
    pub(crate) on_reset: OnReset,
    pub(crate) patience: Patience,
    /// The first pause before a host is tried again.
    pub(crate) retry: Duration,
    /// A host silent that long is asked whether it is there, and has then that long to answer.
    pub(crate) ping: Duration,
    pub(crate) answer: Duration,
    /// How long an address may take until the WebSocket is open.
    pub(crate) connect: Duration,
    /// How long a message may take to arrive, before its length is counted.
    pub(crate) grace: Duration,
    /// How many new names are taken up a day.
    pub(crate) new_names: u32,
    /// How many connections an address and a domain may have.
    pub(crate) crowd: CrowdLimits,
    /// How fast a PDS may speak if that was asked for, and for how many accounts; 0 is no limit.
    pub(crate) events_a_second: Option<u32>,
    pub(crate) rate_over: Duration,
    pub(crate) accounts: u64,
    /// How much memory all unfinished messages may hold.
    pub(crate) unfinished: usize,
    /// The time between two listings of a relay.
    pub(crate) discover: Duration,
}

#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            until_idle: None,
            run_for: None,
            bytes_max: None,
            on_reset: OnReset::Epoch,
            patience: Patience { times: 3, span: Duration::from_secs(180) },
            retry: Duration::from_secs(1),
            ping: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            connect: Duration::from_secs(20),
            grace: Duration::from_secs(60),
            new_names: 20_000,
            crowd: CrowdLimits::default(),
            events_a_second: None,
            rate_over: Duration::from_secs(600),
            accounts: 4_000_000,
            unfinished: 256 << 20,
            discover: Duration::from_secs(3600),
        }
    }
}
