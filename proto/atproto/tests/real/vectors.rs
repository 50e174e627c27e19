//! Vectors: names that are and are not, real commits, whole repositories.

use std::path::PathBuf;

use atproto::repo::Repo;
use atproto::{Cid, Tid, car, cbor, commit, loose, mst, syntax};
use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use serde_json::Value;

use crate::data;

/// The strings of a file: one a line, without comments and empty lines.
fn strings(path: &PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn check(own: &str, beside: &str, is: fn(&str) -> bool) {
    for (suffix, want) in [("valid", true), ("invalid", false)] {
        let own = Some(data::fixture(&format!("vectors/{own}_{suffix}.txt")));
        let beside = data::beside(&format!("vectors/syntax/{beside}_syntax_{suffix}.txt"));
        for path in [own, beside].into_iter().flatten() {
            let strings = strings(&path);
            assert!(!strings.is_empty());
            for string in strings {
                assert_eq!(is(&string), want, "{string:?} of {}", path.display());
            }
        }
    }
}

#[test]
fn names_are_told_from_what_is_none() {
    check("did", "did", syntax::is_did);
    check("handle", "handle", syntax::is_handle);
    check("nsid", "nsid", syntax::is_nsid);
    check("rkey", "recordkey", syntax::is_rkey);
    check("tid", "tid", syntax::is_tid);
    check("path", "path", syntax::is_path);
    for path in ["vectors/tid_valid.txt"] {
        for tid in strings(&data::fixture(path)) {
            assert_eq!(tid.parse::<Tid>().unwrap().to_string(), tid);
        }
    }
}

#[test]
fn lengths_of_names_are_bounded() {
    let did = format!("did:a:{}", "x".repeat(2042));
    assert!(syntax::is_did(&did) && !syntax::is_did(&(did + "x")));
    let handle = format!("{}.com", ["a2345678"; 27].join(".") + ".a23456");
    assert_eq!(handle.len(), 253);
    assert!(syntax::is_handle(&handle) && !syntax::is_handle(&(handle + "x")));
    let rkey = "x".repeat(512);
    assert!(syntax::is_rkey(&rkey) && !syntax::is_rkey(&(rkey + "x")));
    let nsid = format!("{}.{}", ["a23456789"; 31].join("."), "n".repeat(7));
    assert_eq!(nsid.len(), 317);
    assert!(syntax::is_nsid(&nsid) && !syntax::is_nsid(&(nsid + "n")));
    let label = "x".repeat(63);
    assert!(syntax::is_nsid(&format!("{label}.{label}.{label}")));
    assert!(!syntax::is_nsid(&format!("{label}.{label}x.{label}")));
    assert!(!syntax::is_nsid(&format!("{label}.{label}.{label}x")));
}

fn base64(text: &Value) -> Vec<u8> {
    BASE64_NOPAD.decode(text.as_str().unwrap().trim_end_matches('=').as_bytes()).unwrap()
}

#[test]
fn data_model_fixtures_are_strict_and_have_their_cids() {
    let Some(path) = data::beside("vectors/repo/data-model-fixtures.json") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    for case in cases {
        let bytes = base64(&case["cbor_base64"]);
        cbor::check(&bytes).unwrap();
        let cid: Cid = case["cid"].as_str().unwrap().parse().unwrap();
        assert!(cid.is_of(&bytes));
        assert_eq!(cid, Cid::dag_cbor(&bytes));
    }
}

/// What stands in JSON, as CBOR: `$bytes` and `$link` where they have their form, and maps where
/// they do not.
fn encode(value: &Value) -> Ipld {
    match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(value) => match value.as_i64() {
            Some(value) => Ipld::Integer(value.into()),
            None => Ipld::Float(value.as_f64().unwrap()),
        },
        Value::String(value) => Ipld::String(value.clone()),
        Value::Array(values) => Ipld::List(values.iter().map(encode).collect()),
        Value::Object(fields) => {
            let one = |name: &str| fields.get(name).filter(|_| fields.len() == 1)?.as_str();
            let link = one("$link").and_then(|link| link.parse().ok());
            match (one("$bytes"), link) {
                (Some(bytes), _) => Ipld::Bytes(base64(&bytes.into())),
                (_, Some(link)) => Ipld::Link(link),
                _ => Ipld::Map(fields.iter().map(|(k, v)| (k.clone(), encode(v))).collect()),
            }
        }
    }
}

/// A record is its author's: that it breaks its lexicon or the data model's JSON form is no reason
/// to refuse the commit. It has to be CBOR of bounded depth and size.
#[test]
fn records_that_the_data_model_forbids_are_well_formed_all_the_same() {
    let Some(path) = data::beside("vectors/repo/data-model-invalid.json") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let bytes = serde_ipld_dagcbor::to_vec(&encode(&case["json"])).unwrap();
        assert!(loose::walk(&bytes).is_ok(), "{}", case["note"]);
    }
}

/// The blocks of a CAR, hashed.
struct Store(std::collections::HashMap<Cid, Vec<u8>>, Cid);

