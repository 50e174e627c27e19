//! What a second host repeats goes through `dedupe` (the first could have been refused for who
//! sent it), and the archive stores it once. What a host sends again is dropped.

use e2e::{Chain, json_lines};

use crate::exact::{archived, proved_events};
use crate::{Refnet, text};

#[test]
fn two_hosts_with_the_same_events_make_an_archive_with_each_once() {
    let refnet = Refnet::start(&["--hosts", "2"]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let archive = text(&archive);
    assert_eq!(refnet.sim.hosts.len(), 2);
    Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("dedupe", &["--window", "100000"])
        .stage("sig-verify", &["--index", &index])
        .stage("archive-pack", &["--out", archive])
        .succeed();
    let (mut events, _) = archived(&refnet, archive);
    let mut expected = proved_events();
    events.sort();
    expected.sort();
    assert!(events == expected, "{} events, {} expected", events.len(), expected.len());
}

#[test]
fn what_a_host_sends_again_is_dropped_and_what_a_second_relay_repeats() {
    let refnet = Refnet::start(&["--hosts", "2"]);
    let frames = refnet.path("all.frames");
    let tap = |role| {
        let mut args = vec!["--allow-private", "--cursor", "0", "--until-idle", "2"];
        refnet.sim.hosts.iter().for_each(|host| args.extend([role, host.as_str()]));
        Chain::new().stage("pds-tap", &args).succeed()
    };
    let events = |frames: &[u8], inputs: &[&str]| {
        std::fs::write(refnet.path("all.frames"), frames).unwrap();
        let mut args = vec!["--window", "100000"];
        args.extend(inputs);
        let output =
            Chain::new().stage("dedupe", &args).stage("frame-cat", &["--events"]).succeed();
        json_lines(&output)
    };
    let (all, once) = (text(&frames), e2e::truths().len());
    let unsigned = e2e::truths().iter().filter(|truth| truth.current.is_none()).count();
    let of_hosts = tap("--host");
    assert_eq!(events(&of_hosts, &[all]).len(), 2 * once, "two hosts are two sides");
    assert_eq!(events(&of_hosts, &[all, all]).len(), 2 * once, "each sent everything again");
    let of_relays = tap("--relay");
    let kept = events(&of_relays, &[all]);
    assert_eq!(kept.len(), once + unsigned, "relays are one side, for what is signed");
}
