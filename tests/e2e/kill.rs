//! Any stage is killed with -9 in mid-stream and the chain started again, as its supervisor does.
//! The archive ends as if nothing had happened: the same events, each once, byte for byte, in the
//! same order per account.

use std::collections::HashMap;
use std::time::Duration;

use e2e::Chain;

use crate::exact::{archived, proved_events};
use crate::{Refnet, text};

/// Events by account, in order. The account is found as `frame-cat` shows it.
fn by_account(events: &[Vec<u8>], dids: &[String]) -> HashMap<String, Vec<Vec<u8>>> {
    let mut accounts: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for (event, did) in events.iter().zip(dids) {
        accounts.entry(did.clone()).or_default().push(event.clone());
    }
    accounts
}

#[test]
fn a_chain_that_is_killed_anywhere_ends_in_the_same_archive() {
    // Slow enough that every round is in mid-stream, quick enough that all of it takes seconds.
    let refnet = Refnet::start(&["--speed", "2500"]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let archive = text(&archive);
    let mut tap = refnet.tap();
    tap.extend(["--resume", archive]);
    let chain = Chain::new()
        .stage("pds-tap", &tap)
        .stage("dedupe", &["--window", "100000"])
        .stage("car-extract", &[])
        .stage("sig-verify", &["--index", &index])
        .stage("archive-pack", &["--out", archive, "--segment-bytes", "1MiB"]);
    for round in 0..10 {
        let mut running = chain.start();
        std::thread::sleep(Duration::from_millis(150 + 83 * round));
        let victim = usize::try_from(round).unwrap() % 5;
        running.kill(victim);
        let ended = running.wait();
        for (at, stage) in ended.iter().enumerate() {
            // Those before the dead one see a closed output, those behind it a torn stream.
            let expected = match at.cmp(&victim) {
                std::cmp::Ordering::Less => Some(0),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(1),
            };
            assert_eq!(stage.code, expected, "round {round}, {victim} killed: {ended:#?}");
        }
    }
    chain.succeed();

    let (events, lines) = archived(&refnet, archive);
    let dids: Vec<String> =
        lines.iter().map(|line| line["did"].as_str().unwrap().to_owned()).collect();
    let mut expected = proved_events();
    let mut did_of: HashMap<&[u8], &String> = HashMap::new();
    events.iter().zip(&dids).for_each(|(event, did)| {
        did_of.insert(event, did);
    });
    let expected_dids: Vec<String> =
        expected.iter().map(|event| (*did_of.get(&event[..]).expect("lost")).clone()).collect();
    assert!(by_account(&events, &dids) == by_account(&expected, &expected_dids));
    let mut events = events;
    events.sort();
    expected.sort();
    assert!(events == expected, "{} events, {} expected", events.len(), expected.len());
}
