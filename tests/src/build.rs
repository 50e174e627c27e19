//! The binaries under test, built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Every tool, in pipeline order.
pub const TOOLS: [&str; 18] = [
    "plc-fetch",
    "index-build",
    "did-lookup",
    "pds-tap",
    "dedupe",
    "car-extract",
    "sig-verify",
    "archive-pack",
    "archive-cat",
    "archive-check",
    "archive-forget",
    "archive-compact",
    "frame-cat",
    "frame-split",
    "frame-merge",
    "frame-meter",
    "ghost-mon",
    "pds-sim",
];

/// The path of a built tool. `cargo test` builds only what a package's own tests need, so the
/// first call builds the others, in the profile and the folder of this test.
pub fn bin(tool: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_owned();
        if std::env::var_os("SOVEREIGN_BUILT").is_none() {
            build(&folder);
        }
        folder
    });
    folder.join(tool)
}

fn build(folder: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bins"]);
    cargo.arg("--target-dir").arg(folder.parent().expect("the target folder"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"));
    assert!(cargo.status().expect("cargo runs").success(), "cargo build --bins failed");
}
