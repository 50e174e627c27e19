//! As much of an event as has to be known to hand it on: what it is and its seq.
//!
//! Whether the event holds together is for later stages to judge, with a verdict that can be
//! seen. Only what has no readable seq can't be handed on.

use atproto::cbor::Reader;
use atproto::event::{self, Event};

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope<'a> {
    /// An event of any type, known or not. Its account and its time, if it says so where events do.
    Event { seq: u64, did: Option<&'a str>, time: Option<&'a str> },
    /// `#info`.
    Info { name: &'a str, message: Option<&'a str> },
    /// An error, behind which the host closes.
    Error { error: &'a str, message: Option<&'a str> },
}

/// Reads an envelope. `None` when it can't be read.
pub(crate) fn read(body: &[u8]) -> Option<Envelope<'_>> {
    if let Some(event) = event(body) {
        return Some(event);
    }
    match event::parse(body).ok()? {
        Event::Info { name, message } => Some(Envelope::Info { name, message }),
        Event::ErrorFrame { error, message } => Some(Envelope::Error { error, message }),
        _ => None,
    }
}

/// The seq of an event, whose it is and of when. They stand near the front: DAG-CBOR sorts short
/// keys first, so that `did` comes before `seq`, and `repo` and `time` right behind it.
fn event(body: &[u8]) -> Option<Envelope<'_>> {
    let mut reader = Reader::new(body);
    let mut header = reader.map().ok()?;
    let (mut op, mut typed) = (None, false);
    while let Some(key) = header.next_key(&mut reader).ok()? {
        match key {
            "op" => op = Some(reader.int().ok()?),
            "t" => typed = reader.text().ok()? != "#info",
            _ => reader.skip_value().ok()?,
        }
    }
    if op != Some(1) || !typed {
        return None;
    }
    let mut map = reader.map().ok()?;
    let (mut did, mut time) = (None, None);
    let seq = loop {
        match map.next_key(&mut reader).ok()?? {
            "did" => {
                let mut ahead = reader;
                did = ahead.text().ok();
                reader.skip_value().ok()?;
            }
            // The protocol's numbers are signed.
            "seq" => break u64::try_from(reader.int().ok()?).ok()?,
            _ => reader.skip_value().ok()?,
        }
    };
    while let Ok(Some(key @ ("repo" | "time"))) = map.next_key(&mut reader) {
        let place = if key == "repo" { &mut did } else { &mut time };
        let Ok(text) = reader.text() else { break };
        *place = Some(text);
    }
    Some(Envelope::Event { seq, did, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// {"op": 1, "t": "#x"} and a map of one-letter-prefixed text, for short cases.
    fn event(t: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xa2, 0x61, b't', 0x60 | t.len() as u8];
        bytes.extend_from_slice(t.as_bytes());
        bytes.extend_from_slice(&[0x62, b'o', b'p', 0x01]);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn an_event_of_any_type_is_handed_on_by_its_seq() {
        // {"seq": 300}, and behind it whatever there is.
        let body = [0xa2, 0x63, b's', b'e', b'q', 0x19, 0x01, 0x2c, 0xff];
        for t in ["#commit", "#account", "#x"] {
            let expected = Some(Envelope::Event { seq: 300, did: None, time: None });
            assert_eq!(read(&event(t, &body)), expected);
        }
    }

    #[test]
    fn an_event_says_whose_it_is_and_of_when() {
        let commit = b"\xa4\x63rev\x61r\x63seq\x05\x64repo\x69did:web:a\x64time\x61t";
        let account = b"\xa3\x63did\x69did:web:a\x63seq\x05\x64time\x61t";
        let expected = Envelope::Event { seq: 5, did: Some("did:web:a"), time: Some("t") };
        assert_eq!(read(&event("#commit", commit)), Some(expected));
        assert_eq!(read(&event("#account", account)), Some(expected));
        // Cut off behind the seq it is an event all the same: that is for later stages to judge.
        let expected = Envelope::Event { seq: 5, did: None, time: None };
        assert_eq!(read(&event("#commit", &commit[..12])), Some(expected));
    }

    #[test]
    fn info_and_errors_are_told_apart() {
        let info = event("#info", b"\xa1\x64name\x6eOutdatedCursor");
        let expected = Envelope::Info { name: "OutdatedCursor", message: None };
        assert_eq!(read(&info), Some(expected));
        let error = b"\xa1\x62op\x20\xa2\x65error\x6cFutureCursor\x67message\x62no";
        let expected = Envelope::Error { error: "FutureCursor", message: Some("no") };
        assert_eq!(read(error), Some(expected));
    }

    #[test]
    fn garbage_is_not_read() {
        for bytes in [
            &b""[..],
            b"garbage",
            &[0xff; 100],
            &event("#commit", b""),
            &event("#commit", b"\xa0"),
            &event("#commit", b"\xa1\x63seq\x20"),
            &event("#commit", b"\xa1\x63seq\x61x"),
            &event("#info", b"\xa1\x63seq\x01"),
        ] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
