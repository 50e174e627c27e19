//! The rules of the house that can be checked: who may depend on whom, what lies where, and that
//! no page forgets a tool. Matters of taste are left to reviewers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::TOOLS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What git tracks or would track.
fn files() -> Vec<PathBuf> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect()
}

/// Package to the names of what it depends on, without what is for its tests alone.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let args = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let needed = package["dependencies"].as_array().unwrap().iter();
            let needed = needed.filter(|needed| needed["kind"] != "dev");
            let names = needed.map(|needed| needed["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn the_top_holds_the_seven_names_and_little_else() {
    let allowed = [
        "Cargo.toml",
        "bins",
        "proto",
        "pipelines",
        "tests",
        "Makefile",
        "README.md",
        "Cargo.lock",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
    ];
    for file in files() {
        let top = file.iter().next().unwrap().to_str().unwrap();
        assert!(top.starts_with('.') || allowed.contains(&top), "{top} does not belong at the top");
    }
}

#[test]
fn rooms_depend_only_on_rooms_below_them() {
    let below: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("frame", &[][..]),
        ("heap", &[]),
        ("ring", &[]),
        ("seen", &[]),
        ("stats", &[]),
        ("table", &[]),
        ("atproto", &[]),
        ("keys", &["atproto"]),
        ("diddoc", &["atproto", "keys"]),
        ("plc", &["atproto", "keys"]),
        ("didindex", &["table", "atproto"]),
        ("archive", &["frame", "atproto", "table"]),
        ("lines", &["frame", "atproto", "keys"]),
        ("net", &[]),
        ("cli", &["frame", "ring", "stats"]),
    ]);
    let all = dependencies();
    for (room, allowed) in &below {
        let ours = all[*room].iter().filter(|name| below.contains_key(name.as_str()));
        for name in ours {
            assert!(allowed.contains(&name.as_str()), "{room} may not depend on {name}");
        }
    }
    for tool in TOOLS {
        let others = all[tool].iter().filter(|name| TOOLS.contains(&name.as_str()));
        assert_eq!(others.count(), 0, "{tool} depends on another tool");
        assert!(!root().join("bins").join(tool).join("src/lib.rs").exists(), "{tool} has a lib");
    }
}

#[test]
fn each_outside_crate_stays_in_the_rooms_it_belongs_to() {
    let rooms: [(&str, &[&str]); 10] = [
        ("k256", &["keys", "pds-sim"]),
        ("p256", &["keys", "pds-sim"]),
        ("secp256k1", &["keys"]),
        ("memmap2", &["ring", "seen", "stats", "table"]),
        ("signal-hook", &["cli"]),
        ("clap_mangen", &["cli"]),
        ("ureq", &["net"]),
        ("hickory-resolver", &["net"]),
        ("rustls-native-certs", &["net"]),
        ("axum", &["pds-sim"]),
    ];
    let all = dependencies();
    for (name, allowed) in rooms {
        for (package, needed) in &all {
            let belongs = allowed.contains(&package.as_str());
            assert!(belongs || !needed.contains(name), "{package} may not depend on {name}");
        }
    }
}

#[test]
fn every_tool_and_room_is_on_the_pages_that_list_them() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let (readme, bins, rooms) =
        (read("README.md"), read("bins/README.md"), read("proto/README.md"));
    for entry in std::fs::read_dir(root().join("bins")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(TOOLS.contains(&name.as_str()), "the harness does not know {name}");
            assert!(readme.contains(&format!("`{name}`")), "README.md does not have {name}");
            assert!(bins.contains(&format!("`{name}`")), "bins/README.md does not have {name}");
        }
    }
    for entry in std::fs::read_dir(root().join("proto")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let listed = rooms.contains(&format!("`{name}`"));
        assert!(listed || !entry.path().is_dir(), "proto/README.md does not have {name}");
    }
}

#[test]
fn sources_are_ascii_and_finished() {
    // Built from halves, so that this file does not find itself.
    let unfinished = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"]].map(|halves| halves.concat());
    for file in files() {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        for (at, line) in text.lines().enumerate() {
            let place = format!("{}:{}", file.display(), at + 1);
            assert!(line.is_ascii(), "{place}: not ASCII: {line}");
            assert!(!unfinished.iter().any(|word| line.contains(word)), "{place}: {line}");
        }
    }
}

#[test]
fn pipelines_stop_at_the_first_error() {
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        // The only file here without an ending that is no script.
        let is_script = path.is_file() && !path.ends_with("Containerfile");
        if is_script && path.extension().is_none() {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains("set -euo pipefail"), "{}", path.display());
        }
    }
}

/// Without its feature `native`, the room that proves signatures is Rust alone: nothing of what it
/// needs compiles C.
#[test]
fn signatures_can_be_proved_without_any_c() {
    let of = |features: &[&str]| {
        let args = ["tree", "--package", "keys", "--edges", "normal,build", "--prefix", "none"];
        let output = Command::new(env!("CARGO"))
            .args(args)
            .args(["--offline", "--locked"])
            .args(features)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).unwrap();
        let makes_c = |name: &&str| name.ends_with("-sys") || ["cc", "cmake"].contains(name);
        let names = names.lines().filter_map(|line| line.split(' ').next());
        names.filter(makes_c).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&["--no-default-features"]), BTreeSet::new());
    assert!(!of(&["--features", "native"]).is_empty(), "this would notice");
}
