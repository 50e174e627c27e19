//! What a directory's lines say, and which of an account's operations count.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use plc::{
    Error, Operation,
    chain::{self, Link},
};
use proptest::{collection, prelude::*};

#[derive(Debug, Clone, Copy)]
struct Op(u32, Option<u32>, u64);

impl Link for Op {
    type Id = u32;

    fn id(&self) -> u32 {
        self.0
    }

    fn prev(&self) -> Option<u32> {
        self.1
    }

    fn created_ms(&self) -> u64 {
        self.2
    }
}

#[test]
fn a_later_follower_of_the_same_operation_nullifies_what_came_between() {
    let ops = [
        Op(1, None, 10),
        Op(2, Some(1), 20),
        Op(3, Some(2), 30),
        Op(4, Some(1), 40),
        Op(5, Some(4), 50),
    ];
    let chain = chain::valid(&ops);
    assert_eq!((&chain.valid[..], chain.nullified, chain.broken), (&[0, 3, 4][..], 2, false));
}

#[test]
fn in_one_millisecond_the_line_given_later_is_the_later_one() {
    let ops = [Op(1, None, 10), Op(2, Some(1), 10), Op(3, Some(1), 10)];
    assert_eq!(chain::valid(&ops).valid, [0, 2]);
}

#[test]
fn repeats_count_once() {
    let ops = [Op(1, None, 10), Op(2, Some(1), 20), Op(1, None, 10), Op(2, Some(1), 20)];
    let chain = chain::valid(&ops);
    assert_eq!((&chain.valid[..], chain.repeated, chain.nullified), (&[0, 1][..], 2, 0));
}

#[test]
fn behind_a_missing_operation_the_chain_goes_on_and_says_so() {
    let missing = [Op(1, None, 10), Op(3, Some(2), 30)];
    let chain = chain::valid(&missing);
    assert_eq!((&chain.valid[..], chain.broken), (&[0, 1][..], true));
    let headless = chain::valid(&[Op(2, Some(1), 20), Op(3, Some(2), 30)]);
    assert_eq!((&headless.valid[..], headless.broken), (&[0, 1][..], true));
    assert!(chain::valid(&[Op(2, Some(1), 20)]).broken);
}

#[test]
fn followers_of_a_missing_operation_nullify_each_other_too() {
    // 1 is not here; 4 goes back to it.
    let ops = [Op(2, Some(1), 20), Op(3, Some(2), 30), Op(4, Some(1), 40), Op(5, Some(4), 50)];
    let chain = chain::valid(&ops);
    assert_eq!((&chain.valid[..], chain.nullified, chain.broken), (&[2, 3][..], 2, true));
}

#[test]
fn operations_that_follow_each_other_in_a_ring_lead_nowhere() {
    let ring = chain::valid(&[Op(1, Some(2), 10), Op(2, Some(1), 20)]);
    assert_eq!((ring.valid.len(), ring.broken), (0, true));
    let beside = chain::valid(&[Op(9, None, 1), Op(1, Some(2), 10), Op(2, Some(1), 20)]);
    assert_eq!(beside.valid, [0]);
    assert!(chain::valid(&[Op(1, Some(1), 10), Op(1, Some(1), 10)]).broken);
    assert!(chain::valid::<Op>(&[]).valid.is_empty());
}

#[test]
fn a_second_first_operation_is_left_out() {
    let chain = chain::valid(&[Op(1, None, 10), Op(2, None, 20)]);
    assert_eq!((&chain.valid[..], chain.broken), (&[0][..], true));
}

/// The directory's own way, operation by operation as they come: what is behind `prev` goes.
fn as_the_directory_does(ops: &[Op]) -> Vec<u32> {
    let mut chain: Vec<u32> = Vec::new();
    for op in ops {
        match op.1 {
            None => chain = vec![op.0],
            Some(prev) => {
                let at = chain.iter().position(|id| *id == prev).unwrap();
                chain.truncate(at + 1);
                chain.push(op.0);
            }
        }
    }
    chain
}

proptest! {
    #[test]
    fn any_order_gives_what_the_directory_had(
        steps in collection::vec(any::<prop::sample::Index>(), 0..30),
        order in any::<u64>(),
    ) {
        let mut ops = vec![Op(0, None, 100)];
        for (number, step) in steps.iter().enumerate() {
            // Something that counts at that time is followed.
            let counting = as_the_directory_does(&ops);
            let prev = counting[step.index(counting.len())];
            ops.push(Op(number as u32 + 1, Some(prev), 200 + number as u64));
        }
        let expected = as_the_directory_does(&ops);
        let mut shuffled = ops.clone();
        shuffled.sort_by_key(|op| u64::from(op.0 + 1).wrapping_mul(order | 1));
        for ops in [&ops, &shuffled] {
            let chain = chain::valid(ops);
            let ids: Vec<u32> = chain.valid.iter().map(|place| ops[*place].0).collect();
            prop_assert_eq!(&ids, &expected);
            prop_assert_eq!(chain.nullified, ops.len() - expected.len());
            prop_assert!(!chain.broken);
        }
    }

    #[test]
    fn any_operations_come_to_an_end(
        ops in collection::vec((0..12u32, proptest::option::of(0..12u32), 0..9u64), 0..40),
    ) {
        let ops: Vec<Op> = ops.into_iter().map(|(id, prev, time)| Op(id, prev, time)).collect();
        let chain = chain::valid(&ops);
        let mut ids: Vec<u32> = chain.valid.iter().map(|place| ops[*place].0).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), chain.valid.len());
    }

    #[test]
    fn any_bytes_are_an_operation_or_an_error(data: Vec<u8>) {
        plc::fuzz_operation(&data);
    }
}

