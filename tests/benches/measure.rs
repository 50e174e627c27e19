//! Time that processes take, and how figures are shown.

use std::fmt;
use std::process::Child;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What some work took, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu: f64,
    /// From the first byte to the last.
    pub(crate) wall: f64,
}

/// Figures of several runs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn push(&mut self, figure: f64) {
        let at = self.0.partition_point(|other| *other < figure);
        self.0.insert(at, figure);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The figure below which this share of them lies.
    pub(crate) fn at(&self, share: f64) -> f64 {
        self.0[(self.0.len() as f64 * share) as usize]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        write!(f, "{:.digits$} ({least:.digits$} to {most:.digits$})", self.median())
    }
}

/// Waits for a child that must succeed; the CPU seconds it took.
///
/// The system counts a child's time when it is waited for, so children that run at the same time
/// are told apart by waiting for one after the other.
pub(crate) fn reap(what: &str, child: &mut Child) -> f64 {
    let before = cpu(UsageWho::RUSAGE_CHILDREN);
    let status = child.wait().expect("a child to wait for");
    assert!(status.success(), "{what} ended with {status}");
    cpu(UsageWho::RUSAGE_CHILDREN) - before
}

/// What work in this process takes.
pub(crate) fn own(work: impl FnOnce()) -> Cost {
    let (before, begun) = (cpu(UsageWho::RUSAGE_SELF), Instant::now());
    work();
    let wall = begun.elapsed().as_secs_f64();
    Cost { cpu: cpu(UsageWho::RUSAGE_SELF) - before, wall }
}

fn cpu(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("the usage of this process and its children");
    let microseconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64;
    (microseconds(usage.user_time()) + microseconds(usage.system_time())) / 1e6
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
