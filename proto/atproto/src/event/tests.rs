use super::*;
use crate::cbor::Kind;
use crate::testing::{self, Ipld, encode, ipld, link, with};

fn sample() -> Ipld {
    let cid = Cid::dag_cbor(&[0xa0]);
    let ops = vec![
        ipld!({ "action": "create", "path": "a.b.c/one", "cid": link(&cid) }),
        ipld!({ "action": "delete", "path": "a.b.c/two", "cid": null, "prev": link(&cid) }),
        ipld!({ "action": "rename", "path": "three", "cid": null, "extra": [1, 2] }),
    ];
    testing::commit_event(&[(cid, &[0xa0])], ops)
}

fn field_of(error: Error) -> (&'static str, bool) {
    match error {
        Error::Missing { field, .. } => (field, true),
        Error::Field { field, .. } | Error::Negative { field, .. } => (field, false),
        other => panic!("{other}"),
    }
}

#[test]
fn a_commit_reads_in_place() {
    let body = testing::event("#commit", &sample());
    let event = parse(&body).unwrap();
    let Event::Commit(commit) = event else { panic!("{}", event.type_name()) };
    assert_eq!((event.type_name(), event.seq()), ("#commit", Some(7)));
    assert_eq!(event.did(), Some("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_eq!(event.rev(), Some("3jzfcijpj2z2b"));
    assert_eq!(commit.since, Some("3jzfcijpj2z2a"));
    assert_eq!(commit.prev_data, Some(commit.commit));
    assert_eq!(&body[commit.blocks_at..][..commit.blocks.len()], commit.blocks);
    let ops: Vec<Op<'_>> = commit.ops.collect();
    assert_eq!(ops.len(), commit.ops.len());
    let actions: Vec<Action> = ops.iter().map(|op| op.action).collect();
    assert_eq!(actions, [Action::Create, Action::Delete, Action::Unknown]);
    assert_eq!((ops[0].collection(), ops[0].rkey()), ("a.b.c", "one"));
    assert_eq!((ops[1].cid, ops[1].prev), (None, Some(commit.commit)));
    assert_eq!((ops[2].name, ops[2].collection(), ops[2].rkey()), ("rename", "three", ""));
    fuzz_event(&body);
}

#[test]
fn every_required_field_of_a_commit_is_missed_by_name() {
    for field in ["seq", "repo", "rev", "commit", "blocks", "ops", "time"] {
        let body = testing::event("#commit", &with(&sample(), field, None));
        assert_eq!(field_of(parse(&body).unwrap_err()), (field, true));
        for wrong in [Ipld::Null, Ipld::Float(1.0), ipld!({})] {
            let body = testing::event("#commit", &with(&sample(), field, Some(wrong)));
            assert_eq!(field_of(parse(&body).unwrap_err()), (field, false));
        }
    }
    for field in ["since", "prevData"] {
        for absent in [None, Some(Ipld::Null)] {
            let body = testing::event("#commit", &with(&sample(), field, absent));
            assert!(parse(&body).is_ok(), "{field}");
        }
        let body = testing::event("#commit", &with(&sample(), field, Some(ipld!(1))));
        assert_eq!(field_of(parse(&body).unwrap_err()), (field, false));
    }
}

#[test]
fn deprecated_and_unknown_fields_decide_nothing() {
    for field in ["tooBig", "rebase", "blobs", "prev", "somethingElse"] {
        for value in [None, Some(Ipld::Null), Some(ipld!("x")), Some(ipld!([true]))] {
            let body = testing::event("#commit", &with(&sample(), field, value));
            assert!(parse(&body).is_ok(), "{field}");
        }
    }
    let body = testing::event("#commit", &with(&sample(), "tooBig", Some(ipld!(true))));
    assert!(matches!(parse(&body), Ok(Event::Commit(Commit { too_big: true, .. }))));
}

#[test]
fn ops_are_read_when_the_event_is() {
    let cid = link(&Cid::raw(b""));
    for (op, want) in [
        (ipld!({ "path": "a", "cid": null }), ("ops.action", true)),
        (ipld!({ "action": "create", "cid": cid.clone() }), ("ops.path", true)),
        (ipld!({ "action": 1, "path": "a" }), ("ops.action", false)),
        (ipld!({ "action": "create", "path": [], "cid": null }), ("ops.path", false)),
        (ipld!({ "action": "create", "path": "a", "cid": "bafy" }), ("ops.cid", false)),
        (ipld!({ "action": "create", "path": "a", "prev": 0 }), ("ops.prev", false)),
        (ipld!("create"), ("ops", false)),
    ] {
        let body = testing::event("#commit", &with(&sample(), "ops", Some(ipld!([op]))));
        assert_eq!(field_of(parse(&body).unwrap_err()), want);
    }
}

#[test]
fn an_error_names_its_offset() {
    let body = testing::event("#commit", &with(&sample(), "seq", Some(ipld!("7"))));
    let at = body.windows(4).position(|w| w == b"\x63seq").unwrap() + 4;
    let cause = Cause::Kind { wanted: Kind::Uint, found: Kind::Text };
    let error = parse(&body).unwrap_err();
    assert_eq!(error, Error::Field { field: "seq", offset: at, cause });
    assert_eq!(error.to_string(), format!("field seq at offset {at}: text instead of integer"));
    let body = testing::event("#commit", &with(&sample(), "seq", Some(ipld!((-7)))));
    assert_eq!(parse(&body).unwrap_err(), Error::Negative { field: "seq", offset: at, value: -7 });
}

#[test]
fn the_other_types_read_too() {
    let sync = ipld!({ "seq": 1, "did": "did:a:b", "rev": "r", "blocks": Ipld::Bytes(vec![1, 2]), "time": "t" });
    let body = testing::event("#sync", &sync);
    let Ok(Event::Sync(sync)) = parse(&body) else { panic!() };
    assert_eq!((sync.did, sync.rev, sync.blocks, sync.time), ("did:a:b", "r", &[1, 2][..], "t"));
    assert_eq!(&body[sync.blocks_at..][..2], [1, 2]);

    for (handle, want) in [(None, None), (Some(Ipld::Null), None), (Some(ipld!("h")), Some("h"))] {
        let map = ipld!({ "seq": 1, "did": "did:a:b", "time": "t" });
        let map = if let Some(handle) = handle { with(&map, "handle", Some(handle)) } else { map };
        let body = testing::event("#identity", &map);
        let Ok(Event::Identity(identity)) = parse(&body) else { panic!() };
        assert_eq!(identity, Identity { seq: 1, did: "did:a:b", handle: want, time: "t" });
    }

    let account = ipld!({ "seq": 1, "did": "d", "time": "t", "active": false, "status": "odd" });
    let body = testing::event("#account", &account);
    let Ok(Event::Account(account)) = parse(&body) else { panic!() };
    assert_eq!((account.active, account.status), (false, Some("odd")));

    let body = testing::event("#info", &ipld!({ "name": "OutdatedCursor", "message": "m" }));
    let info = parse(&body).unwrap();
    assert!(matches!(info, Event::Info { name: "OutdatedCursor", message: Some("m") }));
    assert_eq!((info.seq(), info.did(), info.rev()), (None, None, None));
}

#[test]
fn every_required_field_of_the_others_is_missed_by_name() {
    let full = ipld!({
        "seq": 1, "did": "d", "rev": "r", "time": "t", "active": true, "blocks": Ipld::Bytes(vec![]),
        "name": "n",
    });
    for (t, fields) in [
        ("#sync", &["seq", "did", "rev", "blocks", "time"][..]),
        ("#identity", &["seq", "did", "time"]),
        ("#account", &["seq", "did", "time", "active"]),
        ("#info", &["name"]),
    ] {
        assert!(parse(&testing::event(t, &full)).is_ok());
        for field in fields {
            let body = testing::event(t, &with(&full, field, None));
            assert_eq!(field_of(parse(&body).unwrap_err()), (*field, true), "{t}");
            let body = testing::event(t, &with(&full, field, Some(Ipld::Null)));
            assert_eq!(field_of(parse(&body).unwrap_err()), (*field, false), "{t}");
        }
    }
}

#[test]
fn unknown_types_tell_what_they_can() {
    let unknown = |body: &Ipld| {
        let bytes = testing::event("#handle", body);
        match parse(&bytes) {
            Ok(Event::Unknown { t, seq, did }) => (t.to_owned(), seq, did.map(str::to_owned)),
            other => panic!("{other:?}"),
        }
    };
    let name = || "#handle".to_owned();
    let did = || Some("did:a:b".to_owned());
    assert_eq!(unknown(&ipld!({ "seq": 9, "did": "did:a:b" })), (name(), Some(9), did()));
    assert_eq!(unknown(&ipld!({ "seq": (-9), "repo": "did:a:b" })), (name(), None, did()));
    assert_eq!(unknown(&ipld!({ "seq": "9", "did": 4 })), (name(), None, None));
    assert_eq!(unknown(&ipld!([1])), (name(), None, None));
}

#[test]
fn error_frames_have_a_header_of_their_own() {
    let header = encode(&ipld!({ "op": (-1) }));
    let body = [header, encode(&ipld!({ "error": "FutureCursor", "message": null }))].concat();
    let event = parse(&body).unwrap();
    assert!(matches!(event, Event::ErrorFrame { error: "FutureCursor", message: None }));
    assert_eq!(event.type_name(), "error");
}

#[test]
fn an_event_is_two_objects_and_nothing_else() {
    let good = testing::event("#identity", &ipld!({ "seq": 1, "did": "d", "time": "t" }));
    assert!(parse(&good).is_ok());
    for length in 0..good.len() {
        assert!(parse(&good[..length]).is_err());
    }
    let long = [&good[..], &[0xa0]].concat();
    let trailing = cbor::Error { offset: good.len(), cause: Cause::Trailing };
    assert_eq!(parse(&long).unwrap_err(), Error::Cbor(trailing));
    for (header, want) in [
        (ipld!({ "op": 2, "t": "#identity" }), Error::HeaderOp { op: 2 }),
        (ipld!({ "op": 1 }), Error::Missing { field: "t", offset: 0 }),
        (ipld!({ "t": "#identity" }), Error::Missing { field: "op", offset: 0 }),
    ] {
        let body = [encode(&header), encode(&ipld!({}))].concat();
        assert_eq!(parse(&body).unwrap_err(), want);
    }
}

#[test]
fn limits_are_checks_of_their_own() {
    let op = ipld!({ "action": "delete", "path": "a.b.c/d", "cid": null });
    for (count, want) in [(200, Ok(())), (201, Err(Limit::Ops(201)))] {
        let ops = Ipld::List(vec![op.clone(); count]);
        let body = testing::event("#commit", &with(&sample(), "ops", Some(ops)));
        let Ok(Event::Commit(commit)) = parse(&body) else { panic!() };
        assert_eq!(commit.limit(), want);
    }
    for (length, want) in [(2_000_000, Ok(())), (2_000_001, Err(Limit::BlocksBytes(2_000_001)))] {
        let blocks = Ipld::Bytes(vec![0; length]);
        let body = testing::event("#commit", &with(&sample(), "blocks", Some(blocks)));
        let Ok(Event::Commit(commit)) = parse(&body) else { panic!() };
        assert_eq!(commit.limit(), want);
    }
    for (length, want) in [(10_000, Ok(())), (10_001, Err(Limit::SyncBlocksBytes(10_001)))] {
        let sync = ipld!({ "seq": 1, "did": "d", "rev": "r", "blocks": Ipld::Bytes(vec![0; length]), "time": "t" });
        let body = testing::event("#sync", &sync);
        let Ok(Event::Sync(sync)) = parse(&body) else { panic!() };
        assert_eq!(sync.limit(), want);
    }
    assert_eq!(limits::event(&vec![0; 5_000_000]), Ok(()));
    assert_eq!(limits::event(&vec![0; 5_000_001]), Err(Limit::EventBytes(5_000_001)));
    assert_eq!(limits::record(&vec![0; 1_000_001]), Err(Limit::RecordBytes(1_000_001)));
}