const CID: &str = "bafyreiht2jap4zh7ymbrcz4r7ogazetvtbnpx2oyawl4crpslnlh2kt3ou";
const DID: &str = "did:plc:6pjeb7te77bqgelhsh5yydes";

fn line(operation: &str) -> String {
    format!(
        r#"{{"did":"{DID}","operation":{operation},"cid":"{CID}","nullified":false,"createdAt":"2026-11-23T11:11:05.084Z"}}"#
    )
}

#[test]
fn a_line_of_the_export_is_read() {
    let text = line(&format!(
        r#"{{"type":"plc_operation","verificationMethods":{{"atproto":"did:key:zQ3","other":"x"}},
        "rotationKeys":["r"],"alsoKnownAs":["at://a\u0020b"],"services":{{"atproto_pds":
        {{"type":"AtprotoPersonalDataServer","endpoint":"https:\/\/a.example"}}}},"prev":"{CID}","sig":"s"}}"#
    ));
    let operation = Operation::parse(text.as_bytes()).unwrap();
    assert_eq!(operation.did.to_string(), DID);
    assert_eq!(operation.cid.to_string(), CID);
    assert_eq!(operation.prev, Some(operation.cid));
    assert_eq!(operation.created_ms, 1_795_432_265_084);
    assert_eq!(operation.key.as_deref(), Some("did:key:zQ3"));
    assert_eq!(operation.pds.as_deref(), Some("https://a.example"));
    assert_eq!((operation.tombstone, operation.seq), (false, None));
}

#[test]
fn a_line_with_a_number_is_read() {
    let text = format!(
        r#"{{"type":"sequenced_op","seq":7,"did":"{DID}","cid":"{CID}","operation":{{"type":"plc_tombstone","prev":"{CID}","sig":"s"}},"createdAt":"2026-11-23T11:11:05Z"}}"#
    );
    let operation = Operation::parse(text.as_bytes()).unwrap();
    assert_eq!((operation.seq, operation.tombstone, operation.key), (Some(7), true, None));
}

#[test]
fn the_first_form_of_an_operation_is_read() {
    let text = line(
        r#"{"type":"create","signingKey":"did:key:zQ3","recoveryKey":"did:key:zR","handle":"a.b","service":"https://bsky.social","prev":null,"sig":"s"}"#,
    );
    let operation = Operation::parse(text.as_bytes()).unwrap();
    assert_eq!(operation.key.as_deref(), Some("did:key:zQ3"));
    assert_eq!(operation.pds.as_deref(), Some("https://bsky.social"));
    assert_eq!(operation.prev, None);
}

#[test]
fn an_account_can_lack_a_key_and_a_pds() {
    for services in ["{}", r#"{"atproto_pds":{"type":"Other","endpoint":"https://a.example"}}"#] {
        let text = line(&format!(
            r#"{{"type":"plc_operation","verificationMethods":{{}},"services":{services},"prev":null}}"#
        ));
        let operation = Operation::parse(text.as_bytes()).unwrap();
        assert_eq!((operation.key, operation.pds), (None, None));
    }
}

#[test]
fn lines_that_are_no_operation_are_named() {
    let good = line(r#"{"type":"plc_tombstone","prev":null}"#);
    let bad =
        |from: &str, to: &str| Operation::parse(good.replace(from, to).as_bytes()).unwrap_err();
    assert!(matches!(bad("}", ""), Error::Json(_)));
    assert!(matches!(bad("\"cid\"", "\"other\""), Error::Json(_)));
    assert!(matches!(bad("did:plc:6", "did:web:6"), Error::Did));
    assert!(matches!(bad("bafy", "cafy"), Error::Cid(_)));
    assert!(matches!(bad(":null", ":\"x\""), Error::Prev(_)));
    assert!(matches!(bad("2026-11-23T", "x"), Error::Time));
    assert!(matches!(bad("2026-", "1926-"), Error::Time));
    assert!(matches!(bad("plc_tombstone", "plc_rename"), Error::OperationType));
    assert!(matches!(bad("{\"did\"", "{\"type\":\"x\",\"did\""), Error::LineType));
}

/// Recorded logs of the real directory, with its own word on what is nullified.
#[test]
fn recorded_logs_come_out_as_the_directory_had_them() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vectors/plc/valid");
    let Ok(logs) = fs::read_dir(folder) else { return };
    for log in logs {
        let path = log.unwrap().path();
        let text = fs::read(&path).unwrap();
        let operations = Operation::parse_log(&text).unwrap();
        let lines: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        let expected: Vec<usize> =
            (0..lines.len()).filter(|place| lines[*place]["nullified"] == false).collect();
        let chain = chain::valid(&operations);
        assert_eq!(chain.valid, expected, "{}", path.display());
        assert!(!chain.broken);
    }
}
