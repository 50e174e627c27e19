//! Times in the one form that nearly all servers write, `2026-08-01T12:34:56.789Z`, as
//! milliseconds since 1970 and back. Others are left to a library.

/// Characters of a time in that form.
const CHARS: usize = 24;
const DAY_MS: i64 = 86_400_000;
/// Days from 1 March of the year 0 to 1970: years are counted from March here, so that the day that
/// is not always there is the last.
const TO_1970: i64 = 719_468;

/// The milliseconds of a time in exactly that form, of the years 0 to 9999 of the Gregorian
/// calendar. The second 60 is left to who knows leap seconds.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let text: &[u8; CHARS] = text.as_bytes().try_into().ok()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', rest @ ..] = text else { return None };
    let [h1, h2, b':', n1, n2, b':', s1, s2, b'.', t1, t2, t3, b'Z'] = rest else { return None };
    let mut good = true;
    let mut number = |digits: &[&u8]| {
        digits.iter().fold(0i64, |number, digit| {
            let value = digit.wrapping_sub(b'0');
            good &= value < 10;
            number * 10 + i64::from(value)
        })
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2]));
    let (hour, minute, second) = (number(&[h1, h2]), number(&[n1, n2]), number(&[s1, s2]));
    let thousandth = number(&[t1, t2, t3]);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    let date = (1..=days_in_month).contains(&day);
    if !(good && date && hour < 24 && minute < 60 && second < 60) {
        return None;
    }
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let day = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_1970;
    Some(((day * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + thousandth)
}

/// Appends the time; `None` outside of the years 0 to 9999.
pub fn put(out: &mut Vec<u8>, ms: i64) -> Option<()> {
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

/// The date of a day since 1970.
fn civil(day: i64) -> Option<(i64, i64, i64)> {
    let day = day.checked_add(TO_1970)?;
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
