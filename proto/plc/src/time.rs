//! Times as a directory writes them.

/// Reads an RFC 3339 time since 1970, in unix milliseconds.
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
    usual(text.as_bytes()).or_else(|| {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    })
}

/// The one form that directories write: `YYYY-MM-DDTHH:MM:SS.mmmZ`.
fn usual(text: &[u8]) -> Option<u64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', rest @ ..] = text else { return None };
    let [h1, h2, b':', n1, n2, b':', s1, s2, b'.', t1, t2, t3, b'Z'] = rest else { return None };
    let mut good = true;
    let mut number = |digits: &[&u8]| {
        digits.iter().fold(0u64, |number, digit| {
            let value = digit.wrapping_sub(b'0');
            good &= value < 10;
            number * 10 + u64::from(value)
        })
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2]));
    let (hour, minute, second) = (number(&[h1, h2]), number(&[n1, n2]), number(&[s1, s2]));
    let thousandth = number(&[t1, t2, t3]);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        _ => return None,
    };
    let date = year >= 1970 && (1..=days_in_month).contains(&day);
    // The second 60 is left to who knows leap seconds.
    if !(good && date && hour < 24 && minute < 60 && second < 60) {
        return None;
    }
    // A year that begins in March has its leap day at its end.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days - 719_468;
    Some(((since_1970 * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + thousandth)
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
