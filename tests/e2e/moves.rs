//! Accounts that move between hosts, sleep and come back, change their keys and end, and hosts that send
//! commits of the old form and skip numbers: through a tap and a verifier that asks the directory and
//! the hosts.

use std::collections::BTreeMap;

use e2e::{Chain, Sim, json_lines};
use frame::{Decoder, Item, Kind};

use crate::text;

#[test]
fn accounts_that_move_are_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("truth.jsonl");
    let sim = Sim::start(&[
        "--hosts",
        "3",
        "--accounts",
        "12",
        "--events",
        "700",
        "--backfill",
        "700",
        "--seed",
        "5",
        "--mix",
        "all=0,create=60,delete=10,migrate=12,deactivate=4,activate=5,legacy=6,jump=6,rotate=4,remove=1,birth=2",
        "--truth",
        text(&truth),
    ]);
    let mut tap = vec!["--allow-private", "--cursor", "0", "--until-idle", "2"];
    sim.hosts.iter().for_each(|host| tap.extend(["--host", host]));
    let heard = Chain::new().stage("pds-tap", &tap).succeed();
    let mut truths: BTreeMap<(String, u64), (usize, serde_json::Value)> = BTreeMap::new();
    for line in json_lines(&std::fs::read(&truth).unwrap()).into_iter().enumerate() {
        let (host, seq) = (line.1["host"].as_str().unwrap(), line.1["seq"].as_u64().unwrap());
        truths.insert((host.to_owned(), seq), line);
    }
    let stream = folder.path().join("heard.frames");
    std::fs::write(&stream, in_order(&heard, |key| truths[key].0)).unwrap();
    let verify = ["--resolve", &sim.plc, "--allow-private", "--pass-all", text(&stream)];
    let output =
        Chain::new().stage("sig-verify", &verify).stage("frame-cat", &["--events"]).succeed();
    let events = json_lines(&output);
    assert_eq!(events.len(), truths.len());
    let (mut moved, mut refused) = (0, BTreeMap::<String, usize>::new());
    for event in &events {
        let key = (event["host"].as_str().unwrap().to_owned(), event["seq"].as_u64().unwrap());
        let (_, truth) = &truths[&key];
        let rule = event["rule"].as_str().unwrap_or("ok");
        if truth["fault"] == "migration" {
            moved += 1;
            assert_eq!((&event["verdict"], rule), (&"refused".into(), "rev-mismatch"));
            continue;
        }
        let said = format!("{} {rule}", event["verdict"].as_str().unwrap());
        *refused.entry(said).or_default() += 1;
        // The directory says where an account lives now: what its old host said of it is the word of
        // a stranger by now.
        let expected: &[&str] = match event["type"].as_str().unwrap() {
            "#commit" | "#sync" => &["ok"],
            // And of an account that has ended since nobody says anything any more.
            _ => &["ok", "wrong-host", "tombstoned"],
        };
        assert!(expected.contains(&rule), "{event:#}");
    }
    assert!(moved > 10, "{moved} moves");
    assert!(refused["ok ok"] > 350, "{refused:?}");
}

/// The events of a stream in the order in which they came to be, whichever host was read first.
fn in_order(stream: &[u8], number: impl Fn(&(String, u64)) -> usize) -> Vec<u8> {
    let mut decoder = Decoder::default();
    let (mut names, mut events) = (BTreeMap::new(), Vec::new());
    let (mut ordered, mut end) = (frame::MAGIC.to_vec(), &[][..]);
    let mut rest = stream;
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        let (bytes, behind) = rest.split_at(used);
        rest = behind;
        let Item::Frame(frame) = item else { continue };
        match frame.header.kind {
            Kind::HOST => {
                let host = frame::host::read(&frame).unwrap();
                names.insert(frame.header.host.0, host.name.to_owned());
                ordered.extend_from_slice(bytes);
            }
            Kind::EVENT => {
                let key = (names[&frame.header.host.0].clone(), frame.header.seq);
                events.push((number(&key), bytes));
            }
            Kind::END => end = bytes,
            _ => {}
        }
    }
    events.sort_by_key(|(number, _)| *number);
    events.iter().for_each(|(_, bytes)| ordered.extend_from_slice(bytes));
    [&ordered, end].concat()
}
