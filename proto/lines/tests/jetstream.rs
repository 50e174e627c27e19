//! Lines of Jetstream, as its own README and models show them, come out of the events they tell of.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use atproto::blocks::Blocks;
use atproto::event;
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use serde_ipld_dagcbor::to_vec;
use serde_json::{Value, json};

/// What the README of bluesky-social/jetstream has under "Example events", on a line each. Its
/// identity and account events are of before the field `kind` had its name.
const LINES: [&str; 4] = [
    concat!(
        r#"{"did":"did:plc:eygmaihciaxprqvxpfvl6flk","time_us":1725911162329308,"kind":"commit","#,
        r#""commit":{"rev":"3l3qo2vutsw2b","operation":"create","collection":"app.bsky.feed.like","#,
        r#""rkey":"3l3qo2vuowo2b","record":{"$type":"app.bsky.feed.like","#,
        r#""createdAt":"2024-09-09T19:46:02.102Z","subject":{"#,
        r#""cid":"bafyreidc6sydkkbchcyg62v77wbhzvb2mvytlmsychqgwf2xojjtirmzj4","#,
        r#""uri":"at://did:plc:wa7b35aakoll7hugkrjtf3xf/app.bsky.feed.post/3l3pte3p2e325"}},"#,
        r#""cid":"bafyreidwaivazkwu67xztlmuobx35hs2lnfh3kolmgfmucldvhd3sgzcqi"}}"#,
    ),
    concat!(
        r#"{"did":"did:plc:rfov6bpyztcnedeyyzgfq42k","time_us":1725516666833633,"kind":"commit","#,
        r#""commit":{"rev":"3l3f6nzl3cv2s","operation":"delete","#,
        r#""collection":"app.bsky.graph.follow","rkey":"3l3dn7tku762u"}}"#,
    ),
    concat!(
        r#"{"did":"did:plc:ufbl4k27gp6kzas5glhz7fim","time_us":1725516665234703,"kind":"identity","#,
        r#""identity":{"did":"did:plc:ufbl4k27gp6kzas5glhz7fim","handle":"yohenrique.bsky.social","#,
        r#""seq":1409752997,"time":"2024-09-05T06:11:04.870Z"}}"#,
    ),
    concat!(
        r#"{"did":"did:plc:ufbl4k27gp6kzas5glhz7fim","time_us":1725516665333808,"kind":"account","#,
        r#""account":{"active":true,"did":"did:plc:ufbl4k27gp6kzas5glhz7fim","seq":1409753013,"#,
        r#""time":"2024-09-05T06:11:04.870Z"}}"#,
    ),
];

fn value(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn link(cid: &str) -> Ipld {
    Ipld::Link(Cid::try_from(cid).unwrap())
}

/// The event that a line tells of, as a host sends it.
fn event_of(line: &Value) -> Vec<u8> {
    let kind = line["kind"].as_str().unwrap();
    let header = to_vec(&json!({"op": 1, "t": format!("#{kind}")})).unwrap();
    if kind != "commit" {
        return [header, to_vec(&line[kind]).unwrap()].concat();
    }
    let commit = &line["commit"];
    let text = |field: &str| commit[field].as_str().unwrap().to_owned();
    let cid = commit["cid"].as_str();
    let root = cid.unwrap_or("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    let mut car = Vec::new();
    let mut put = |bytes: &[u8]| {
        // A varint; all of these are shorter than 16 KiB.
        match bytes.len() {
            short @ ..0x80 => car.push(short as u8),
            long => car.extend([long as u8 | 0x80, (long >> 7) as u8]),
        }
        car.extend_from_slice(bytes);
    };
    let of = |fields: Vec<(&str, Ipld)>| {
        Ipld::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let roots = Ipld::List(vec![link(root)]);
    put(&to_vec(&of(vec![("roots", roots), ("version", Ipld::Integer(1))])).unwrap());
    if let Some(cid) = cid {
        let record = to_vec(&commit["record"]).unwrap();
        put(&[Cid::try_from(cid).unwrap().to_bytes(), record].concat());
    }
    let path = format!("{}/{}", text("collection"), text("rkey"));
    let op = of(vec![
        ("action", Ipld::String(text("operation"))),
        ("cid", cid.map_or(Ipld::Null, link)),
        ("path", Ipld::String(path)),
    ]);
    let body = of(vec![
        ("ops", Ipld::List(vec![op])),
        ("rev", Ipld::String(text("rev"))),
        ("seq", Ipld::Integer(1)),
        ("repo", Ipld::String(line["did"].as_str().unwrap().to_owned())),
        ("time", Ipld::String("2024-09-09T19:46:02.500Z".to_owned())),
        ("blobs", Ipld::List(Vec::new())),
        ("since", Ipld::Null),
        ("blocks", Ipld::Bytes(car)),
        ("commit", link(root)),
        ("rebase", Ipld::Bool(false)),
        ("tooBig", Ipld::Bool(false)),
    ]);
    [header, to_vec(&body).unwrap()].concat()
}

#[test]
fn events_have_the_lines_that_jetstream_documents() {
    for line in LINES {
        let body = event_of(&value(line));
        let event = event::parse(&body).unwrap();
        let mut blocks = Blocks::new();
        // The record's CID is that of the bytes, or this would fail.
        blocks.fill(&body, &event).unwrap();
        let time_ns = value(line)["time_us"].as_u64().unwrap() * 1_000;
        let mut out = Vec::new();
        lines::jetstream(&mut out, time_ns, (&event, &body), &blocks, |_| true);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(value(&out), value(line));
        // To the letter, but for the order of a record's fields: by name there, by length and name
        // here, as they lie in the record.
        let until_record = |line: &str| line.split("\"record\"").next().unwrap().to_owned();
        assert_eq!(until_record(out.trim_end()), until_record(line));
        assert!(line.ends_with(out.trim_end().rsplit(',').next().unwrap()), "{out}");
    }
}
