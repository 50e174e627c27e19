use super::*;
use crate::loose::{self, Oddity};

/// What strict reading refuses and loose reading notes.
fn odd(bytes: &[u8], offset: usize, cause: Cause, oddity: Oddity) {
    assert_eq!(check(bytes), Err(Error { offset, cause }), "{bytes:02x?}");
    let notes = loose::walk(bytes).unwrap_or_else(|e| panic!("{bytes:02x?}: {e}"));
    assert!(notes.has(oddity), "{bytes:02x?}: {:?}", notes.iter().collect::<Vec<_>>());
    assert!(!notes.is_strict());
}

/// What neither accepts.
fn bad(bytes: &[u8], offset: usize, cause: Cause) {
    assert_eq!(check(bytes), Err(Error { offset, cause }), "{bytes:02x?}");
    assert!(loose::walk(bytes).is_err(), "{bytes:02x?}");
}

#[test]
fn numbers_have_one_form() {
    for good in [
        &[0x17][..],
        &[0x18, 24],
        &[0x19, 1, 0],
        &[0x1a, 0, 1, 0, 0],
        &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(check(good), Ok(()), "{good:02x?}");
    }
    odd(&[0x18, 23], 0, Cause::LongForm, Oddity::LongForm);
    odd(&[0x19, 0, 255], 0, Cause::LongForm, Oddity::LongForm);
    odd(&[0x3a, 0, 0, 255, 255], 0, Cause::LongForm, Oddity::LongForm);
    odd(&[0x1b, 0, 0, 0, 0, 255, 255, 255, 255], 0, Cause::LongForm, Oddity::LongForm);
    odd(&[0x81, 0x58, 1, 0], 1, Cause::LongForm, Oddity::LongForm);
    odd(&[0x98, 1, 0], 0, Cause::LongForm, Oddity::LongForm);
    odd(&[0xd8, 42, 0x58, 2, 0, 1], 2, Cause::LongForm, Oddity::LongForm);
    bad(&[0x1c], 0, Cause::Reserved(0x1c));
    bad(&[0x1f], 0, Cause::Indefinite);
    bad(&[0x19, 1], 0, Cause::Truncated);
}

#[test]
fn keys_are_sorted_text() {
    assert_eq!(check(&[0xa2, 0x61, b'b', 1, 0x62, b'a', b'a', 2]), Ok(()));
    odd(&[0xa2, 0x61, b'b', 1, 0x61, b'a', 2], 4, Cause::KeyOrder, Oddity::KeyOrder);
    odd(&[0xa2, 0x62, b'a', b'a', 1, 0x61, b'b', 2], 5, Cause::KeyOrder, Oddity::KeyOrder);
    odd(&[0xa2, 0x61, b'a', 1, 0x61, b'a', 2], 4, Cause::KeyTwice, Oddity::KeyTwice);
    odd(&[0xa1, 0x41, b'a', 1], 1, Cause::KeyKind, Oddity::KeyKind);
    odd(&[0xa1, 0x01, 1], 1, Cause::KeyKind, Oddity::KeyKind);
}

#[test]
fn lengths_are_definite_and_fit() {
    odd(&[0x9f, 1, 0xff], 0, Cause::Indefinite, Oddity::Indefinite);
    odd(&[0xbf, 0xff], 0, Cause::Indefinite, Oddity::Indefinite);
    odd(&[0x5f, 0x41, 0, 0xff], 0, Cause::Indefinite, Oddity::Indefinite);
    odd(&[0x7f, 0x61, b'a', 0xff], 0, Cause::Indefinite, Oddity::Indefinite);
    bad(&[0x5f, 0x61, b'a', 0xff], 0, Cause::Indefinite);
    bad(&[0x5f, 0x5f, 0xff, 0xff], 0, Cause::Indefinite);
    bad(&[0x9f, 1], 0, Cause::Indefinite);
    bad(&[0xdf, 1], 0, Cause::Indefinite);
    bad(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], 0, Cause::Truncated);
    bad(&[0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], 0, Cause::Truncated);
    bad(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], 0, Cause::Truncated);
    bad(&[0x82, 1], 0, Cause::Truncated);
    bad(&[0x62, b'a'], 0, Cause::Truncated);
    bad(&[], 0, Cause::Truncated);
    bad(&[0x01, 0x01], 1, Cause::Trailing);
    bad(&[0xff], 0, Cause::Reserved(0xff));
    bad(&[0x81, 0xff], 1, Cause::Reserved(0xff));
}

