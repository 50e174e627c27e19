//! Links by their hashes, and CARs of such. What is read apart is put together with these and with
//! [`atproto::cbor::write`].

pub(crate) use atproto::cbor::write::{LINK_HEAD, array, bool, bytes, head, map, null, text, uint};

/// A hash as CIDs have it.
pub(crate) type Digest = [u8; 32];

/// What stands in front of a digest in a CID of DAG-CBOR, and of bytes without structure.
pub(crate) const CID_HEAD: [u8; 4] = [0x01, 0x71, 0x12, 0x20];
pub(crate) const RAW_CID_HEAD: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

/// The digest of DAG-CBOR under its CID; `None` for one of another form.
pub(crate) fn digest(cid: &atproto::Cid) -> Option<Digest> {
    (cid.codec() == atproto::cid::Codec::DagCbor).then_some(*cid.digest())
}

/// The same of a CID that may not be there.
pub(crate) fn digest_if(cid: Option<atproto::Cid>) -> Option<Option<Digest>> {
    cid.map_or(Some(None), |cid| digest(&cid).map(Some))
}

/// The SHA-256 of some bytes.
pub(crate) fn hash(bytes: &[u8]) -> Digest {
    *atproto::Cid::dag_cbor(bytes).digest()
}

pub(crate) fn link(out: &mut Vec<u8>, digest: &Digest) {
    out.extend_from_slice(&LINK_HEAD);
    out.extend_from_slice(&CID_HEAD);
    out.extend_from_slice(digest);
}

pub(crate) fn link_or_null(out: &mut Vec<u8>, digest: Option<&Digest>) {
    match digest {
        Some(digest) => link(out, digest),
        None => null(out),
    }
}

/// What stands in front of the root in the header of a CAR with one root, and behind it.
const CAR_HEAD: [u8; 18] = *b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";
const CAR_TAIL: [u8; 9] = *b"\x67version\x01";
pub(crate) const CAR_HEADER_BYTES: usize = CAR_HEAD.len() + 32 + CAR_TAIL.len();
const _: () = assert!(CAR_HEADER_BYTES == 1 + CAR_HEAD[0] as usize);

/// The header of a CAR with one root.
pub(crate) fn car_header(out: &mut Vec<u8>, root: &Digest) {
    out.extend_from_slice(&CAR_HEAD);
    out.extend_from_slice(root);
    out.extend_from_slice(&CAR_TAIL);
}

/// How many bytes one block of a CAR has.
pub(crate) fn car_block_bytes(data: usize) -> usize {
    let length = CID_HEAD.len() + size_of::<Digest>() + data;
    crate::bytes::varint_bytes(length as u64) + length
}

/// One block of a CAR.
pub(crate) fn car_block(out: &mut Vec<u8>, digest: &Digest, data: &[u8]) {
    crate::bytes::put_varint(out, (CID_HEAD.len() + digest.len() + data.len()) as u64);
    out.extend_from_slice(&CID_HEAD);
    out.extend_from_slice(digest);
    out.extend_from_slice(data);
}
