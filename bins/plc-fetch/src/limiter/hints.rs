//! What a directory says about its limit in the head of an answer.
//!
//! | header | form |
//! |---|---|
//! | `Retry-After` | seconds, or a date (RFC 9110, 10.2.3) |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | numbers; reset in seconds, or unix seconds |
//! | `X-RateLimit-Limit`, `-Remaining`, `-Reset` | the same, older |
//! | `RateLimit-Policy` | `100;w=60`, or `"name";q=100;w=60` |
//! | `RateLimit` | `limit=100, remaining=7, reset=30`, or `"name";r=7;t=30` |

use std::time::Duration;

/// A reset above this is a point in time and not a number of seconds.
const UNIX_MIN: u64 = 1_000_000_000;

/// When to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) after: Duration,
    /// It was rounded to whole seconds.
    pub(crate) whole_seconds: bool,
}

/// What an answer said. All of it is optional, and none of it need be true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) retry: Option<Retry>,
    /// Requests that a window allows.
    pub(crate) limit: Option<u32>,
    /// Requests that are left of it.
    pub(crate) remaining: Option<u32>,
    /// How long until it begins anew.
    pub(crate) reset: Option<Duration>,
    /// How long it is.
    pub(crate) span: Option<Duration>,
}

impl Hints {
    /// Reads the headers of an answer, by lower-case name. `retry_after` is what the HTTP client
    /// made of `Retry-After`, `unix_s` the time of day.
    pub(crate) fn read<'a>(
        header: impl Fn(&str) -> Option<&'a str>,
        retry_after: Option<Duration>,
        unix_s: u64,
    ) -> Self {
        let retry = match retry_after {
            Some(after) => Some(Retry { after, whole_seconds: true }),
            // Not in the standard, and sent all the same.
            None => header("retry-after")
                .and_then(decimal)
                .map(|after| Retry { after, whole_seconds: false }),
        };
        let mut hints = Self { retry, ..Self::default() };
        let number = |name: &str| {
            let plain = header(name).or_else(|| header(name.strip_prefix("x-")?));
            plain.and_then(first_number)
        };
        hints.limit = number("x-ratelimit-limit").and_then(|limit| u32::try_from(limit).ok());
        hints.remaining = number("x-ratelimit-remaining").and_then(|left| u32::try_from(left).ok());
        let mut reset = number("x-ratelimit-reset");
        for (name, value) in header("ratelimit-policy").into_iter().flat_map(parameters) {
            match name {
                "" | "q" => hints.limit = u32::try_from(value).ok(),
                "w" => hints.span = Some(Duration::from_secs(value)),
                _ => {}
            }
        }
        for (name, value) in header("ratelimit").into_iter().flat_map(parameters) {
            match name {
                "limit" => hints.limit = u32::try_from(value).ok(),
                "r" | "remaining" => hints.remaining = u32::try_from(value).ok(),
                "t" | "reset" => reset = Some(value),
                _ => {}
            }
        }
        hints.reset = reset.map(|reset| match reset {
            UNIX_MIN.. => Duration::from_secs(reset.saturating_sub(unix_s)),
            _ => Duration::from_secs(reset),
        });
        hints.limit = hints.limit.filter(|limit| *limit > 0);
        hints.span = hints.span.filter(|span| !span.is_zero());
        hints
    }
}

fn decimal(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// The number that a header begins with: `100` and `100, 100;w=60`.
fn first_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// The first policy's parameters, a number that stands alone under no name.
fn parameters(text: &str) -> impl Iterator<Item = (&str, u64)> {
    // The older form of `RateLimit` has commas where the newer has semicolons.
    let older = !text.contains(';');
    let policy = if older { text } else { text.split(',').next().unwrap_or_default() };
    policy.split([';', ',']).filter_map(|part| {
        let (name, value) = part.split_once('=').unwrap_or(("", part));
        Some((name.trim(), value.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &'static str)]) -> Hints {
        let find =
            |name: &str| headers.iter().find(|(known, _)| *known == name).map(|found| found.1);
        Hints::read(find, None, 1_700_000_000)
    }

    #[test]
    fn the_common_forms_say_the_same() {
        let seconds = Duration::from_secs;
        let expected = Hints {
            retry: None,
            limit: Some(100),
            remaining: Some(7),
            reset: Some(seconds(30)),
            span: Some(seconds(60)),
        };
        for headers in [
            &[
                ("ratelimit-limit", "100"),
                ("ratelimit-remaining", "7"),
                ("ratelimit-reset", "30"),
                ("ratelimit-policy", "100;w=60"),
            ][..],
            &[
                ("x-ratelimit-limit", "100, 100;w=60"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", "1700000030"),
                ("ratelimit-policy", "100;w=60, 5000;w=3600"),
            ],
            &[
                ("ratelimit", "\"a\";r=7;t=30"),
                ("ratelimit-policy", "\"a\";q=100;w=60,\"b\";q=9;w=1"),
            ],
            &[("ratelimit", "limit=100, remaining=7, reset=30"), ("ratelimit-policy", "100;w=60")],
        ] {
            assert_eq!(read(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn nonsense_says_nothing() {
        for value in ["", "x", "-1", "99999999999999999999", "w=", ";;;", "=", "\"", "0;w=0"] {
            let hints = read(&[
                ("ratelimit", value),
                ("ratelimit-policy", value),
                ("x-ratelimit-limit", value),
                ("retry-after", value),
            ]);
            assert_eq!((hints.limit, hints.span, hints.reset), (None, None, None), "{value}");
        }
        assert_eq!(
            read(&[("retry-after", "0.25")]).retry,
            Some(Retry { after: Duration::from_millis(250), whole_seconds: false })
        );
    }
}