#[test]
fn simple_values_are_three_and_floats_are_wide() {
    for good in [&[0xf4][..], &[0xf5], &[0xf6], &[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(check(good), Ok(()), "{good:02x?}");
    }
    odd(&[0xf7], 0, Cause::Simple(23), Oddity::Simple);
    odd(&[0xe0], 0, Cause::Simple(0), Oddity::Simple);
    odd(&[0xf8, 32], 0, Cause::Simple(24), Oddity::Simple);
    odd(&[0xf9, 0x3c, 0], 0, Cause::ShortFloat, Oddity::ShortFloat);
    odd(&[0xfa, 0x3f, 0x80, 0, 0], 0, Cause::ShortFloat, Oddity::ShortFloat);
    odd(&[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], 0, Cause::NotFinite, Oddity::NotFinite);
    odd(&[0xfb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0], 0, Cause::NotFinite, Oddity::NotFinite);
    bad(&[0xf8, 24], 0, Cause::Simple(24));
    bad(&[0xfc], 0, Cause::Reserved(0xfc));
    bad(&[0xfb, 0], 0, Cause::Truncated);
}

#[test]
fn the_only_tag_is_a_link() {
    let cid = Cid::raw(b"x");
    let link = [&[0xd8, 42, 0x58, 37, 0], &cid.as_bytes()[..]].concat();
    assert_eq!(check(&link), Ok(()));
    assert_eq!(Reader::new(&link).cid(), Ok(cid));
    assert_eq!(Reader::new(&link).link(), Ok(&cid.as_bytes()[..]));
    odd(&[0xc1, 0], 0, Cause::Tag(1), Oddity::Tag);
    odd(&[0xd8, 42, 0x61, b'a'], 0, Cause::Link, Oddity::Link);
    odd(&[0xd8, 42, 0x41, 0], 0, Cause::Link, Oddity::Link);
    let mut bare = link.clone();
    bare[4] = 1;
    odd(&bare, 0, Cause::Link, Oddity::Link);
}

#[test]
fn links_of_other_forms_are_links_but_no_cids_of_ours() {
    let v0 = [&[0xd8, 42, 0x58, 35, 0, 0x12, 0x20], &[9; 32][..]].concat();
    assert_eq!(check(&v0), Ok(()));
    let cause = Cause::Cid(crate::cid::Error::Length { length: 34, wanted: 36 });
    assert_eq!(Reader::new(&v0).cid(), Err(Error { offset: 0, cause }));
    // Version 1, DAG-PB, an identity hash of two bytes.
    assert_eq!(check(&[0xd8, 42, 0x47, 0, 1, 0x70, 0, 2, 8, 8]), Ok(()));
    odd(&[0xd8, 42, 0x46, 0, 1, 0x70, 0, 2, 8], 0, Cause::Link, Oddity::Link);
    // A version that is no shortest varint.
    odd(&[0xd8, 42, 0x48, 0, 0x81, 0, 0x70, 0, 2, 8, 8], 0, Cause::Link, Oddity::Link);
}

#[test]
fn text_is_utf8() {
    odd(&[0x61, 0xff], 0, Cause::Utf8, Oddity::Utf8);
    odd(&[0xa1, 0x61, 0xc0, 0], 1, Cause::Utf8, Oddity::Utf8);
    odd(&[0x63, 0xed, 0xa0, 0x80], 0, Cause::Utf8, Oddity::Utf8);
}

#[test]
fn nesting_ends_at_its_limit() {
    for head in [0x81, 0xc1] {
        let mut deep = vec![head; DEPTH_MAX];
        deep.push(0);
        assert!(loose::walk(&deep).is_ok());
        assert_eq!(check(&deep).is_ok(), head == 0x81);
        deep.insert(0, head);
        assert_eq!(loose::walk(&deep).unwrap_err(), Error { offset: 128, cause: Cause::Depth });
    }
    let deep = [&[0x81; DEPTH_MAX + 1][..], &[0]].concat();
    assert_eq!(check(&deep), Err(Error { offset: 128, cause: Cause::Depth }));
    assert!(loose::walk(&[0x81; 1 << 20]).is_err());
}

#[test]
fn what_the_data_model_forbids_is_noted_apart() {
    let float = [0xa1, 0x61, b'a', 0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0];
    let notes = loose::walk(&float).unwrap();
    assert_eq!(notes.iter().collect::<Vec<_>>(), [Oddity::Float]);
    assert!(notes.is_strict());
    assert_eq!(loose::walk(&[0x80]).unwrap().iter().collect::<Vec<_>>(), [Oddity::NotMap]);
    assert!(loose::walk(&[0xa0]).unwrap().is_empty());
}

#[test]
fn the_wrong_kind_says_what_it_is() {
    let mut reader = Reader::new(&[0x82, 0x61, b'a', 0x20]);
    assert_eq!(reader.array(), Ok(2));
    let cause = Cause::Kind { wanted: Kind::Uint, found: Kind::Text };
    assert_eq!(reader.uint(), Err(Error { offset: 1, cause }));
    assert_eq!(cause.to_string(), "text instead of integer");
    assert_eq!(reader.null(), Ok(false));
    assert_eq!(reader.text_or_null(), Ok(Some("a")));
    assert_eq!(reader.int(), Ok(-1));
    assert!(reader.is_done());
    let most = [0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Reader::new(&most).int(), Err(Error { offset: 0, cause: Cause::Range }));
}

#[test]
fn halves_are_read_as_what_they_are() {
    for (bits, want) in
        [(0x3c00u16, 1.0), (0xc000, -2.0), (0x0001, 2f64.powi(-24)), (0x7bff, 65504.0)]
    {
        let [high, low] = bits.to_be_bytes();
        let bytes = [0xf9, high, low];
        assert_eq!(loose::Reader::new(&bytes).item(), Ok(loose::Item::Float(want)));
    }
}
