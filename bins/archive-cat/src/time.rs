//! A moment on the command line: one of the calendar, or how long ago.

use std::str::FromStr;

use cli::units::Span;

/// A moment, nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since(u64);

impl Since {
    pub(crate) fn ns(self) -> u64 {
        self.0
    }
}

/// The text is neither.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a time (2026-08-01T12:00:00Z) from 1970 on, and not a duration (90m, 2h, 3d)")]
pub(crate) struct NotTime;

impl FromStr for Since {
    type Err = NotTime;

    fn from_str(text: &str) -> Result<Since, NotTime> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return u64::try_from(time.as_nanosecond()).map(Since).map_err(|_| NotTime);
        }
        let Span(ago) = text.parse().map_err(|_| NotTime)?;
        let ago = u64::try_from(ago.as_nanos()).map_err(|_| NotTime)?;
        Ok(Since(cli::now_ns().saturating_sub(ago)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_told_apart() {
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Since(1_000_000_000)));
        assert_eq!("1970-01-01T02:00:01+02:00".parse(), Ok(Since(1_000_000_000)));
        let (hour, now) = (3_600_000_000_000, cli::now_ns());
        let Since(ago) = "1h".parse().unwrap();
        assert!(ago >= now - hour && ago <= cli::now_ns() - hour);
        for wrong in ["yesterday", "1960-01-01T00:00:00Z", "", "2026-08-01", "3w"] {
            assert_eq!(wrong.parse::<Since>(), Err(NotTime), "{wrong}");
        }
    }
}
