//! Times as a directory writes them.

/// Reads an RFC 3339 time since 1970, in unix milliseconds.
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
    let ms = match atproto::datetime::parse(text) {
        Some(ms) => ms,
        None => text.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
    };
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_library(text: &str) -> Option<u64> {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    }

    #[test]
    fn every_day_of_four_centuries() {
        let first: jiff::Timestamp = "1969-12-30T23:59:59.999Z".parse().unwrap();
        for day in 0..146_100 {
            let time = first + jiff::SignedDuration::from_hours(24 * day);
            let text = format!("{time:.3}");
            assert_eq!(unix_ms(&text), by_library(&text), "{text}");
        }
    }

    #[test]
    fn days_and_hours_that_are_none() {
        for text in [
            "2023-02-29T00:00:00.000Z",
            "2100-02-29T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z",
            "2024-00-01T00:00:00.000Z",
            "2024-04-31T00:00:00.000Z",
            "2024-04-00T00:00:00.000Z",
            "2024-04-01T24:00:00.000Z",
            "2024-04-01T00:60:00.000Z",
            "2024-04-01T00:00:00.0a0Z",
            "1969-12-31T23:59:59.999Z",
            "",
        ] {
            assert_eq!(unix_ms(text), None, "{text}");
        }
        assert_eq!(unix_ms("2024-02-29T12:00:00+02:00"), unix_ms("2024-02-29T10:00:00.000Z"));
    }

    proptest! {
        #[test]
        fn as_the_library_does(
            text in "[0-3][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z",
        ) {
            prop_assert_eq!(unix_ms(&text), by_library(&text));
        }
    }
}
