//! Times as lexicons write them, `2026-08-01T12:34:56.789Z`, as milliseconds since 1970.

/// Characters of a time in that form.
const CHARS: usize = 24;
const DAY_MS: i64 = 86_400_000;

/// The milliseconds of a time in exactly that form, from year 0 to 9999.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let bytes: &[u8; CHARS] = text.as_bytes().try_into().ok()?;
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range)?.iter().try_fold(0i64, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    let day = days(year, month, day);
    let ms = ((day * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + digits(20..23)?;
    // Whatever is not in order does not come back.
    let mut again = Vec::with_capacity(CHARS);
    put(&mut again, ms)?;
    (again == bytes).then_some(ms)
}

/// Appends the time; `None` outside of the years 0 to 9999.
pub(crate) fn put(out: &mut Vec<u8>, ms: i64) -> Option<()> {
    let (day, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(day)?;
    let mut number = |value: i64, width: u32, behind: u8| {
        for place in (0..width).rev() {
            out.push(b'0' + (value / 10i64.pow(place) % 10) as u8);
        }
        out.push(behind);
    };
    number(year, 4, b'-');
    number(month, 2, b'-');
    number(day, 2, b'T');
    number(rest / 3_600_000, 2, b':');
    number(rest / 60_000 % 60, 2, b':');
    number(rest / 1000 % 60, 2, b'.');
    number(rest % 1000, 3, b'Z');
    Some(())
}

/// Days since 1970 of a date in the Gregorian calendar; years begin in March, so that the day
/// that is not always there is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970.
fn civil(day: i64) -> Option<(i64, i64, i64)> {
    let day = day.checked_add(719_468)?;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_as_others_read_them() {
        assert_eq!(parse("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(parse("2000-02-29T12:00:00.001Z"), Some(951_825_600_001));
        assert_eq!(parse("2026-07-04T14:38:08.999Z"), Some(1_783_175_888_999));
        for wrong in ["2001-02-29T12:00:00.001Z", "2026-07-04T24:38:08.999Z", "2026-07-04", ""] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn times_come_back(ms in -62_167_219_200_000i64..253_402_300_800_000) {
            let mut out = Vec::new();
            put(&mut out, ms).unwrap();
            prop_assert_eq!(parse(std::str::from_utf8(&out).unwrap()), Some(ms));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String, ms: i64) {
            let _ = parse(&text);
            let _ = put(&mut Vec::new(), ms);
        }
    }
}
