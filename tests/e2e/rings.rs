//! The chain with rings between its stages: the same archive as over pipes.

use e2e::{Chain, wait_until};

use crate::exact::{archived, proved_events};
use crate::{Refnet, text};

#[test]
fn a_chain_over_rings_makes_the_same_archive() {
    let refnet = Refnet::start(&[]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let archive = text(&archive);
    let ring = |n: u32| format!("ring:e2e-{}-{n}", std::process::id());
    let (first, second) = (ring(1), ring(2));
    let mut tap = refnet.tap();
    tap.extend(["--out", &first]);
    let stages = [
        Chain::new().stage("pds-tap", &tap),
        Chain::new().stage("sig-verify", &[&first, "--index", &index, "--out", &second]),
        Chain::new().stage("archive-pack", &[&second, "--out", archive]),
    ];
    let running: Vec<_> = stages.iter().map(Chain::start).collect();
    for stage in running {
        let ended = stage.wait();
        assert_eq!(ended[0].code, Some(0), "{ended:#?}");
    }
    let (events, _) = archived(&refnet, archive);
    assert!(events == proved_events());
}

#[test]
fn a_stage_killed_on_either_side_of_a_ring_ends_the_other() {
    let refnet = Refnet::start(&["--speed", "200"]);
    for victim in [0, 1] {
        let ring = format!("ring:e2e-{}-kill-{victim}", std::process::id());
        let mut tap = refnet.tap();
        tap.extend(["--out", &ring]);
        let mut sides = [
            Chain::new().stage("pds-tap", &tap).start(),
            Chain::new().stage("frame-cat", &[&ring]).start(),
        ];
        let mut lines = sides[1].lines();
        let mut seen = 0;
        wait_until("events through the ring", || {
            seen += usize::from(lines.next().is_some());
            seen > 20
        });
        sides[victim].kill(0);
        // The reader's output must not fill up while it drains.
        let drain = std::thread::spawn(move || lines.count());
        let [tap, cat] = sides;
        let ended = [tap.wait(), cat.wait()].map(|mut ended| ended.remove(0));
        drain.join().unwrap();
        let other = &ended[1 - victim];
        assert_eq!(ended[victim].code, None);
        assert_eq!(other.code, Some(1), "{other:#?}");
        let dead = if victim == 0 { "writer" } else { "reader" };
        assert!(other.stderr.contains(dead), "{other:#?}");
    }
}
