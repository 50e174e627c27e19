//! Flipped bytes where files hang together: in segments that lean on earlier ones of their group, and
//! in what is derived of segments.

use std::path::PathBuf;

use super::find::{all, asked, by_path};
use super::heads::traffic;
use super::*;
use crate::folder::Folder;
use crate::group::GROUP_SEGMENTS;

/// How many bytes of a file are flipped, one after the other.
const FLIPS: usize = 30;

/// Flips some bytes of a file, from its beginning to its end, and looks at each what comes of it.
fn flip(path: &Path, mut look: impl FnMut(usize)) {
    let good = std::fs::read(path).unwrap();
    let last = good.len() - 1;
    for at in (0..last).step_by(last / FLIPS + 1).chain([last]) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        // Another file: the old one may be mapped.
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, &bytes).unwrap();
        look(at);
    }
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, &good).unwrap();
}

#[test]
fn a_flipped_byte_costs_its_block_and_what_leans_on_it_in_its_group_and_all_of_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(600..900), false).unwrap();
    let whole = read_all(dir.path());
    let (mut costly, mut leant) = (0, 0);
    // The first of a group, one in its middle, and one of the group behind.
    for number in [0, 5, GROUP_SEGMENTS + 2] {
        let ours = u64::from(number) * 10..u64::from(number + 1) * 10;
        let group = ours.start..u64::from((number / GROUP_SEGMENTS + 1) * GROUP_SEGMENTS) * 10;
        flip(&Folder::new(dir.path()).segment(number), |at| {
            let (back, damage) = read(dir.path(), Query::default());
            let what = format!("segment {number}, byte {at}: {damage:?}");
            assert!(back.iter().all(|back| whole.contains(back)), "false: {what}");
            let there: Vec<_> = back.iter().filter_map(|back| back.n).collect();
            let lost: Vec<u64> = whole.iter().filter_map(|back| back.n).collect();
            let lost: Vec<u64> = lost.into_iter().filter(|n| !there.contains(n)).collect();
            assert!(lost.iter().all(|n| group.contains(n)), "{lost:?}: {what}");
            assert_eq!(damage.iter().map(|it| it.lost.count()).sum::<u64>(), lost.len() as u64);
            costly += usize::from(!lost.is_empty());
            leant += usize::from(lost.iter().any(|n| !ours.contains(n)));
        });
    }
    assert!(costly > FLIPS && leant > 0, "{costly} {leant}");
    assert!(read_all(dir.path()) == whole);
}

#[test]
fn a_flipped_byte_of_what_is_derived_costs_nothing_is_named_by_repair_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(600..760), true).unwrap();
    let (whole, all) = (read_all(dir.path()), all(dir.path()));
    let ((did, path), events) = all.paths.iter().max_by_key(|(_, events)| events.len()).unwrap();
    let runs = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|end| end == "run"))
    };
    for kind in ["leaf-", "path-", "acct-"] {
        let is_ours = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().contains(kind);
        let largest = runs().filter(is_ours).max_by_key(|path| path.metadata().unwrap().len());
        let largest = largest.unwrap();
        flip(&largest, |at| {
            let what = format!("{}, byte {at}", largest.display());
            assert!(read_all(dir.path()) == whole, "{what}");
            assert_eq!(asked(dir.path(), by_path(did, path)).0, *events, "{what}");
            let damage = crate::repair(dir.path()).unwrap();
            let names: Vec<_> = damage.iter().map(|damage| damage.path.clone()).collect();
            assert!(names.contains(&largest), "{what}: {damage:?}");
            assert_eq!(crate::repair(dir.path()).unwrap(), [], "{what}");
            assert_eq!(asked(dir.path(), by_path(did, path)).0, *events, "{what}: mended");
        });
    }
}
