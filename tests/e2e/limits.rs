//! An archive of many segments, on a machine that lets a process open few files.

use std::process::{Command, Stdio};

use e2e::{Chain, bin, json_lines};

use crate::{Refnet, text};

/// As many files may be open, standard streams included: more than a group of segments needs, and fewer
/// than there are segments.
const FILES: &str = "64";

/// What a tool writes with so few.
fn run(tool: &str, args: &[&str]) -> Vec<u8> {
    let line = format!("ulimit -n {FILES} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(bin(tool)).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn few_open_files_are_enough_for_an_archive_of_many_segments() {
    let refnet = Refnet::start(&[]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let (frames, archive) = (refnet.path("proved.frames"), text(&archive));
    Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("sig-verify", &["--index", &index, "--out", text(&frames)])
        .succeed();
    let pack = ["--out", archive, "--segment-events", "20", "--level", "1", "--json"];
    let pack = [&pack[..], &[text(&frames)]].concat();
    let packed = json_lines(&run("archive-pack", &pack));
    assert!(packed[0]["segments"].as_u64().unwrap() > 200, "{packed:?}");
    let events = packed[0]["events"].as_u64().unwrap();
    let count = |args: &[&str]| {
        let lines = json_lines(&run("archive-cat", args));
        lines.iter().filter(|line| line["kind"] == "event").count() as u64
    };
    assert_eq!(count(&[archive, "--json"]), events);
    assert!(count(&[archive, "--json", "--live"]) < events);
    // A start that finds everything, and one that has to make all that is derived.
    assert_eq!(json_lines(&run("archive-pack", &pack))[0]["duplicates"], events);
    std::fs::remove_file(refnet.path("archive/lattice")).unwrap();
    assert_eq!(json_lines(&run("archive-pack", &pack))[0]["duplicates"], events);
    run("archive-check", &[archive]);
    std::fs::remove_file(refnet.path("archive/leaf-00000100-00.run")).unwrap();
    run("archive-check", &[archive, "--repair", "--parts"]);
    let done = json_lines(&run("archive-compact", &[archive, "--grace", "0s", "--json"]));
    assert!(done[0]["events"].as_u64().unwrap() > 100, "{done:?}");
    assert_eq!(count(&[archive, "--json"]), events);
}
