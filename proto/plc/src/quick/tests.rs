//! The short way against the long one: on what directories write, on that with damage, and on
//! JSON that was made up.

use proptest::{collection, option, prelude::*, sample, strategy::Strategy};

use super::*;

const CID: &str = "bafyreiht2jap4zh7ymbrcz4r7ogazetvtbnpx2oyawl4crpslnlh2kt3ou";
const KEY: &str = "did:key:zQ3shkKkAzEii6GqtYP66HNFFp9ZJSvtoNLbkyd696yaN5g9Q";
const EXPORT: &str = include_str!("../../../../tests/fixtures/refnet/plc-export.jsonl");

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn text(pattern: &str) -> BoxedStrategy<String> {
    proptest::string::string_regex(pattern).unwrap().prop_map(|text| format!("\"{text}\"")).boxed()
}

fn known(value: &str) -> BoxedStrategy<String> {
    Just(format!("\"{value}\"")).boxed()
}

type Members = Vec<(&'static str, BoxedStrategy<String>)>;

/// An object with its members in any order.
fn shuffled(members: Members) -> BoxedStrategy<String> {
    let members = members.into_iter();
    let members: Vec<_> =
        members.map(|(name, value)| value.prop_map(move |value| (name, value))).collect();
    members.prop_shuffle().prop_map(|members| object(&members)).boxed()
}

fn body() -> BoxedStrategy<String> {
    let prev = prop_oneof![Just("null".to_owned()), known(CID)].boxed();
    let key = || prop_oneof![known(KEY), text("did:key:z[1-9A-Za-z]{0,60}")].boxed();
    let service = |kind: BoxedStrategy<String>| {
        shuffled(vec![("type", kind), ("endpoint", text("https?://[a-z.:/]{0,40}"))])
    };
    let pds = service(prop_oneof![known(PDS_TYPE), text("[A-Za-z]{0,9}")].boxed());
    let services = (option::of(pds), option::of(service(text("[A-Za-z]{0,9}"))));
    let services = services.prop_map(|(pds, other)| {
        let pds = pds.map(|pds| ("atproto_pds", pds));
        object(&pds.into_iter().chain(other.map(|other| ("other", other))).collect::<Vec<_>>())
    });
    let methods = (option::of(key()), option::of(key())).prop_map(|(atproto, other)| {
        let atproto = atproto.map(|key| ("atproto", key));
        object(&atproto.into_iter().chain(other.map(|key| ("x", key))).collect::<Vec<_>>())
    });
    let list = |item: BoxedStrategy<String>| {
        collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))).boxed()
    };
    let sig = || text("[A-Za-z0-9_-]{0,90}");
    let operation = shuffled(vec![
        ("type", known("plc_operation")),
        ("prev", prev.clone()),
        ("sig", sig()),
        ("verificationMethods", methods.boxed()),
        ("services", services.boxed()),
        ("alsoKnownAs", list(text("at://[a-z.]{0,30}"))),
        ("rotationKeys", list(key())),
    ]);
    let create = shuffled(vec![
        ("type", known("create")),
        ("prev", prev.clone()),
        ("sig", sig()),
        ("handle", text("[a-z.]{0,20}")),
        ("service", text("https://[a-z.]{0,20}")),
        ("signingKey", key()),
        ("recoveryKey", key()),
    ]);
    let tombstone =
        shuffled(vec![("type", known("plc_tombstone")), ("prev", prev), ("sig", sig())]);
    prop_oneof![4 => operation, 1 => create, 1 => tombstone].boxed()
}

/// Lines as directories write them.
fn usual() -> BoxedStrategy<String> {
    let time = || text("20[0-3][0-9]-0[1-9]-[01][1-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}Z");
    let did = || text("did:plc:[a-z2-7]{24}");
    let cid = || text("bafyrei[a-h][a-z2-7]{50}[aeimquy4]");
    let by_time = shuffled(vec![
        ("did", did()),
        ("operation", body()),
        ("cid", cid()),
        ("nullified", sample::select(vec!["true".to_owned(), "false".to_owned()]).boxed()),
        ("createdAt", time()),
    ]);
    let by_number = shuffled(vec![
        ("type", known("sequenced_op")),
        ("seq", (0..1u64 << 60).prop_map(|seq| seq.to_string()).boxed()),
        ("did", did()),
        ("operation", body()),
        ("cid", cid()),
        ("createdAt", time()),
    ]);
    prop_oneof![by_time, by_number].boxed()
}

