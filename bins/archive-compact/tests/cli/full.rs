//! Forgetting on a disk that is full but for the room that `archive-pack` keeps in reserve.

use super::*;

/// A small file system of its own, gone with the value.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` where mounting is not allowed.
    fn mount(size: &str) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Tmpfs(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn with_room_for_a_segment_and_a_log_all_is_forgotten_and_with_none_all_stays() {
    let Some(disk) = Tmpfs::mount("24m") else {
        println!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    let events = capture(3000);
    let dir = disk.0.path().join("archive");
    pack(&dir, &events);
    let before = stored(&dir);
    let filler = disk.0.path().join("other");
    let fill = |leave: u64| {
        let disk = nix::sys::statvfs::statvfs(disk.0.path()).unwrap();
        let free = disk.blocks_available() * disk.fragment_size();
        std::fs::write(&filler, vec![1; free.saturating_sub(leave) as usize]).unwrap();
    };
    fill(0);
    let output = run(&dir, &["--level", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("archive-compact: "), "{said}");
    assert_eq!(stored(&dir), before, "a full disk changes nothing");
    std::fs::remove_file(&filler).unwrap();
    // A log of 500 events, and the segment that it becomes: what the events have is more than both.
    let each: usize = events.chunks(500).map(|events| events.concat().len()).max().unwrap();
    fill(2 * each as u64);
    ok(&run(&dir, &["--level", "1"]));
    let mut gone = archive::Gone::open(&dir, 0).unwrap();
    assert_eq!(archive::unforgotten(&dir, &mut gone).unwrap(), 0);
    assert_ne!(stored(&dir), before);
}
