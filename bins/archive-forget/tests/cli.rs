//! `archive-forget` alone, as a process: what it writes, and misuse.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use archive::{Forgotten, Options, Writer};

const DID: &str = "did:plc:44ybard66vv44zksje25o7dz";

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_archive-forget")).arg(dir).args(args).output().unwrap()
}

fn archive() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Writer::open(dir.path(), Options::default()).unwrap().finish(false).unwrap();
    dir
}

#[test]
fn a_takedown_and_its_reversal_stand_in_the_log_with_their_reasons() {
    let dir = archive();
    let record = format!("at://{DID}/app.bsky.feed.post/3jzfcijpj2z2a");
    for (args, account, path) in [
        (&[&record, "--reason", "order 17"][..], false, true),
        (&[&record, "--reverse", "--reason", "lifted\nat once"], false, false),
        (&[DID, "--reason", "order 18"], true, true),
        (&[DID, "--reverse", "--reason", "lifted"], false, false),
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let forgotten = Forgotten::open(dir.path()).unwrap();
        assert_eq!(forgotten.account(DID), account);
        assert_eq!(forgotten.path(DID, "app.bsky.feed.post/3jzfcijpj2z2a"), path);
        assert_eq!(forgotten.path(DID, "app.bsky.feed.post/other"), account);
    }
    let log = std::fs::read_to_string(dir.path().join("forgotten")).unwrap();
    assert_eq!(log.lines().count(), 4, "a reason is one line: {log}");
    assert!(log.lines().next().unwrap().contains(&format!(" forget {record} order 17 #")), "{log}");
    let listed = run(dir.path(), &["--list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 4);
    assert!(
        listed.lines().last().unwrap().ends_with(&format!(" reverse {DID} lifted")),
        "{listed}"
    );
}

#[test]
fn a_line_that_was_not_written_whole_is_none() {
    let dir = archive();
    let text = format!("2026-08-01T12:00:00.000000Z forget {DID} wh");
    std::fs::write(dir.path().join("forgotten"), text).unwrap();
    assert!(!Forgotten::open(dir.path()).unwrap().account(DID));
}

#[test]
fn misuse_exits_2_and_a_folder_without_an_archive_is_an_error() {
    let dir = archive();
    for args in [
        &["alice", "--reason", "x"][..],
        &["at://alice/app.bsky.feed.post/3k", "--reason", "x"],
        &[DID],
        &[DID, "--reason", " "],
        &[DID, "--list"],
    ] {
        assert_eq!(run(dir.path(), args).status.code(), Some(2), "{args:?}");
    }
    let none = tempfile::tempdir().unwrap();
    let output = run(none.path(), &[DID, "--reason", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no archive here"));
}
