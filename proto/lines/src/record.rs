//! A record as JSON: what is in it, for people and scripts.
//!
//! By the conventions of the network's data model: a link is `{"$link": "b..."}`,
//! bytes are `{"$bytes": "..."}` in base64 without padding. A record may be any
//! well-formed CBOR, so what JSON has no form for is shown as close as it goes:
//! NaN, infinities and `undefined` as `null`, unknown tags as what they are on,
//! broken UTF-8 with replacement characters, a key that is not text as the JSON of
//! that key inside a string, and a key that comes twice comes twice.

use std::io::Write as _;

use atproto::cbor::{Cause, DEPTH_MAX, Error};
use atproto::loose::{Item, Reader};
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD};

/// Appends a record to `out` as one JSON value in one line. After an error `out`
/// is as it was before.
pub fn record(out: &mut Vec<u8>, cbor: &[u8]) -> Result<(), Error> {
    let length = out.len();
    let mut reader = Reader::new(cbor);
    let written = value(out, &mut reader, DEPTH_MAX).and_then(|()| reader.end());
    if written.is_err() {
        out.truncate(length);
    }
    written
}

fn value(out: &mut Vec<u8>, reader: &mut Reader<'_>, depth: usize) -> Result<(), Error> {
    let offset = reader.position();
    let item = reader.item()?;
    let error = |cause| Err(Error { offset, cause });
    if depth == 0 && matches!(item, Item::Array(_) | Item::Map(_) | Item::Tag(_)) {
        return error(Cause::Depth);
    }
    match item {
        Item::Uint(value) => text(out, format_args!("{value}")),
        Item::Nint(value) => text(out, format_args!("{}", -1 - i128::from(value))),
        Item::Bool(value) => text(out, format_args!("{value}")),
        Item::Float(value) if value.is_finite() => text(out, format_args!("{value:?}")),
        Item::Null | Item::Float(_) | Item::Simple(_) => out.extend_from_slice(b"null"),
        Item::Bytes(value) => bytes(out, value),
        Item::Text(value) => string(out, value),
        Item::BytesOpen => bytes(out, &joined(reader, item)?),
        Item::TextOpen => string(out, &joined(reader, item)?),
        Item::Array(left) => array(out, reader, left, depth - 1)?,
        Item::Map(left) => map(out, reader, left, depth - 1)?,
        Item::Tag(42) => link(out, reader, depth - 1)?,
        Item::Tag(_) => value(out, reader, depth - 1)?,
        _ => return error(Cause::Reserved(0xff)),
    }
    Ok(())
}

fn array(
    out: &mut Vec<u8>,
    reader: &mut Reader<'_>,
    mut left: Option<u64>,
    depth: usize,
) -> Result<(), Error> {
    out.push(b'[');
    let mut first = true;
    while reader.more(&mut left) {
        comma(out, &mut first);
        value(out, reader, depth)?;
    }
    out.push(b']');
    Ok(())
}

