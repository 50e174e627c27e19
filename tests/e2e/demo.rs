//! `make demo`, as a newcomer sees it, with the binaries that are built already.

use std::path::Path;
use std::process::{Command, Stdio};

use e2e::bin;

#[test]
fn the_demo_proves_the_capture_and_says_where_the_archive_lies() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let run = Command::new(root.join("pipelines/demo"))
        .env("BIN", bin("pds-tap").parent().unwrap())
        .env("DATA", dir.path().join("demo"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    for expected in ["6,414", "6,162", "bad-signature", "wrong-host", "archive-cat", "p99"] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
}