impl Store {
    fn read(bytes: &[u8]) -> Store {
        let car = car::parse(bytes).unwrap();
        let blocks = car.blocks().map(|block| {
            let block = block.unwrap();
            block.check().unwrap();
            (block.cid, block.data.to_vec())
        });
        Store(blocks.collect(), car.root().unwrap())
    }
}

impl mst::Source for Store {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        self.0.get(cid).map(Vec::as_slice)
    }
}

#[test]
fn real_commits_hold_together() {
    for number in ["4621317030", "4621317332", "4623075231"] {
        let name = format!("vectors/repo/firehose_commit_{number}.json");
        let Some(path) = data::beside(&name) else { return };
        let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let store = Store::read(&base64(&event["blocks"]["$bytes"]));
        assert_eq!(event["commit"]["$link"], store.1.to_string());
        let signed = commit::parse(&store.0[&store.1]).unwrap();
        assert_eq!((&event["repo"], &event["rev"]), (&signed.did.into(), &signed.rev.into()));
        for op in event["ops"].as_array().unwrap() {
            let path = op["path"].as_str().unwrap();
            let found = mst::find(path, &signed.data, &store).unwrap();
            assert_eq!(op["cid"]["$link"].as_str(), found.map(|cid| cid.to_string()).as_deref());
        }
    }
}

/// Goes through a whole tree in the order of its keys.
fn walk(store: &Store, node: &Cid, each: &mut impl FnMut(&str, Cid)) {
    let node = mst::Node::parse(&store.0[node]).unwrap();
    node.left.iter().for_each(|left| walk(store, left, each));
    let mut key = mst::Key::default();
    for entry in node.entries() {
        let key = key.next(&entry, 0).unwrap();
        each(std::str::from_utf8(key).unwrap(), entry.value);
        entry.right.iter().for_each(|right| walk(store, right, each));
    }
}

#[test]
fn exported_repositories_are_whole_trees() {
    let mut names = vec!["wild/repo.car".to_owned()];
    for did in [
        "3gxxyls3s7wnifo2woryfbam",
        "55wgcscpwmlpskr2k7xonuf5",
        "6pjeb7te77bqgelhsh5yydes",
        "e2ywhmzmxztiyukdnfqgn3ta",
        "pc4mtq74rzkithg4fwb4inlp",
    ] {
        names.push(format!("refnet/did_plc_{did}.car"));
    }
    for name in names {
        let Some(path) = data::beside(&name) else { continue };
        let bytes = std::fs::read(path).unwrap();
        // The host answered for one account with an error in JSON.
        if bytes.starts_with(b"{") {
            assert!(car::parse(&bytes).is_err());
            continue;
        }
        let store = Store::read(&bytes);
        let signed = commit::parse(&store.0[&store.1]).unwrap();
        assert!(syntax::is_did(signed.did) && syntax::is_tid(signed.rev));
        let (mut last, mut count) = (String::new(), 0);
        walk(&store, &signed.data, &mut |key, value| {
            assert!(last.as_str() < key && syntax::is_path(key), "{key}");
            assert!(store.0.contains_key(&value), "{key}");
            assert_eq!(mst::find(key, &signed.data, &store), Ok(Some(value)));
            last = key.to_owned();
            count += 1;
        });
        assert!(count > 0, "{name}");
        let whole = Repo::read(&bytes).unwrap();
        let mut paths = 0;
        whole
            .walk(|path, cid| {
                let path = std::str::from_utf8(path).unwrap();
                assert_eq!(mst::find(path, &signed.data, &store), Ok(Some(*cid)));
                paths += 1;
            })
            .unwrap();
        assert_eq!(paths, count, "{name}");
        lacks_nothing(&bytes);
    }
}

/// A repository that lacks any of its blocks is not whole, unless another one is the same.
fn lacks_nothing(bytes: &[u8]) {
    let car = car::parse(bytes).unwrap();
    let blocks: Vec<car::Block<'_>> = car.blocks().map(Result::unwrap).collect();
    // The header's length is one byte.
    let first = 1 + usize::from(bytes[0]);
    for (at, block) in blocks.iter().enumerate() {
        let from = if at == 0 { first } else { end(&blocks[at - 1]) };
        let without = [&bytes[..from], &bytes[end(block)..]].concat();
        let whole = Repo::read(&without).and_then(|repo| repo.walk(|_, _| {}));
        assert!(whole.is_err(), "block {at} is not missed");
    }
}

fn end(block: &car::Block<'_>) -> usize {
    block.offset + block.data.len()
}

#[test]
fn commits_of_older_versions_are_named() {
    for (name, want) in [("greenground", 3), ("paul_staging", 2)] {
        let Some(path) = data::beside(&format!("vectors/cars/{name}.repo.car")) else { return };
        let store = Store::read(&std::fs::read(path).unwrap());
        let version = match commit::parse(&store.0[&store.1]) {
            Ok(commit) => commit.version,
            Err(commit::Error::Version(version)) => version,
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(version, want, "{name}");
    }
}
