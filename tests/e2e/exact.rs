//! Bytes in are bytes out: what the archive gives back is what the host sent.

use e2e::{Chain, json_lines, refnet_events, truths};

use crate::{Refnet, text};

/// The raw events of an archive, in its order, and their lines.
pub(crate) fn archived(refnet: &Refnet, archive: &str) -> (Vec<Vec<u8>>, Vec<serde_json::Value>) {
    let raw = refnet.path("archived.u32be");
    let lines = Chain::new()
        .stage("archive-cat", &[archive])
        .stage("frame-cat", &["--events", "--force", "--raw", text(&raw)])
        .succeed();
    let bytes = std::fs::read(&raw).unwrap();
    (e2e::split(&bytes), json_lines(&lines))
}

/// The events that an archive of the capture holds: those with a proof under either key.
pub(crate) fn proved_events() -> Vec<Vec<u8>> {
    let proved = |truth: &e2e::Truth| truth.current == Some(true) || truth.at_time == Some(true);
    let events = refnet_events().into_iter().zip(truths());
    events.filter(|(_, truth)| proved(truth)).map(|(event, _)| event).collect()
}

#[test]
fn the_archive_returns_every_proved_event_byte_for_byte_in_order() {
    let refnet = Refnet::start(&[]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let archive = text(&archive);
    Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("dedupe", &["--window", "100000"])
        .stage("car-extract", &[])
        .stage("sig-verify", &["--index", &index])
        // Small segments, so that most of the capture is read back out of sealed ones.
        .stage("archive-pack", &["--out", archive, "--segment-bytes", "2MiB"])
        .succeed();
    let (events, lines) = archived(&refnet, archive);
    let proved = proved_events();
    assert_eq!(events.len(), proved.len());
    assert!(events == proved, "the archive gives back other bytes, or another order");
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["n"], n);
        assert_eq!(line["verdict"], "ok");
    }

    let json = Chain::new().stage("archive-cat", &[archive, "--json"]).succeed();
    let json: Vec<_> =
        json_lines(&json).into_iter().filter(|line| line["kind"] == "event").collect();
    assert_eq!(json, lines, "archive-cat --json and frame-cat print the same lines");

    let did = lines[lines.len() / 2]["did"].as_str().unwrap();
    let of_one = Chain::new().stage("archive-cat", &[archive, "--json", "--did", did]).succeed();
    let of_one: Vec<_> =
        json_lines(&of_one).into_iter().filter(|line| line["kind"] == "event").collect();
    let expected: Vec<_> = lines.iter().filter(|line| line["did"] == did).cloned().collect();
    assert_eq!(of_one, expected);

    let args = [archive, "--json", "--from", "1000", "--count", "25"];
    let stretch = json_lines(&Chain::new().stage("archive-cat", &args).succeed());
    let stretch: Vec<_> = stretch.into_iter().filter(|line| line["kind"] == "event").collect();
    assert_eq!(stretch, lines[1000..1025]);
}

#[test]
fn a_second_run_from_the_archives_mark_stores_nothing_twice() {
    let refnet = Refnet::start(&[]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let archive = text(&archive);
    let mut tap = refnet.tap();
    tap.extend(["--resume", archive]);
    for run in 0..2 {
        let (_, ended) = Chain::new()
            .stage("pds-tap", &tap)
            .stage("sig-verify", &["--index", &index])
            .stage("archive-pack", &["--out", archive])
            .run();
        assert!(ended.iter().all(|stage| stage.code == Some(0)), "run {run}: {ended:#?}");
    }
    let (events, _) = archived(&refnet, archive);
    assert!(events == proved_events());
}
