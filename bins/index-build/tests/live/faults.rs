//! Kills, torn and damaged files, full disks, two at once.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use didindex::DidIndex;
use nix::{sys::signal, unistd::Pid};

use crate::directory::{Dice, Line, as_they_come, did, line, operation, operations, text};
use crate::place::{Place, run, states, stderr};

/// What a plc-fetch that goes on from the index's cursor brings.
fn resumed<'a>(place: &Place, come: &'a [Line]) -> &'a [Line] {
    let cursor = DidIndex::open(&place.path("did.idx")).unwrap().cursor();
    // Here what appears late does so half an hour late at most.
    let from = cursor.created_ms.saturating_sub(1800 * 1000);
    let begin = come.iter().position(|line| line.created_ms >= from).unwrap_or(come.len());
    &come[begin..]
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_leaves_an_index_that_can_be_used() {
    let mut dice = Dice::new(9);
    let lines = operations(&mut dice, 60, 3000);
    let come = as_they_come(&mut dice, &lines);
    let place = Place::new();
    place.build("did.idx", &text(&come[..200]));
    let (mut kills, mut ended) = (0, false);
    while !ended {
        let rest = text(resumed(&place, &come));
        let mut keeper = place.keep(&["--merge-at", "100"]);
        let mut left = rest.as_str();
        let until = Instant::now() + Duration::from_millis(dice.below(250) as u64);
        // In pieces that end anywhere, also within a line.
        ended = loop {
            if left.is_empty() {
                break true;
            }
            if Instant::now() >= until && kills < 30 {
                break false;
            }
            let (piece, more) = left.split_at((1 + dice.below(10_000)).min(left.len()));
            left = more;
            keeper.tell(piece);
            std::thread::sleep(Duration::from_millis(dice.below(4) as u64));
        };
        if ended {
            keeper.end();
        } else {
            keeper.kill();
            kills += 1;
            place.index("did.idx");
        }
    }
    println!("{kills} kills");
    assert!(kills > 0);
    place.assert_is_of(&text(&come));
    assert_eq!(place.files().len(), 4 + 4, "{:?}", place.files());
}

#[test]
fn a_torn_log_is_cut_and_said_and_one_that_lost_something_begins_again_from_there() {
    let mut dice = Dice::new(10);
    let lines = operations(&mut dice, 30, 400);
    let place = Place::new();
    place.build("did.idx", &text(&lines[..200]));
    place.update(&[], &text(&lines[200..300]));
    let log = place.beside("log");
    let whole = fs::read(&log).unwrap();
    // A batch that was being written when the machine went off.
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(&whole[64..100]).unwrap();
    let output = place.run(&["--update", "did.idx"], "");
    assert!(output.status.success());
    assert!(stderr(&output).contains("its end is torn; the last 36 B are cut off"), "{output:?}");
    assert_eq!(fs::read(&log).unwrap(), whole);
    // A bit flips under operations that were seen.
    let mut damaged = whole.clone();
    damaged[whole.len() - 2000] ^= 4;
    fs::write(&log, damaged).unwrap();
    assert!(DidIndex::open(&place.path("did.idx")).unwrap().verify().is_err());
    let output = place.run(&["--update", "did.idx"], &text(&lines[300..]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("its log has lost"), "{output:?}");
    assert!(stderr(&output).contains("plc-fetch --resume"), "{output:?}");
    // The chain begins anew, and plc-fetch with it, from a cursor that has gone back.
    let rest = text(resumed(&place, &lines));
    place.update(&[], &rest);
    place.assert_is_of(&text(&lines));
    // With the operations on disk it needs no plc-fetch.
    let log = place.beside("log");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 3000]).unwrap();
    place.put("ops/1.jsonl", text(&lines));
    place.update(&["--ops", "ops"], "");
    place.assert_is_of(&text(&lines));
}

#[test]
fn what_killed_merges_left_is_in_nobodys_way() {
    let mut dice = Dice::new(11);
    let lines = operations(&mut dice, 30, 300);
    let place = Place::new();
    place.build("did.idx", &text(&lines[..200]));
    for name in ["tmp", "00000000000000aa.log", "00000000000000aa.delta", "0.log"] {
        place.put(&format!("did.idx.{name}"), vec![7; 100_000]);
    }
    let tmp = place.beside("delta.tmp");
    fs::write(&tmp, "x").unwrap();
    place.update(&["--merge-at", "20"], &text(&lines[200..]));
    place.assert_is_of(&text(&lines));
    let left: Vec<String> =
        place.files().into_iter().map(|name| name.into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.ends_with("tmp") || name.contains("aa.")), "{left:?}");
    // Not of a name that is ours.
    assert!(left.contains(&"did.idx.0.log".to_owned()), "{left:?}");
}

