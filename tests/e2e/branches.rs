//! A stage run four times between a split and a merge: the same archive as with one, whatever
//! dies on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::{Chain, Running, wait_until};

use crate::exact::{archived, proved_events};
use crate::{Refnet, text};

const BRANCHES: usize = 4;

/// Each account's events, in order, and byte for byte.
fn by_account(refnet: &Refnet, archive: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let (events, lines) = archived(refnet, archive);
    let mut accounts: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (event, line) in events.into_iter().zip(lines) {
        accounts.entry(line["did"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    accounts
}

/// Tap and split, the branches, merge and archive; each of these runs on its own.
fn start(refnet: &Refnet, archive: &str, by: &str) -> Vec<Running> {
    // Tests run beside each other.
    static STARTS: AtomicUsize = AtomicUsize::new(0);
    let start = STARTS.fetch_add(1, Ordering::Relaxed);
    let ring = |side: &str, n: usize| format!("ring:e2e-{}-{start}{side}{n}", std::process::id());
    let (to, from): (Vec<String>, Vec<String>) =
        (0..BRANCHES).map(|n| (ring("to", n), ring("from", n))).unzip();
    let mut tap = refnet.tap();
    tap.extend(["--resume", archive]);
    let mut split = vec!["--by", by, "--out"];
    split.extend(to.iter().map(String::as_str));
    let merge: Vec<&str> = from.iter().map(String::as_str).collect();
    let index = refnet.index();
    let ends = [
        Chain::new().stage("pds-tap", &tap).stage("frame-split", &split),
        Chain::new()
            .stage("frame-merge", &merge)
            .stage("archive-pack", &["--out", archive, "--segment-bytes", "2MiB"]),
    ];
    let branches = to.iter().zip(&from).map(|(to, from)| {
        Chain::new().stage("sig-verify", &[to, "--index", &index, "--out", from])
    });
    ends.into_iter().chain(branches).map(|chain| chain.start()).collect()
}

/// The exit codes of tap, split, merge, archive and each branch.
fn codes(running: Vec<Running>) -> (Vec<Option<i32>>, String) {
    let ended: Vec<_> = running.into_iter().flat_map(Running::wait).collect();
    (ended.iter().map(|stage| stage.code).collect(), format!("{ended:#?}"))
}

#[test]
fn four_verifiers_make_the_same_archive_as_one() {
    let refnet = Refnet::start(&["--hosts", "2"]);
    let (index, one) = (refnet.index(), refnet.path("one"));
    Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("sig-verify", &["--index", &index])
        .stage("archive-pack", &["--out", text(&one)])
        .succeed();
    let expected = by_account(&refnet, text(&one));
    assert_eq!(expected.values().flatten().count(), proved_events().len());
    for by in ["did", "host"] {
        let archive = refnet.path(by);
        let (codes, ended) = codes(start(&refnet, text(&archive), by));
        assert!(codes.iter().all(|code| *code == Some(0)), "{ended}");
        assert!(by_account(&refnet, text(&archive)) == expected, "by {by}");
    }
}

/// The bytes of an archive's files.
fn bytes(archive: &Path) -> u64 {
    let files = archive.read_dir().into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[test]
fn a_dead_branch_ends_the_chain_and_nothing_is_lost_when_it_starts_again() {
    // Slow enough that every round is in mid-stream as soon as the archive takes something.
    let refnet = Refnet::start(&["--speed", "500"]);
    let folder = refnet.path("archive");
    let archive = text(&folder);
    // A branch, the split's chain, the merge's: which process of which.
    for (round, (victim, stage)) in [(2, 0), (0, 1), (1, 0)].into_iter().enumerate() {
        let before = bytes(&folder);
        let mut running = start(&refnet, archive, "did");
        wait_until("events in the archive", || bytes(&folder) > before + 100_000);
        running[victim].kill(stage);
        let (codes, ended) = codes(running);
        let [tap, split, merge, pack, branches @ ..] = &codes[..] else { panic!("{codes:?}") };
        assert_eq!((tap, pack), (&Some(0), &Some(1)), "{ended}");
        let dead = [branches[0], *split, *merge][round];
        assert_eq!(dead, None, "{ended}");
        let others = [*split, *merge].into_iter().flatten();
        assert!(others.eq([1, 1].into_iter().skip(round.min(1))), "{ended}");
    }
    let (codes, ended) = codes(start(&refnet, archive, "did"));
    assert!(codes.iter().all(|code| *code == Some(0)), "{ended}");
    let (mut events, _) = archived(&refnet, archive);
    let mut expected = proved_events();
    events.sort();
    expected.sort();
    assert!(events == expected, "{} events, {} expected", events.len(), expected.len());
}
