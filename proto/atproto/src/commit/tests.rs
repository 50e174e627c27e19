use super::*;
use crate::testing::{self, Ipld, encode, ipld, link, with};

fn sample() -> Ipld {
    testing::commit("did:plc:a", "3jzfcijpj2z2a", &Cid::dag_cbor(&[0xa0]))
}

#[test]
fn the_digest_is_that_of_the_commit_without_its_signature() {
    for sig in [0, 1, 64, 300, 70_000] {
        let signed = with(&sample(), "sig", Some(Ipld::Bytes(vec![9; sig])));
        let block = encode(&signed);
        let commit = parse(&block).unwrap();
        assert_eq!(commit.sig, vec![9; sig]);
        let unsigned = encode(&with(&signed, "sig", None));
        let digest: [u8; 32] = Sha256::digest(unsigned).into();
        assert_eq!(commit.signed_digest(), digest);
        fuzz_commit(&block);
    }
}

#[test]
fn fields_are_read_in_place() {
    let data = Cid::dag_cbor(&[0xa0]);
    let block = encode(&with(&sample(), "prev", Some(link(&data))));
    let commit = parse(&block).unwrap();
    assert_eq!((commit.did, commit.rev, commit.version), ("did:plc:a", "3jzfcijpj2z2a", 3));
    assert_eq!((commit.data, commit.prev), (data, Some(data)));
    assert_eq!(parse(&encode(&sample())).unwrap().prev, None);
}

#[test]
fn every_field_is_required_and_typed() {
    for field in ["did", "rev", "sig", "data", "prev", "version"] {
        let block = encode(&with(&sample(), field, None));
        assert_eq!(parse(&block).unwrap_err(), Error::Missing(field));
        let block = encode(&with(&sample(), field, Some(ipld!([]))));
        assert!(matches!(parse(&block), Err(Error::Field { field: found, .. }) if found == field));
    }
}

#[test]
fn what_others_would_drop_is_refused() {
    let block = encode(&with(&sample(), "more", Some(ipld!(1))));
    assert!(matches!(parse(&block), Err(Error::UnknownField { .. })));
}

#[test]
fn other_versions_are_named() {
    for version in [0, 2, 4] {
        let old = with(&with(&sample(), "version", Some(ipld!(version))), "rev", None);
        assert_eq!(parse(&encode(&old)).unwrap_err(), Error::Version(version));
    }
}

#[test]
fn only_strict_form_is_read() {
    let block = encode(&sample());
    assert!(parse(&[&block[..], &[0]].concat()).is_err());
    for length in 0..block.len() {
        assert!(parse(&block[..length]).is_err());
    }
    // The map's head in a longer form: the cut would not be what was signed.
    let long = [&[0xb8, 6], &block[1..]].concat();
    assert!(matches!(parse(&long), Err(Error::Cbor(_))));
}