#[test]
fn a_signal_ends_it_in_order_and_only_one_keeps_an_index() {
    let keys = crate::directory::keys();
    let place = Place::new();
    let first = line(1, 0, None, 1_785_000_000_000, operation(&keys[0], "a.example"));
    place.build("did.idx", &first.text);
    let mut keeper = place.keep(&[]);
    let second = line(1, 1, Some(0), 1_785_000_001_000, operation(&keys[1], "b.example"));
    keeper.tell(&second.text);
    let index = DidIndex::open(&place.path("did.idx")).unwrap();
    let began = Instant::now();
    while DidIndex::open(&place.path("did.idx")).unwrap().cursor() == index.base_cursor() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let holder = format!("is being written by process {}", keeper.child.id());
    for args in [&["--update", "did.idx"][..], &["--out", "did.idx", "--force"]] {
        let output = place.run(args, "");
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&holder), "{output:?}");
    }
    signal::kill(Pid::from_raw(keeper.child.id() as i32), signal::Signal::SIGTERM).unwrap();
    let status = keeper.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let index = place.index("did.idx");
    assert_eq!(index.entry(&did(1)).unwrap().pds(), Some("b.example"));
}

#[test]
fn without_room_for_a_delta_it_ends_cleanly_and_the_index_stays_as_it_is() {
    let mut dice = Dice::new(12);
    let lines = operations(&mut dice, 50, 500);
    let place = Place::new();
    place.build("did.idx", &text(&lines[..400]));
    let before = states(&place.index("did.idx"));
    let mut command = Command::new("sh");
    // Blocks of 512 bytes.
    command.args(["-c", "ulimit -f 400; exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_index-build")).args(["--update", "did.idx"]);
    command.current_dir(place.folder());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run(command, &text(&lines[400..]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("cannot take room for"), "{output:?}");
    assert_eq!(states(&place.index("did.idx")), before);
    place.update(&[], &text(&lines[400..]));
    place.assert_is_of(&text(&lines));
}

/// A small file system of its own, gone with the value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where mounting is not allowed.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&at);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.unwrap().success());
    }
}

#[test]
fn a_full_disk_ends_it_with_all_that_was_in_force_and_it_goes_on_when_there_is_room() {
    let mut dice = Dice::new(13);
    let lines = operations(&mut dice, 50, 3000);
    let place = Place::new();
    let Some(disk) = Tmpfs::mount(place.path("disk")) else { return };
    place.build("disk/did.idx", &text(&lines[..200]));
    let path = disk.0.join("did.idx");
    let cursor = || DidIndex::open(&path).unwrap().cursor();
    let update = ["--update", "disk/did.idx", "--merge-at", "5000"];
    let mut child = place.command(&update).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text(&lines[200..300]).as_bytes()).unwrap();
    let began = Instant::now();
    while cursor().operations < 300 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    // Somebody else fills the disk.
    let mut ballast = fs::File::create(disk.0.join("ballast")).unwrap();
    while ballast.write_all(&[7; 4096]).is_ok() {}
    // It ends before it has read all.
    let _ = stdin.write_all(text(&lines[300..]).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("No space left on device"), "{output:?}");
    let index = DidIndex::open(&path).unwrap();
    index.verify().unwrap();
    let at = index.cursor().operations as usize;
    assert!((300..3000).contains(&at), "{at}");
    place.build("part.idx", &text(&lines[..at]));
    assert_eq!(states(&index), states(&place.index("part.idx")));
    // Its room is free when nobody has it open.
    drop(ballast);
    fs::remove_file(disk.0.join("ballast")).unwrap();
    let output = place.run(&update, &text(&lines[at..]));
    assert!(output.status.success(), "{output:?}");
    place.build("whole.idx", &text(&lines));
    assert_eq!(states(&DidIndex::open(&path).unwrap()), states(&place.index("whole.idx")));
}
