//! Strict reading against another implementation: `serde_ipld_dagcbor`.

use atproto::{cbor, loose};
use ipld_core::ipld::Ipld;
use proptest::prelude::*;

fn link() -> impl Strategy<Value = Ipld> {
    any::<[u8; 32]>().prop_map(|digest| {
        let bytes = [&[0x01, 0x71, 0x12, 0x20], &digest[..]].concat();
        Ipld::Link(ipld_core::cid::Cid::try_from(bytes).unwrap())
    })
}

fn value() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<u64>().prop_map(|n| Ipld::Integer(n.into())),
        any::<i64>().prop_map(|n| Ipld::Integer(n.into())),
        (-70_000i64..70_000).prop_map(|n| Ipld::Integer(n.into())),
        (-300i64..300).prop_map(|n| Ipld::Integer(n.into())),
        prop::num::f64::NORMAL.prop_map(Ipld::Float),
        ".{0,40}".prop_map(Ipld::String),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
        link(),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..30).prop_map(Ipld::List),
            prop::collection::btree_map(".{0,30}", inner, 0..8).prop_map(Ipld::Map),
        ]
    })
}

/// A change to some bytes: where, of what kind, to what.
fn change(bytes: &mut Vec<u8>, (at, kind, to): (prop::sample::Index, u8, u8)) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match kind % 5 {
        0 => bytes[at] = to,
        1 => bytes.insert(at, to),
        2 => drop(bytes.remove(at)),
        3 => bytes[at] ^= 1 << (to % 8),
        // A neighbour's place: keys out of order, lengths swapped.
        _ => bytes.swap(at, at.saturating_sub(1)),
    }
}

fn agree(bytes: &[u8]) {
    let theirs = serde_ipld_dagcbor::from_slice::<Ipld>(bytes);
    let same = theirs.map(|value| serde_ipld_dagcbor::to_vec(&value).ok());
    let canonical = matches!(&same, Ok(Some(again)) if again == bytes);
    assert_eq!(cbor::check(bytes).is_ok(), canonical, "{bytes:02x?}");
    cbor::fuzz_cbor(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_another_encoder_writes_is_strict(value in value()) {
        let bytes = serde_ipld_dagcbor::to_vec(&value).unwrap();
        prop_assert_eq!(cbor::check(&bytes), Ok(()));
        prop_assert!(loose::walk(&bytes).unwrap().is_strict());
    }

    #[test]
    fn both_accept_the_same_damaged_bytes(
        value in value(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..4),
    ) {
        let mut bytes = serde_ipld_dagcbor::to_vec(&value).unwrap();
        for one in changes {
            change(&mut bytes, one);
        }
        agree(&bytes);
    }

    #[test]
    fn both_accept_the_same_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        agree(&bytes);
    }
}
