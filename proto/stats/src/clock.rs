//! The two clocks of a page: one for dates, one for spans that other processes compare.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Time of day, unix ns.
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The machine's monotonic clock, in ns, which all processes share.
pub(crate) fn monotonic_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    let (seconds, ns) = (now.tv_sec().unsigned_abs(), now.tv_nsec().unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}
