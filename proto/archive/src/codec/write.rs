//! Strict DAG-CBOR, written. What is read apart is put together with these.

/// A hash as CIDs have it.
pub(crate) type Digest = [u8; 32];

/// What stands in front of a digest in a CID of DAG-CBOR, and of bytes without structure.
pub(crate) const CID_HEAD: [u8; 4] = [0x01, 0x71, 0x12, 0x20];
pub(crate) const RAW_CID_HEAD: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

const NULL: u8 = 0xf6;

/// The digest of DAG-CBOR under its CID; `None` for one of another form.
pub(crate) fn digest(cid: &atproto::Cid) -> Option<Digest> {
    (cid.codec() == atproto::cid::Codec::DagCbor).then_some(*cid.digest())
}

/// The SHA-256 of some bytes.
pub(crate) fn hash(bytes: &[u8]) -> Digest {
    *atproto::Cid::dag_cbor(bytes).digest()
}

pub(crate) fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..24 => out.push(major | value as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, value as u8]),
        0x100..0x1_0000 => {
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

pub(crate) fn uint(out: &mut Vec<u8>, value: u64) {
    head(out, 0, value);
}

pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, 2, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn array(out: &mut Vec<u8>, count: usize) {
    head(out, 4, count as u64);
}

pub(crate) fn map(out: &mut Vec<u8>, count: usize) {
    head(out, 5, count as u64);
}

pub(crate) fn bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xf5 } else { 0xf4 });
}

pub(crate) fn null(out: &mut Vec<u8>) {
    out.push(NULL);
}

pub(crate) fn link(out: &mut Vec<u8>, digest: &Digest) {
    out.extend_from_slice(&[0xd8, 0x2a, 0x58, 0x25, 0x00]);
    out.extend_from_slice(&CID_HEAD);
    out.extend_from_slice(digest);
}

pub(crate) fn link_or_null(out: &mut Vec<u8>, digest: Option<&Digest>) {
    match digest {
        Some(digest) => link(out, digest),
        None => null(out),
    }
}

/// The header of a CAR with one root.
pub(crate) fn car_header(out: &mut Vec<u8>, root: &Digest) {
    let mut header = Vec::with_capacity(64);
    map(&mut header, 2);
    text(&mut header, "roots");
    array(&mut header, 1);
    link(&mut header, root);
    text(&mut header, "version");
    uint(&mut header, 1);
    crate::bytes::put_varint(out, header.len() as u64);
    out.extend_from_slice(&header);
}

/// One block of a CAR.
pub(crate) fn car_block(out: &mut Vec<u8>, digest: &Digest, data: &[u8]) {
    crate::bytes::put_varint(out, (CID_HEAD.len() + digest.len() + data.len()) as u64);
    out.extend_from_slice(&CID_HEAD);
    out.extend_from_slice(digest);
    out.extend_from_slice(data);
}
