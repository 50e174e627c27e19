//! Numbers as a person takes them in at a glance: few digits, a unit, a width that is known.

const NS_PER_US: u64 = 1_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000_000_000;

/// A count with its thousands set apart, at most 10 characters (15 for absurd ones): `1,234`, `123M`.
pub(crate) fn count(n: u64) -> String {
    match n {
        0..100_000_000 => grouped(n),
        100_000_000..10_000_000_000 => format!("{}M", grouped(n / 1_000_000)),
        _ => format!("{}G", grouped(n / 1_000_000_000)),
    }
}

/// A count for a column, at most 7 characters: `3`, `12,345`, `1.2M`.
pub(crate) fn short(n: u64) -> String {
    match n {
        0..1_000_000 => grouped(n),
        _ => rate(n as f64),
    }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, at most 7 characters up to a million millions: `0`, `0.4`, `85`, `3,012`, `1.2M`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r.is_nan() || r <= 0.0 => "0".into(),
        r if r < 10.0 => format!("{r:.1}"),
        r if r < 999_999.5 => grouped(r.round() as u64),
        r if r < 1e9 => format!("{:.1}M", r / 1e6),
        r => format!("{:.1}G", r / 1e9),
    }
}

/// A span, at most 6 characters: `850ns`, `12us`, `1.2ms`, `4.1s`, `12m`, `3.1h`, `2d`.
pub(crate) fn span(ns: u64) -> String {
    let of = |unit: u64, name: &str| {
        let value = ns as f64 / unit as f64;
        let digits = usize::from(value < 9.95);
        format!("{value:.digits$}{name}")
    };
    match ns {
        0..NS_PER_US => format!("{ns}ns"),
        NS_PER_US..NS_PER_MS => of(NS_PER_US, "us"),
        NS_PER_MS..NS_PER_S => of(NS_PER_MS, "ms"),
        NS_PER_S..120_000_000_000 => of(NS_PER_S, "s"),
        120_000_000_000..7_200_000_000_000 => of(60 * NS_PER_S, "m"),
        7_200_000_000_000..172_800_000_000_000 => of(3_600 * NS_PER_S, "h"),
        _ => of(86_400 * NS_PER_S, "d"),
    }
}

/// A running time: `0:12:31`, `3d 4:05:06`.
pub(crate) fn clock(ns: u64) -> String {
    let seconds = ns / NS_PER_S;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60);
    if days == 0 { time } else { format!("{days}d {time}") }
}

/// A share of 0 to 1 in whole percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0}%", (share * 100.0).clamp(0.0, 100.0))
}

/// Words in a row: `a`, `a and b`, `a, b and c`.
pub(crate) fn and<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [only] => only.as_ref().into(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_few_digits() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([123_456_789, u64::MAX].map(count), ["123M", "18,446,744,073G"]);
        let rates = [0.0, f64::NAN, 0.44, 9.99, 85.2, 3_012.4, 999_999.4, 1.25e6, 3e9];
        let expected = ["0", "0", "0.4", "10.0", "85", "3,012", "999,999", "1.2M", "3.0G"];
        assert_eq!(rates.map(rate), expected);
    }

    #[test]
    fn numbers_in_columns_stay_narrow() {
        assert_eq!([3, 999_999, 1_250_000].map(short), ["3", "999,999", "1.2M"]);
    }

    #[test]
    fn spans_change_unit_before_they_grow_wide() {
        let spans = [0, 999, 1_200, 12_000, 999_999, 1_500_000, 340_000_000, 4_100_000_000];
        let expected = ["0ns", "999ns", "1.2us", "12us", "1000us", "1.5ms", "340ms", "4.1s"];
        assert_eq!(spans.map(span), expected);
        let spans = [119, 120, 7_199, 7_200, 172_799, 172_800].map(|s| span(s * NS_PER_S));
        assert_eq!(spans, ["119s", "2.0m", "120m", "2.0h", "48h", "2.0d"]);
        assert_eq!(clock(751 * NS_PER_S), "0:12:31");
        assert_eq!(clock((3 * 86_400 + 4 * 3_600 + 306) * NS_PER_S), "3d 4:05:06");
    }

    #[test]
    fn words_are_joined_as_in_a_sentence() {
        assert_eq!(
            [and(&["a"]), and(&["a", "b"]), and(&["a", "b", "c"])],
            ["a", "a and b", "a, b and c"]
        );
        assert_eq!(and::<&str>(&[]), "");
    }
}
