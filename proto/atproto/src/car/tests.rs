use super::*;
use crate::cbor::Cause;
use crate::testing::{self, Ipld, encode, ipld, link};

fn sample() -> (Cid, Cid, Vec<u8>) {
    let (first, second) = (Cid::dag_cbor(&[0xa0]), Cid::raw(b"hello"));
    let car = testing::car(&first, &[(first, &[0xa0]), (second, b"hello")]);
    (first, second, car)
}

fn headed(header: &Ipld) -> Vec<u8> {
    let header = encode(header);
    [testing::varint(header.len()), header].concat()
}

#[test]
fn blocks_come_in_their_order_with_their_offsets() {
    let (first, second, bytes) = sample();
    let car = parse(&bytes).unwrap();
    assert_eq!(car.root(), Some(first));
    let blocks: Vec<Block<'_>> = car.blocks().map(Result::unwrap).collect();
    assert_eq!(blocks.iter().map(|b| b.cid).collect::<Vec<_>>(), [first, second]);
    assert_eq!(blocks[1].data, b"hello");
    assert_eq!(&bytes[blocks[1].offset..], b"hello");
    assert_eq!(&bytes[blocks[1].cid_offset..][..36], second.as_bytes());
    assert!(blocks.iter().all(|block| block.check().is_ok()));
    fuzz_car(&bytes);
}

#[test]
fn a_changed_block_does_not_check() {
    let (_, second, mut bytes) = sample();
    *bytes.last_mut().unwrap() ^= 1;
    let car = parse(&bytes).unwrap();
    let block = car.blocks().last().unwrap().unwrap();
    assert_eq!(block.check(), Err(Error::Hash { offset: block.offset, cid: second }));
}

#[test]
fn roots_may_be_none_or_several() {
    let none = headed(&ipld!({ "roots": [], "version": 1 }));
    assert_eq!(parse(&none).unwrap().root(), None);
    assert_eq!(parse(&none).unwrap().blocks().count(), 0);
    let (a, b, _) = sample();
    let two = headed(&ipld!({ "roots": [link(&a), link(&b)], "version": 1 }));
    assert_eq!(parse(&two).unwrap().roots().collect::<Vec<_>>(), [a, b]);
}

#[test]
fn a_header_of_another_form_is_refused() {
    let version = headed(&ipld!({ "roots": [], "version": 2 }));
    assert_eq!(parse(&version).unwrap_err(), Error::Version(2));
    assert_eq!(parse(&headed(&ipld!({ "version": 1 }))).unwrap_err(), Error::Missing("roots"));
    assert_eq!(parse(&headed(&ipld!({ "roots": [] }))).unwrap_err(), Error::Missing("version"));
    for other in
        [ipld!([]), ipld!({ "roots": [1], "version": 1 }), ipld!({ "roots": 1, "version": 1 })]
    {
        assert!(matches!(parse(&headed(&other)), Err(Error::Header(_))));
    }
    let mut trailing = headed(&ipld!({ "roots": [], "version": 1 }));
    trailing.push(0);
    trailing[0] += 1;
    let Err(Error::Header(error)) = parse(&trailing) else { panic!() };
    assert_eq!(error.cause, Cause::Trailing);
    assert_eq!(parse(&[]).unwrap_err(), Error::Varint { offset: 0 });
}

#[test]
fn every_cut_is_an_error_that_says_where() {
    let (_, _, bytes) = sample();
    let ends: Vec<usize> = parse(&bytes)
        .unwrap()
        .blocks()
        .map(|block| block.map(|block| block.offset + block.data.len()).unwrap())
        .collect();
    for length in 0..bytes.len() {
        let whole =
            parse(&bytes[..length]).and_then(|car| car.blocks().try_for_each(|b| b.map(drop)));
        let at_a_block = ends.contains(&length) || length == parse(&bytes).unwrap().blocks_at;
        assert_eq!(whole.is_ok(), at_a_block, "{length}: {whole:?}");
    }
}

#[test]
fn lengths_are_shortest_varints_within_the_bytes() {
    let header = headed(&ipld!({ "roots": [], "version": 1 }));
    let first = |tail: &[u8]| {
        let bytes = [&header[..], tail].concat();
        let first = parse(&bytes).unwrap().blocks().next().unwrap();
        first.map(drop)
    };
    let offset = header.len();
    assert_eq!(first(&[0x80]), Err(Error::Varint { offset }));
    assert_eq!(first(&[0x80, 0x00]), Err(Error::Varint { offset }));
    assert_eq!(first(&[0xff; 12]), Err(Error::Varint { offset }));
    let length = (1 << 63) - 1;
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(first(&most), Err(Error::Length { offset: offset + 9, length, left: 0 }));
    let cause = cid::Error::Length { length: 2, wanted: 36 };
    assert_eq!(first(&[2, 1, 1]), Err(Error::Cid { offset: offset + 1, cause }));
    let cause = cid::Error::Length { length: 0, wanted: 36 };
    assert_eq!(first(&[0]), Err(Error::Cid { offset: offset + 1, cause }));
}

#[test]
fn nothing_comes_behind_an_error() {
    let (_, _, mut bytes) = sample();
    bytes.extend([5, 0]);
    let results: Vec<bool> = parse(&bytes).unwrap().blocks().map(|block| block.is_ok()).collect();
    assert_eq!(results, [true, true, false]);
}
