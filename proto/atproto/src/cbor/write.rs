//! Strict DAG-CBOR, written: heads in their shortest form, and what stands behind them.
//!
//! Whoever writes a map brings its keys in order: shorter ones first, then by their bytes.

/// What stands before the bytes of a CID: the tag of a link, the head of a byte string, and the
/// zero byte that binary CIDs have in CBOR.
pub const LINK_HEAD: [u8; 5] = [0xd8, 0x2a, 0x58, 0x25, 0x00];

/// The head of a value of that major type (0 to 7).
#[inline]
pub fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    match value {
        0..24 => out.push(major << 5 | value as u8),
        24..0x100 => out.extend_from_slice(&[major << 5 | 24, value as u8]),
        _ => long_head(out, major << 5, value),
    }
}

#[cold]
fn long_head(out: &mut Vec<u8>, major: u8, value: u64) {
    match value {
        0..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// An integer of zero or more.
#[inline]
pub fn uint(out: &mut Vec<u8>, value: u64) {
    head(out, 0, value);
}

/// A byte string.
#[inline]
pub fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, 2, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A text.
#[inline]
pub fn text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The head of an array of so many values.
#[inline]
pub fn array(out: &mut Vec<u8>, count: usize) {
    head(out, 4, count as u64);
}

/// The head of a map of so many keys with their values.
#[inline]
pub fn map(out: &mut Vec<u8>, count: usize) {
    head(out, 5, count as u64);
}

/// `true` or `false`.
#[inline]
pub fn bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xf5 } else { 0xf4 });
}

/// `null`.
#[inline]
pub fn null(out: &mut Vec<u8>) {
    out.push(0xf6);
}

/// A link.
#[inline]
pub fn link(out: &mut Vec<u8>, cid: &crate::Cid) {
    out.extend_from_slice(&LINK_HEAD);
    out.extend_from_slice(cid.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::Reader;

    #[test]
    fn what_is_written_is_read_and_is_in_its_shortest_form() {
        for value in [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000] {
            let mut out = Vec::new();
            uint(&mut out, value);
            assert_eq!(Reader::new(&out).uint().unwrap(), value);
        }
        let cid = crate::Cid::dag_cbor(b"");
        let mut out = Vec::new();
        map(&mut out, 5);
        text(&mut out, "a");
        bytes(&mut out, b"xyz");
        text(&mut out, "b");
        array(&mut out, 1);
        bool(&mut out, true);
        text(&mut out, "c");
        null(&mut out);
        text(&mut out, "d");
        link(&mut out, &cid);
        text(&mut out, "e");
        bool(&mut out, false);
        crate::cbor::check(&out).unwrap();
        let ipld = crate::testing::ipld!({
            "a": crate::testing::Ipld::Bytes(b"xyz".to_vec()),
            "b": [true],
            "c": null,
            "d": crate::testing::link(&cid),
            "e": false,
        });
        assert_eq!(out, crate::testing::encode(&ipld));
    }
}
