//! An answer of `/export`: lines of JSON, taken apart as far as needed to keep them.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A line in it is no operation; this is no directory, or one of another kind.
    #[error("line {line} of the answer is no operation")]
    Line { line: usize, source: serde_json::Error },
    /// Its time is none.
    #[error("line {line} of the answer has no time in createdAt")]
    Time { line: usize },
    /// The last line breaks off: the answer was cut short on its way.
    #[error("the answer breaks off in its line {line}")]
    Cut { line: usize },
}

impl Error {
    /// Which line it is about, counted from 1.
    pub(crate) fn line(&self) -> usize {
        match self {
            Self::Line { line, .. } | Self::Time { line } | Self::Cut { line } => *line,
        }
    }
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it is, its end left out.
    pub(crate) place: Range<usize>,
    /// DID and CID, which name an operation.
    pub(crate) name: Box<str>,
    /// createdAt, unix milliseconds.
    pub(crate) created_ms: u64,
    /// Its number in the directory that gave it, if that numbers operations.
    pub(crate) seq: Option<u64>,
}

/// What is read of a line. The rest is kept and not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    cid: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    seq: Option<u64>,
}

/// Finds the lines of an answer.
pub(crate) fn lines(body: &[u8]) -> Result<Vec<Line>, Error> {
    let mut found = Vec::new();
    let mut at = 0;
    for (number, bytes) in body.split(|byte| *byte == b'\n').enumerate() {
        let place = at..at + bytes.len();
        at = place.end + 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line = number + 1;
        let fields: Fields<'_> = serde_json::from_slice(bytes).map_err(|source| {
            let last = place.end == body.len();
            if last && source.is_eof() { Error::Cut { line } } else { Error::Line { line, source } }
        })?;
        let created_ms = parse_ms(&fields.created_at).ok_or(Error::Time { line })?;
        let name = format!("{} {}", fields.did, fields.cid).into();
        found.push(Line { place, name, created_ms, seq: fields.seq });
    }
    Ok(found)
}

/// A time as the directory writes it, in unix milliseconds.
fn parse_ms(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// A time in the arguments.
pub(crate) fn time_ms(text: &str) -> Result<u64, &'static str> {
    parse_ms(text).ok_or("not a time such as 2026-01-31T00:00:00Z")
}

/// A time as the directory writes it.
pub(crate) fn show_ms(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| unix_ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_with_their_places_and_names() {
        let body = b"{\"did\":\"d\",\"cid\":\"c\",\"createdAt\":\"2026-01-01T00:00:00.001Z\",\"x\":[1]}\n\n\
            {\"createdAt\":\"2026-01-01T00:00:00.002Z\",\"cid\":\"e\",\"seq\":7,\"did\":\"d\"}";
        let lines = lines(body).unwrap();
        let names: Vec<&str> = lines.iter().map(|line| &*line.name).collect();
        assert_eq!(names, ["d c", "d e"]);
        assert_eq!(lines[1].created_ms - lines[0].created_ms, 1);
        assert_eq!([lines[0].seq, lines[1].seq], [None, Some(7)]);
        assert_eq!(&body[lines[1].place.clone()][..12], b"{\"createdAt\"");
        assert_eq!(lines[1].place.end, body.len());
        assert_eq!(show_ms(lines[0].created_ms), "2026-01-01T00:00:00.001Z");
    }

    #[test]
    fn an_answer_that_breaks_off_is_told_from_one_of_another_kind() {
        let whole = "{\"did\":\"d\",\"cid\":\"c\",\"createdAt\":\"2026-01-01T00:00:00.001Z\"}";
        let of = |text: String| lines(text.as_bytes()).unwrap_err();
        assert!(matches!(of(format!("{whole}\n{{\"did\":\"d")), Error::Cut { line: 2 }));
        assert!(matches!(of(format!("{{\"did\":\"d\n{whole}")), Error::Line { line: 1, .. }));
        assert!(matches!(of("<html>".into()), Error::Line { line: 1, .. }));
        assert!(matches!(of("{\"message\":\"x\"}".into()), Error::Line { line: 1, .. }));
        assert!(matches!(of(whole.replace("2026-01", "x")), Error::Time { line: 1 }));
        assert_eq!(lines(b"").unwrap(), []);
    }
}
