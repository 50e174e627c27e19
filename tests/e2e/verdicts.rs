//! The verdicts on a capture of the official servers must equal those of an independent program,
//! event by event, under each way of choosing keys.

use e2e::{Chain, Truth, json_lines, truths};

use crate::Refnet;

/// `frame-cat`'s events, as the chain gives them with every verdict passed on.
fn judged(refnet: &Refnet, keys: &str) -> Vec<serde_json::Value> {
    let index = refnet.index();
    let output = Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("dedupe", &["--window", "100000"])
        .stage("car-extract", &[])
        .stage("sig-verify", &["--index", &index, "--keys", keys, "--pass-all"])
        .stage("frame-cat", &["--events"])
        .succeed();
    json_lines(&output)
}

fn compare(keys: &str, expected: impl Fn(&Truth) -> Option<bool>) {
    let refnet = Refnet::start(&[]);
    let (events, truths) = (judged(&refnet, keys), truths());
    assert_eq!(events.len(), truths.len());
    let mut wrong = Vec::new();
    for (event, truth) in events.iter().zip(&truths) {
        assert_eq!(event["seq"], truth.seq);
        assert_eq!(event["type"], truth.t.as_str());
        let verdict = event["verdict"].as_str().unwrap();
        let fits = match expected(truth) {
            Some(true) => verdict == "ok" && event["rule"].is_null(),
            Some(false) => verdict == "refused" && event["rule"] == "bad-signature",
            // Unsigned events come from 127.0.0.1 here, and not from the host that the directory
            // names.
            None => verdict == "refused" && event["rule"] == "wrong-host",
        };
        if !fits {
            wrong.push((truth, event));
        }
    }
    assert!(wrong.is_empty(), "{} differ, the first: {:#?}", wrong.len(), wrong[0]);
}

#[test]
fn under_the_present_keys_they_equal_the_independent_ones() {
    compare("current", |truth| truth.current);
}

#[test]
fn under_the_keys_of_their_time_they_equal_the_independent_ones() {
    compare("history", |truth| truth.at_time);
}

#[test]
fn under_either_key_what_one_of_them_proves_is_proved() {
    compare("auto", |truth| Some(truth.current? || truth.at_time?));
}

#[test]
fn unproved_events_are_not_passed_on_but_kept_with_the_rule() {
    let refnet = Refnet::start(&[]);
    let (index, rejects) = (refnet.index(), refnet.path("rejects.frames"));
    let verify = ["--index", &index, "--keys", "current", "--rejects", rejects.to_str().unwrap()];
    let passed = Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("sig-verify", &verify)
        .stage("frame-cat", &["--events"])
        .succeed();
    let kept = Chain::new().stage("frame-cat", &["--events", rejects.to_str().unwrap()]).succeed();
    let (passed, kept, truths) = (json_lines(&passed), json_lines(&kept), truths());
    let proved = truths.iter().filter(|truth| truth.current == Some(true)).count();
    assert_eq!(passed.len(), proved);
    assert!(passed.iter().all(|event| event["verdict"] == "ok" && !event["key"].is_null()));
    assert_eq!(kept.len(), truths.len() - proved);
    assert!(kept.iter().all(|event| event["verdict"] == "refused" && !event["host"].is_null()));
    let forged = kept.iter().filter(|event| event["rule"] == "bad-signature").count();
    assert_eq!(forged, truths.iter().filter(|truth| truth.current == Some(false)).count());
}
