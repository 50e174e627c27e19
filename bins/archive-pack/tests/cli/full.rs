//! No room left: it stops with a clear word, what is stored stays valid, and it goes on when there
//! is room.

use std::path::Path;
use std::process::Command;

use crate::support::*;

fn stops_and_goes_on(dir: &Path, limited: Done, events: &[Vec<u8>]) {
    assert_eq!(limited.code, Some(1), "{limited:?}");
    assert!(limited.stderr.contains("no room left"), "{limited:?}");
    assert!(limited.stderr.contains("start the chain again with --resume"), "{limited:?}");
    let before = contents(dir);
    assert!(!before.is_empty() && before.len() < events.len(), "{} events", before.len());
    assert_eq!(before, numbered(&events[..before.len()]));
    let from = marked(dir);
    assert!(from <= before.len());
    let verdict = frame::verdict::Verdict::ok(Some([1; 34]));
    let rest = stream_from(&events[from..], from, |_| Some(verdict));
    let done = pack(dir, &["--level", "1"], &rest);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(contents(dir), numbered(events));
    assert_eq!(archive::differences(dir).unwrap(), []);
}

#[test]
fn a_limit_on_file_size_ends_it_cleanly_and_it_goes_on_without() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    let events = capture(2000);
    let mut command = Command::new("sh");
    // Blocks of 512 bytes: 500 KiB, so that a log can't hold its segment.
    command.args(["-c", "ulimit -f 1000; exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_archive-pack")).arg("--out").arg(&archive);
    let limited = run_command(command, &stream(&events));
    stops_and_goes_on(&archive, limited, &events);
}

/// A small file system of its own, gone with the value.
struct Tmpfs {
    dir: tempfile::TempDir,
}

impl Tmpfs {
    /// `None` where mounting is not allowed.
    fn mount(size: &str) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Tmpfs { dir })
    }

    fn grow(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(self.dir.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

#[test]
fn it_keeps_room_in_reserve_unless_it_is_told_not_to() {
    let events = capture(20);
    let Some(disk) = Tmpfs::mount("1m") else {
        println!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    let archive = disk.dir.path().join("archive");
    let other = disk.dir.path().join("other");
    std::fs::write(&other, vec![1; 930 << 10]).unwrap();
    let done = pack(&archive, &[], &stream(&events));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("--min-free") && done.stderr.contains("--resume"), "{done:?}");
    assert_eq!(contents(&archive), []);
    assert_eq!(pack(&archive, &["--min-free", "0"], &stream(&events[..10])).code, Some(0));
    std::fs::remove_file(other).unwrap();
    assert_eq!(pack(&archive, &[], &stream(&events)).code, Some(0));
    assert_eq!(contents(&archive), numbered(&events));
}

#[test]
fn a_full_disk_ends_it_cleanly_and_it_goes_on_with_room() {
    let events = capture(2000);
    // Full while the log grows, and full while a segment is made beside it.
    let to_the_end = ["--level", "1", "--min-free", "0"];
    let sealing = [&to_the_end[..], &["--segment-bytes", "700KiB"]].concat();
    for args in [&to_the_end[..], &sealing] {
        let Some(disk) = Tmpfs::mount("1m") else {
            println!("skipped: mounting a tmpfs is not allowed here");
            return;
        };
        let archive = disk.dir.path().join("archive");
        let limited = pack(&archive, args, &stream(&events));
        // Readers need no room.
        assert!(!contents(&archive).is_empty());
        // With the disk still full, it says so again and nothing is lost.
        let before = contents(&archive);
        let again = pack(&archive, args, &stream(&events));
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(contents(&archive).len() >= before.len());
        disk.grow("64m");
        stops_and_goes_on(&archive, limited, &events);
    }
}