fn map(
    out: &mut Vec<u8>,
    reader: &mut Reader<'_>,
    mut left: Option<u64>,
    depth: usize,
) -> Result<(), Error> {
    out.push(b'{');
    let mut first = true;
    while reader.more(&mut left) {
        comma(out, &mut first);
        let key = out.len();
        value(out, reader, depth)?;
        if out.get(key) != Some(&b'"') {
            let other = out.split_off(key);
            string(out, &other);
        }
        out.push(b':');
        value(out, reader, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// What a tag 42 is on: a CID, or else whatever it is.
fn link(out: &mut Vec<u8>, reader: &mut Reader<'_>, depth: usize) -> Result<(), Error> {
    let mut ahead = reader.clone();
    let Ok(Item::Bytes([0, cid @ ..])) = ahead.item() else {
        return value(out, reader, depth);
    };
    *reader = ahead;
    out.extend_from_slice(b"{\"$link\":\"b");
    let mut base32 = BASE32_NOPAD.encode(cid);
    // The form of version 0 is a bare SHA-256 multihash; as version 1 it is the
    // same CID with its codec, DAG-PB, in front.
    if cid.len() == 34 && cid.starts_with(&[0x12, 0x20]) {
        base32 = BASE32_NOPAD.encode(&[&[0x01, 0x70], cid].concat());
    }
    base32.make_ascii_lowercase();
    out.extend_from_slice(base32.as_bytes());
    out.extend_from_slice(b"\"}");
    Ok(())
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b"{\"$bytes\":\"");
    text(out, format_args!("{}", BASE64_NOPAD.encode_display(value)));
    out.extend_from_slice(b"\"}");
}

fn joined(reader: &mut Reader<'_>, open: Item<'_>) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    reader.chunks(open, |chunk| all.extend_from_slice(chunk))?;
    Ok(all)
}

fn string(out: &mut Vec<u8>, value: &[u8]) {
    // Writing to memory cannot fail, and a string has no error of its own.
    let _ = serde_json::to_writer(out, String::from_utf8_lossy(value).as_ref());
}

fn text(out: &mut Vec<u8>, value: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(value);
}

fn comma(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(cbor: &[u8]) -> String {
        let mut out = b"before ".to_vec();
        record(&mut out, cbor).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn links_and_bytes_have_their_own_forms() {
        let cid = atproto::Cid::raw(b"blob");
        let mut cbor = vec![0xa2, 0x61, b'b', 0x42, 0xff, 0xfe, 0x61, b'l', 0xd8, 42, 0x58, 37, 0];
        cbor.extend(cid.as_bytes());
        let want = format!("{{\"b\":{{\"$bytes\":\"//4\"}},\"l\":{{\"$link\":\"{cid}\"}}}}");
        assert_eq!(json(&cbor), want);
    }

    #[test]
    fn numbers_and_text_are_json() {
        for (cbor, want) in [
            (&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], "18446744073709551615"),
            (&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "-18446744073709551616"),
            (&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5"),
            (&[0xfb, 0x7e, 0x37, 0xe4, 0x3c, 0x88, 0, 0x75, 0x9c], "1e300"),
            (&[0x84, 0xf4, 0xf5, 0xf6, 0x20], "[false,true,null,-1]"),
            (&[0x63, b'"', b'\n', 0x7f], "\"\\\"\\n\u{7f}\""),
            (&[0x80], "[]"),
            (&[0xa0], "{}"),
        ] {
            assert_eq!(json(cbor), want);
        }
    }

    #[test]
    fn odd_values_come_as_close_as_json_goes() {
        for (cbor, want) in [
            (&[0xf9, 0x7e, 0x00][..], "null"),
            (&[0xf9, 0x3e, 0x00], "1.5"),
            (&[0xf7], "null"),
            (&[0xc1, 0x05], "5"),
            (&[0xd8, 42, 0x05], "5"),
            (&[0x62, 0xff, b'x'], "\"\u{fffd}x\""),
            (&[0xa1, 0x01, 0x02], "{\"1\":2}"),
            (&[0xa1, 0x41, 0x00, 0x02], "{\"{\\\"$bytes\\\":\\\"AA\\\"}\":2}"),
            (
                &[0xbf, 0x61, b'a', 0x9f, 0x01, 0xff, 0x61, b'a', 0xf6, 0xff],
                "{\"a\":[1],\"a\":null}",
            ),
            (&[0x7f, 0x61, b'a', 0x61, b'b', 0xff], "\"ab\""),
            (&[0x5f, 0x41, 0x00, 0xff], "{\"$bytes\":\"AA\"}"),
        ] {
            assert_eq!(json(cbor), want);
        }
    }

    #[test]
    fn what_is_not_well_formed_leaves_nothing_behind() {
        for cbor in
            [&[0x82, 0x01][..], &[0xff], &[0x81, 0xff], &[0x01, 0x01], &[0x7f, 0x41, 0, 0xff]]
        {
            let mut out = b"before".to_vec();
            assert!(record(&mut out, cbor).is_err(), "{cbor:02x?}");
            assert_eq!(out, b"before");
        }
        let deep = [&[0x81; DEPTH_MAX + 1][..], &[0x01]].concat();
        assert_eq!(record(&mut Vec::new(), &deep).unwrap_err().cause, Cause::Depth);
        assert!(record(&mut Vec::new(), &deep[1..]).is_ok());
    }
}
