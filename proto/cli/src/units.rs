//! Sizes and durations as people write them: `64MiB`, `10M`, `30s`, `72h`.

use std::str::FromStr;
use std::time::Duration;

/// Why a text is not a size or a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The number cannot be read.
    #[error("`{0}` is not a number with an optional suffix")]
    Number(String),
    /// The suffix is not one of the known ones.
    #[error("suffix `{found}` is not one of {known}")]
    Suffix {
        /// What stood behind the number.
        found: String,
        /// What may stand there.
        known: &'static str,
    },
    /// It does not fit.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// A number of bytes: plain, or with `K M G T` or `KiB MiB GiB TiB` (both are powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Bytes, Error> {
        let (number, suffix) = split(text);
        let unit = match suffix {
            "" | "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1_u64 << 40,
            _ => {
                return Err(Error::Suffix {
                    found: suffix.into(),
                    known: "K M G T KiB MiB GiB TiB",
                });
            }
        };
        let number: u64 = number.parse().map_err(|_| Error::Number(text.into()))?;
        number.checked_mul(unit).map(Bytes).ok_or_else(|| Error::TooLarge(text.into()))
    }
}

/// A duration: a number, whole or decimal, with `ms s m h d`; without a suffix it is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Span, Error> {
        let (number, suffix) = split(text);
        let seconds = match suffix {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(Error::Suffix { found: suffix.into(), known: "ms s m h d" }),
        };
        let number: f64 = number.parse().map_err(|_| Error::Number(text.into()))?;
        Duration::try_from_secs_f64(number * seconds)
            .map(Span)
            .map_err(|_| Error::TooLarge(text.into()))
    }
}

/// The number and what is behind it.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Bytes as people read them: `1.5 MiB`.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_024 => return format!("{bytes} B"),
        1_024..1_048_576 => (1_u64 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        1_073_741_824..1_099_511_627_776 => (1 << 30, "GiB"),
        _ => (1 << 40, "TiB"),
    };
    format!("{:.1} {name}", bytes as f64 / unit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_a_wrong_suffix_is_named() {
        assert_eq!("64".parse(), Ok(Bytes(64)));
        assert_eq!("64M".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("2GiB".parse(), Ok(Bytes(2 << 30)));
        assert!(
            matches!("3MB".parse::<Bytes>(), Err(Error::Suffix { found, .. }) if found == "MB")
        );
        assert!(matches!("".parse::<Bytes>(), Err(Error::Number(_))));
        assert!(matches!("99999999T".parse::<Bytes>(), Err(Error::TooLarge(_))));
        assert_eq!(show_bytes(1 << 20), "1.0 MiB");
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        assert_eq!("1.5".parse(), Ok(Span(Duration::from_millis(1500))));
        assert_eq!("250ms".parse(), Ok(Span(Duration::from_millis(250))));
        assert_eq!("72h".parse(), Ok(Span(Duration::from_secs(72 * 3600))));
        assert!("-1".parse::<Span>().is_err());
        assert!("1w".parse::<Span>().is_err());
    }
}
