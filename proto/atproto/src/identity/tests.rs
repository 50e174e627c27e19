use super::*;
use crate::testing::{self, Ipld, encode, ipld, link, with};

const KEY: Key = Key([5; 32]);

fn id(body: &[u8]) -> [u8; 16] {
    of(&KEY, "pds.example.com", 1, 2, body)
}

fn commit_id(body: &Ipld) -> [u8; 16] {
    let bytes = testing::event("#commit", body);
    assert!(event::parse(&bytes).is_ok());
    id(&bytes)
}

fn op() -> Ipld {
    let cid = link(&Cid::raw(b"a"));
    ipld!({ "action": "update", "path": "a.b.c/d", "cid": cid.clone(), "prev": cid })
}

fn sample() -> Ipld {
    testing::commit_event(&[(Cid::dag_cbor(&[0xa0]), &[0xa0])], vec![op(), op()])
}

#[test]
fn what_servers_change_on_the_way_changes_nothing() {
    let first = commit_id(&sample());
    for (field, value) in [
        ("seq", Some(ipld!(123_456))),
        ("time", Some(ipld!("another time"))),
        ("tooBig", Some(ipld!(true))),
        ("tooBig", None),
        ("rebase", Some(Ipld::Null)),
        ("blobs", None),
        ("blobs", Some(ipld!([1]))),
        ("prev", Some(link(&Cid::raw(b"p")))),
        ("unheardOf", Some(ipld!({ "x": 1 }))),
    ] {
        assert_eq!(commit_id(&with(&sample(), field, value)), first, "{field}");
    }
    let ops = ipld!([with(&op(), "new", Some(ipld!(1))), op()]);
    assert_eq!(commit_id(&with(&sample(), "ops", Some(ops))), first);
    let bytes = testing::event("#commit", &sample());
    assert_eq!(of(&KEY, "relay.example.com", 9, 10, &bytes), first);
    let header = encode(&ipld!({ "op": 1, "t": "#commit", "new": 1 }));
    assert_eq!(id(&[header, encode(&sample())].concat()), first);
}

#[test]
fn whatever_is_proved_or_used_tells_commits_apart() {
    let cid = || link(&Cid::raw(b"other"));
    let mut ids = vec![commit_id(&sample())];
    let blocks = testing::car(&Cid::dag_cbor(&[0xa0]), &[]);
    for (field, value) in [
        ("repo", Some(ipld!("did:plc:b"))),
        ("rev", Some(ipld!("3jzfcijpj2z2c"))),
        ("commit", Some(cid())),
        ("since", Some(ipld!("3jzfcijpj2z22"))),
        ("since", Some(ipld!(""))),
        ("since", None),
        ("prevData", Some(cid())),
        ("prevData", Some(Ipld::Null)),
        ("blocks", Some(Ipld::Bytes(blocks))),
        ("blocks", Some(Ipld::Bytes(vec![]))),
        ("ops", Some(ipld!([op()]))),
        ("ops", Some(ipld!([]))),
        ("ops", Some(ipld!([with(&op(), "action", Some(ipld!("create"))), op()]))),
        ("ops", Some(ipld!([with(&op(), "action", Some(ipld!("other"))), op()]))),
        ("ops", Some(ipld!([with(&op(), "action", Some(ipld!("another"))), op()]))),
        ("ops", Some(ipld!([with(&op(), "path", Some(ipld!("a.b.c/e"))), op()]))),
        ("ops", Some(ipld!([with(&op(), "cid", Some(cid())), op()]))),
        ("ops", Some(ipld!([with(&op(), "cid", Some(Ipld::Null)), op()]))),
        ("ops", Some(ipld!([with(&op(), "prev", Some(cid())), op()]))),
        ("ops", Some(ipld!([with(&op(), "prev", None), op()]))),
    ] {
        ids.push(commit_id(&with(&sample(), field, value)));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn parts_cannot_run_into_each_other() {
    let split = |repo: &str, rev: &str| {
        let body = with(&sample(), "repo", Some(ipld!(repo)));
        commit_id(&with(&body, "rev", Some(ipld!(rev))))
    };
    assert_ne!(split("did:plc:a", "bc"), split("did:plc:ab", "c"));
}

#[test]
fn a_sync_is_its_account_rev_and_blocks() {
    let sync =
        ipld!({ "seq": 1, "did": "d", "rev": "r", "blocks": Ipld::Bytes(vec![1]), "time": "t" });
    let first = id(&testing::event("#sync", &sync));
    for (field, value, same) in [
        ("seq", ipld!(2), true),
        ("time", ipld!("u"), true),
        ("more", ipld!(2), true),
        ("did", ipld!("e"), false),
        ("rev", ipld!("s"), false),
        ("blocks", Ipld::Bytes(vec![2]), false),
    ] {
        let other = id(&testing::event("#sync", &with(&sync, field, Some(value))));
        assert_eq!(other == first, same, "{field}");
    }
}

#[test]
fn an_unsigned_event_is_a_duplicate_only_when_it_is_sent_again() {
    let account = ipld!({ "seq": 2, "did": "d", "time": "t", "active": true });
    let again = ipld!({ "seq": 3, "did": "d", "time": "t", "active": true });
    let (body, again) = (testing::event("#account", &account), testing::event("#account", &again));
    let first = id(&body);
    assert_eq!(of(&KEY, "pds.example.com", 1, 2, &body), first);
    for other in [
        of(&KEY, "pds.example.org", 1, 2, &body),
        of(&KEY, "pds.example.com", 2, 2, &body),
        of(&KEY, "pds.example.com", 1, 3, &body),
        of(&KEY, "pds.example.com", 1, 2, &again),
        of(&Key([6; 32]), "pds.example.com", 1, 2, &body),
    ] {
        assert_ne!(other, first);
    }
}

#[test]
fn what_does_not_parse_is_all_its_bytes() {
    let good = testing::event("#commit", &sample());
    let bad = testing::event("#commit", &with(&sample(), "time", Some(ipld!(1))));
    assert_ne!(id(&good), id(&bad));
    assert_ne!(id(&bad), of(&KEY, "pds.example.com", 1, 3, &bad));
    let trailing = [&good[..], &[0]].concat();
    assert_ne!(id(&good), id(&trailing));
    assert_ne!(id(&[]), id(&[0]));
}

#[test]
fn padding_over_the_limit_of_an_event_is_no_copy() {
    let padding = |bytes: usize| {
        let padded = with(&sample(), "padding", Some(Ipld::Bytes(vec![0; bytes])));
        commit_id(&padded)
    };
    assert_eq!(padding(1_000_000), commit_id(&sample()));
    assert_ne!(padding(5_000_000), commit_id(&sample()));
}

#[test]
fn the_key_is_not_shown() {
    assert_eq!(format!("{KEY:?}"), "Key(..)");
}
