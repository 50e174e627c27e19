//! From a time to a number: where in a directory's sequence the operations of a time begin.
//!
//! Numbers are in the order of times but for operations that appeared late, so that a few dozen
//! questions for one operation each find the place. It need not be exact: what comes again is
//! known.

use crate::directory::{Answer, Directory};

/// So near is near enough: no more than a page comes again.
const NEAR: u64 = 500;

/// Looks for the number behind which everything from a time on lies; nothing if a signal came or
/// the directory stopped numbering.
pub(crate) fn number_before(
    directory: &mut Directory<'_>,
    time_ms: u64,
) -> anyhow::Result<Option<u64>> {
    // All numbers up to `low` are before the time, `high` is not.
    let (mut low, mut step) = (0_u64, NEAR);
    let mut high = loop {
        let at = low.saturating_add(step);
        match earlier(directory, at, time_ms)? {
            Some(true) => (low, step) = (at, step.saturating_mul(8)),
            Some(false) => break at,
            None => return Ok(None),
        }
    };
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match earlier(directory, middle, time_ms)? {
            Some(true) => low = middle,
            Some(false) => high = middle,
            None => return Ok(None),
        }
    }
    Ok(Some(low))
}

/// Whether the first operation behind a number is from before the time.
fn earlier(directory: &mut Directory<'_>, seq: u64, time_ms: u64) -> anyhow::Result<Option<bool>> {
    match directory.get(&format!("count=1&after={seq}"))? {
        Answer::Page(page) => match page.lines.first() {
            // There is nothing behind it.
            None => Ok(Some(false)),
            Some(line) if line.seq.is_none() => Ok(None),
            Some(line) => Ok(Some(line.created_ms < time_ms)),
        },
        Answer::Unasked | Answer::Stopped => Ok(None),
    }
}