/// What both ways have in common: the short way may only be silent.
fn agree(line: &[u8]) {
    let long = Operation::parse_any(line);
    if let Some(short) = operation(line) {
        assert_eq!(long.as_ref().ok(), Some(&short), "{}", String::from_utf8_lossy(line));
    }
    let both = Operation::parse(line);
    assert_eq!(
        both.as_ref().map_err(ToString::to_string),
        long.as_ref().map_err(ToString::to_string)
    );
}

#[test]
fn what_a_directory_wrote_takes_the_short_way() {
    for line in EXPORT.lines() {
        let short = operation(line.as_bytes()).unwrap();
        assert_eq!(Operation::parse_any(line.as_bytes()).unwrap(), short);
    }
}

#[test]
fn what_is_unusual_takes_the_long_way() {
    let line = EXPORT.lines().next().unwrap();
    for (from, to) in [
        ("{\"did\"", "{ \"did\""),
        ("at://", "at:\\/\\/"),
        ("at://", "at://\u{e9}"),
        ("false", "null"),
        ("\"sig\"", "\"new\":[1,{\"a\":{}}],\"sig\""),
        ("\"prev\":null,", ""),
        ("\"nullified\"", "\"nullified\":1,\"nullified\""),
        ("\"rotationKeys\":[", "\"rotationKeys\":[1,"),
    ] {
        let line = line.replacen(from, to, 1);
        assert!(operation(line.as_bytes()).is_none(), "{line}");
        assert_eq!(Operation::parse(line.as_bytes()).unwrap().created_ms, 1_795_432_265_084);
    }
    for (from, to) in [
        ("{\"did\"", "{\"did\":\"x\",\"did\""),
        ("\"prev\"", "\"prev\":null,\"prev\""),
        ("at://", "at:\u{1}//"),
        (",\"prev\"", ",,\"prev\""),
        ("Z\"}", "Z\"}}"),
    ] {
        let line = line.replacen(from, to, 1);
        assert!(Operation::parse(line.as_bytes()).is_err(), "{line}");
        agree(line.as_bytes());
    }
}

proptest! {
    #[test]
    fn usual_lines_come_out_alike(line in usual()) {
        let short = operation(line.as_bytes());
        prop_assert!(short.is_some(), "{}", line);
        prop_assert_eq!(Operation::parse_any(line.as_bytes()).ok(), short);
    }

    #[test]
    fn damaged_lines_come_out_alike(
        line in usual(),
        hits in collection::vec((any::<sample::Index>(), any::<u8>(), 0..4u8), 1..4),
    ) {
        let mut line = line.into_bytes();
        for (at, byte, how) in hits {
            let at = at.index(line.len());
            match how {
                0 => line[at] = byte,
                1 => line.insert(at, byte),
                2 => drop(line.remove(at)),
                // What JSON is made of hurts more than most bytes.
                _ => line[at] = b"\"\\{}[]:, 0ntf\n"[usize::from(byte) % 14],
            }
        }
        agree(&line);
    }

    #[test]
    fn parts_put_together_come_out_alike(
        parts in collection::vec(sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "null", "true", "0", "1", "\"did\"", "\"operation\"",
            "\"cid\"", "\"createdAt\"", "\"type\"", "\"plc_tombstone\"", "\"prev\"", "\"seq\"", " ",
            "\"did:plc:6pjeb7te77bqgelhsh5yydes\"", "\"2026-11-23T11:11:05.084Z\"",
            "\"bafyreiht2jap4zh7ymbrcz4r7ogazetvtbnpx2oyawl4crpslnlh2kt3ou\"",
        ]), 0..40),
    ) {
        agree(parts.concat().as_bytes());
    }

    #[test]
    fn numbers_come_out_alike(number in "-?[0-9]{0,22}(\\.[0-9]|e[0-9])?") {
        let line = EXPORT.lines().next().unwrap();
        agree(line.replacen("{\"did\"", &format!("{{\"seq\":{number},\"did\""), 1).as_bytes());
    }
}
