//! Files that are named like pages and are something else: skipped, said why, never obeyed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use stats::layout::PAGE_BYTES;
use stats::{Error, Page, Snapshot};

fn page_path(dir: &Path, n: u32) -> PathBuf {
    dir.join(format!("sovereign-stats-evil-{n}-1"))
}

/// A file that is locked, as a page is whose writer lives.
fn locked(path: &Path, bytes: &[u8]) -> fs::File {
    fs::write(path, bytes).unwrap();
    let file = fs::File::open(path).unwrap();
    file.try_lock().unwrap();
    file
}

/// The bytes of a true page.
fn page_bytes() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "dedupe", Some("name"), "1").unwrap();
    page.set_inputs(&["ring:a"]);
    page.named("gap").add(1);
    let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    fs::read(path).unwrap()
}

fn why_skipped(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let _lock = locked(&page_path(dir.path(), 1), bytes);
    let reading = Snapshot::read_all(dir.path()).unwrap();
    assert!(reading.pages.is_empty());
    assert_eq!(reading.skipped.len(), 1);
    reading.skipped[0].error.to_string()
}

fn with(at: usize, value: u64) -> Vec<u8> {
    let mut bytes = page_bytes();
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn each_kind_of_damage_is_named() {
    assert_eq!(why_skipped(b""), "0 bytes, where a page has 65536");
    assert_eq!(why_skipped(&page_bytes()[..100]), "100 bytes, where a page has 65536");
    let zeros = vec![0; PAGE_BYTES];
    let no_magic = "no stats page (it begins with [00, 00, 00, 00, 00, 00, 00, 00])";
    assert_eq!(why_skipped(&zeros), no_magic);
    let other_version = "stats page of version 2, where this program reads version 1";
    assert_eq!(why_skipped(&with(8, 2)), other_version);
    assert_eq!(why_skipped(&with(64, 65)), "offset 64: 65 is over the limit of 64");
    assert_eq!(why_skipped(&with(128, 0x1b)), "offset 128: not a printable text");
    assert_eq!(why_skipped(&with(8_192, 0xff)), "offset 8192: not a printable text");
    assert_eq!(why_skipped(&with(40, 1)), "its description is being written");
}

#[test]
fn pipes_links_and_directories_are_not_opened_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, page_bytes()).unwrap();
    symlink(&secret, page_path(dir.path(), 1)).unwrap();
    nix::unistd::mkfifo(&page_path(dir.path(), 2), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(page_path(dir.path(), 3)).unwrap();
    let reading = Snapshot::read_all(dir.path()).unwrap();
    assert_eq!((reading.pages.len(), reading.removed, reading.skipped.len()), (0, 0, 3));
    for skipped in &reading.skipped {
        assert!(matches!(skipped.error, Error::NotAFile), "{skipped:?}");
    }
    assert!(secret.exists());
}

#[test]
fn a_page_cut_short_under_its_writer_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "dedupe", None, "1").unwrap();
    let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10).unwrap();
    let reading = Snapshot::read_all(dir.path()).unwrap();
    assert!(matches!(reading.skipped[0].error, Error::Size { found: 10, .. }));
    // It must not touch its memory after this.
    std::mem::drop(page);
}

#[test]
fn what_a_dead_maker_left_half_made_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(page_path(dir.path(), 1), b"").unwrap();
    fs::write(page_path(dir.path(), 2), vec![0; PAGE_BYTES]).unwrap();
    fs::write(page_path(dir.path(), 3), page_bytes()).unwrap();
    let reading = Snapshot::read_all(dir.path()).unwrap();
    assert_eq!((reading.removed, reading.pages.len(), reading.skipped.len()), (3, 0, 0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let error = Snapshot::read_all(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(error, Error::List { .. }), "{error}");
}

proptest! {
    #[test]
    fn bytes_changed_anywhere_are_read_or_refused_and_texts_stay_printable(
        changes in prop::collection::vec((0..PAGE_BYTES, any::<u8>()), 0..64),
        head in prop::collection::vec((0_usize..512, any::<u8>()), 0..8),
    ) {
        let mut bytes = page_bytes();
        for (at, byte) in changes.into_iter().chain(head) {
            bytes[at] = byte;
        }
        if let Ok(page) = Snapshot::decode(&bytes) {
            let named = page.named.iter().map(|named| &named.name);
            let ends = page.inputs.iter().chain(&page.outputs);
            for text in [&page.tool, &page.release].into_iter().chain(named).chain(ends) {
                prop_assert!(!text.contains(char::is_control));
            }
            let _ = page.latency.percentile(0.99);
        }
    }

    #[test]
    fn a_page_of_any_length_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Snapshot::decode(&bytes).is_err());
    }
}
