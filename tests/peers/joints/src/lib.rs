//! What the benches of the joints share: clocks, and how figures are shown.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock, the same in every process.
pub fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| (time.tv_sec() as u64) * 1_000_000_000 + time.tv_nsec() as u64)
}

/// User and system seconds of this process, or of its children that have ended.
pub fn cpu_seconds(who: UsageWho) -> f64 {
    getrusage(who).map_or(0.0, |usage| {
        (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
    })
}

/// The median.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Says whether a goal was met.
pub fn goal(what: &str, figure: f64, least: f64) {
    let met = if figure >= least { "met" } else { "NOT met" };
    println!("goal: {what}: {figure:.2} (at least {least}): {met}");
}
