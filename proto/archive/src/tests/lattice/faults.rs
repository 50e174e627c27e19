//! The lattice beside damage and loss, and while writers come and go.

use super::*;

#[test]
fn a_flipped_bit_is_named_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &mixed(1..300), true).unwrap();
    // Of a writer that goes on what its logs said is in two places.
    Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
    let flip = |path: &Path, at: usize, bit: u8| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= bit;
        std::fs::write(path, bytes).unwrap();
    };
    let causes = || -> Vec<Cause> {
        differences(dir.path()).unwrap().into_iter().map(|damage| damage.cause).collect()
    };
    let gone = maps(dir.path(), "gone-")[0].clone();
    let mut named = HashSet::new();
    for at in 0..8 {
        flip(&gone, at, 4);
        match causes()[..] {
            [Cause::Bits { count: 1, event }] => drop(named.insert(event)),
            ref other => panic!("byte {at}: {other:?}"),
        }
        flip(&gone, at, 4);
    }
    assert!(named.len() > 4, "{named:?}");
    flip(&gone, 3, 9);
    flip(&maps(dir.path(), "away-")[0], 0, 7);
    assert!(matches!(causes()[..], [Cause::Bits { count: 2, .. }, Cause::Words { count: 1 }]));
    assert_eq!(crate::repair(dir.path()).unwrap(), []);
    check(dir.path(), "mended");
}

#[test]
fn a_lattice_that_is_lost_or_damaged_is_refused_and_made_again_by_the_next_writer() {
    let good = tempfile::tempdir().unwrap();
    pack(good.path(), small(), &mixed(1..300), false).unwrap();
    let head = std::fs::read(good.path().join("lattice")).unwrap();
    let bits = maps(good.path(), "gone-")[0].file_name().unwrap().to_owned();
    let flipped = |at: usize| {
        let mut bytes = head.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases: [(&Path, Option<Vec<u8>>); 6] = [
        (Path::new("lattice"), Some(flipped(0))),
        (Path::new("lattice"), Some(flipped(8))),
        (Path::new("lattice"), Some(flipped(16))),
        (Path::new("lattice"), Some(head[..40].to_vec())),
        (Path::new(&bits), Some(Vec::new())),
        (Path::new(&bits), None),
    ];
    for (name, bytes) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy(good.path(), dir.path());
        std::fs::remove_file(dir.path().join(name)).unwrap();
        if let Some(bytes) = bytes {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let refused = Lattice::open(dir.path());
        assert!(matches!(refused, Err(Error::Damaged(_))), "{}", name.display());
        assert_eq!(differences(dir.path()).unwrap().len(), 1);
        pack(dir.path(), small(), &mixed(300..310), false).unwrap();
        check(dir.path(), "made again");
    }
}

/// What the writer looks up is damaged while it writes: no event is lost by it, readers are told, and
/// the next start makes all of it again.
#[test]
fn damage_met_while_writing_ends_the_lattice_and_not_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &mixed(1..300), true).unwrap();
    let mut writer = Writer::open(dir.path(), small()).unwrap();
    let mut lattice = Lattice::open(dir.path()).unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in
        files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("acct-"))
    {
        // In place: it is mapped.
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 40).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 40).unwrap();
    }
    let before = writer.events();
    feed(&mut writer, &mixed(300..340)).unwrap();
    assert_eq!(writer.events(), before + 40);
    assert!(matches!(writer.damage(), [Damage { cause: Cause::Checksum, .. }]));
    let told = lattice.fate(0).map(|_| ());
    assert!(matches!(told, Err(Error::Damaged(Damage { cause: Cause::Ended, .. }))), "{told:?}");
    writer.finish(false).unwrap();
    pack(dir.path(), small(), &mixed(340..350), false).unwrap();
    let model = check(dir.path(), "made again");
    model.check(&mut lattice, "by the reader that was told");
}

/// Readers that open the archive while writers come and go, each with live files of its own.
#[test]
fn what_is_gone_stays_so_for_readers_while_a_writer_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut stream = Stream::new();
    for (seq, action) in (1..).zip(["create", "delete"]) {
        add(&mut stream, PDS, seq, &commit(&did(1), seq, &[(action, path(7))]), true);
    }
    pack(dir.path(), small(), &stream, false).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = scope.spawn(|| {
            for _ in 0..40 {
                Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) && !over.is_finished() {
            assert!(Lattice::open(dir.path()).unwrap().fate(0).unwrap().is_gone(0));
        }
    });
}

/// A writer whose log is empty takes its live files away at its end; a reader still has them mapped when
/// the next writer has others.
#[test]
fn a_reader_outlives_writers_that_take_their_files_away() {
    let dir = tempfile::tempdir().unwrap();
    let put = |seq: u64, action| {
        let mut stream = Stream::new();
        add(&mut stream, PDS, seq, &commit(&did(1), seq, &[(action, path(7))]), true);
        pack(dir.path(), small(), &stream, true).unwrap();
    };
    put(1, "create");
    let maps = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".map")).count()
    };
    assert_eq!(maps(), 2, "bits and words of the base");
    let mut lattice = Lattice::open(dir.path()).unwrap();
    assert!(!lattice.fate(0).unwrap().is_gone(0));
    put(2, "delete");
    assert!(lattice.fate(0).unwrap().is_gone(0));
    put(3, "create");
    assert!(!lattice.fate(2).unwrap().is_gone(0));
    // In an open log.
    let mut stream = Stream::new();
    add(&mut stream, PDS, 4, &commit(&did(1), 4, &[("delete", path(7))]), true);
    pack(dir.path(), small(), &stream, false).unwrap();
    assert!(lattice.fate(2).unwrap().is_gone(0));
    check(dir.path(), "at the end");
}

/// A reader that begins with the writer, or goes on while one makes all of it again.
#[test]
fn a_reader_waits_for_a_writer_that_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &mixed(1..40), true).unwrap();
    let folder = crate::folder::Folder::new(dir.path());
    let mut before = Lattice::open(dir.path()).unwrap();
    let repair = crate::lock::RepairLock::take(&folder).unwrap();
    drop(crate::lattice::Keeper::begin(&folder).unwrap());
    std::fs::rename(folder.lattice(), dir.path().join("old")).unwrap();
    std::thread::scope(|scope| {
        let before = scope.spawn(|| before.fate(0).map(|_| ()));
        let new = scope.spawn(|| Lattice::open(dir.path()).map(|lattice| lattice.is_there()));
        // Long enough to fail in.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let good = tempfile::tempdir().unwrap();
        pack(good.path(), small(), &mixed(1..40), true).unwrap();
        copy(good.path(), dir.path());
        drop(repair);
        before.join().unwrap().unwrap();
        assert!(new.join().unwrap().unwrap());
    });
}

/// Between the log and the leaves: an event of which is not known what became of it is not shown as if
/// nothing had, as long as there is who will say.
#[test]
fn a_reader_waits_for_leaves_as_long_as_their_writer_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), small()).unwrap();
    let mut put = |seqs: std::ops::Range<u64>| {
        for (seq, action) in seqs.zip(["create", "delete"]) {
            let mut stream = Stream::new();
            add(&mut stream, PDS, seq, &commit(&did(1), seq, &[(action, path(7))]), true);
            feed(&mut writer, &stream).unwrap();
        }
        writer.flush().unwrap();
    };
    put(1..3);
    let killed = tempfile::tempdir().unwrap();
    let stopped = tempfile::tempdir().unwrap();
    copy(dir.path(), killed.path());
    copy(dir.path(), stopped.path());
    put(3..5);
    for ahead in [&killed, &stopped] {
        let log = "log-00000000.wal";
        std::fs::copy(dir.path().join(log), ahead.path().join(log)).unwrap();
    }
    // In place, as their writer would, and in its order.
    let go_on = || {
        use std::os::unix::fs::FileExt as _;
        let names = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|it| it.starts_with("leaf-") || it.ends_with(".map") || it == "lattice");
        names.sort_by_key(|name| name == "lattice");
        for name in names {
            let to = std::fs::File::options().write(true).open(stopped.path().join(&name));
            let bytes = std::fs::read(dir.path().join(&name)).unwrap();
            to.unwrap().write_all_at(&bytes, 0).unwrap();
        }
    };
    let long = std::time::Duration::from_millis(300);
    for (dir, is_killed) in [(&killed, true), (&stopped, false)] {
        let folder = crate::folder::Folder::new(dir.path());
        let lock = crate::lock::WriterLock::take(&folder).unwrap();
        let mut lattice = Lattice::open(dir.path()).unwrap();
        assert!(lattice.fate(0).unwrap().is_gone(0));
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| lattice.fate(2).map(|fate| fate.is_gone(0)));
            std::thread::sleep(long);
            assert!(!asked.is_finished());
            if is_killed {
                drop(lock);
            } else {
                go_on();
            }
            assert_eq!(asked.join().unwrap().unwrap(), !is_killed);
        });
    }
}

/// Readers believe the log before it is durable, and what it says with it.
#[test]
fn a_deletion_counts_before_the_disk_has_it() {
    let mut failed = 0;
    for calls in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let mut writer =
            Writer::open(dir.path(), Options { fsync: Fsync::Batch, ..small() }).unwrap();
        let mut lattice = Lattice::open(dir.path()).unwrap();
        let mut put = |seq: u64, action| {
            let mut stream = Stream::new();
            add(&mut stream, PDS, seq, &commit(&did(1), seq, &[(action, path(7))]), true);
            feed(&mut writer, &stream).unwrap();
            writer.flush()
        };
        put(1, "create").unwrap();
        crate::disk::CALLS_LEFT.set(Some(calls));
        let put = put(2, "delete");
        crate::disk::CALLS_LEFT.set(None);
        if let Err(Error::Sync { .. }) = put {
            assert!(lattice.fate(0).unwrap().is_gone(0));
            failed += 1;
        }
    }
    assert!(failed > 0);
}

/// Else a loss of power while all is made again would leave the old one in force over new numbers.
#[test]
fn a_lattice_that_is_begun_anew_is_first_ended_for_good() {
    for damaged in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        pack(dir.path(), small(), &mixed(1..40), true).unwrap();
        let mut lattice = Lattice::open(dir.path()).unwrap();
        if damaged {
            use std::os::unix::fs::FileExt as _;
            let head = std::fs::File::options().write(true).open(dir.path().join("lattice"));
            head.unwrap().write_all_at(b"x", 0).unwrap();
        }
        crate::disk::CALLS_LEFT.set(Some(1));
        let begun = crate::lattice::Keeper::begin(&crate::folder::Folder::new(dir.path()));
        crate::disk::CALLS_LEFT.set(None);
        // The one call was for the head's room.
        assert!(matches!(begun, Err(Error::Sync { .. })), "{begun:?}");
        let told = lattice.fate(0).map(|_| ());
        assert!(matches!(told, Err(Error::Damaged(_))), "{told:?}");
        Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        check(dir.path(), "begun anew");
    }
}

/// Each of its words would have readers look in other files, or never find an end.
#[test]
fn a_head_with_a_flipped_bit_is_refused_whichever_it_is_and_made_again() {
    let good = tempfile::tempdir().unwrap();
    pack(good.path(), small(), &mixed(1..40), false).unwrap();
    let head = std::fs::read(good.path().join("lattice")).unwrap();
    let flipped = |at: usize| {
        let mut bytes = head.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        bytes
    };
    for at in 0..head.len() * 8 {
        std::fs::write(good.path().join("lattice"), flipped(at)).unwrap();
        let refused = Lattice::open(good.path()).and_then(|mut it| it.fate(0).map(drop));
        assert!(matches!(refused, Err(Error::Damaged(_))), "bit {at}: {refused:?}");
    }
    for at in (24 * 8..head.len() * 8).step_by(37) {
        let dir = tempfile::tempdir().unwrap();
        copy(good.path(), dir.path());
        std::fs::write(dir.path().join("lattice"), flipped(at)).unwrap();
        assert_eq!(differences(dir.path()).unwrap().len(), 1, "bit {at}");
        pack(dir.path(), small(), &mixed(40..50), false).unwrap();
        check(dir.path(), "made again");
    }
}

/// A kill left a log beside its segment, which can't be read and has others behind it.
#[test]
fn a_segment_that_is_made_again_among_others_has_all_that_is_derived() {
    let dir = tempfile::tempdir().unwrap();
    let log = crate::folder::Folder::new(dir.path()).log(0);
    pack(dir.path(), Options { segment_events: 11, ..small() }, &mixed(1..11), false).unwrap();
    let bytes = std::fs::read(&log).unwrap();
    pack(dir.path(), small(), &mixed(11..60), true).unwrap();
    for derived in ["lattice", "leaf-00000000-00.run"] {
        std::fs::write(&log, &bytes).unwrap();
        let segment = crate::folder::Folder::new(dir.path()).segment(0);
        std::fs::write(&segment, [0; 100]).unwrap();
        std::fs::remove_file(dir.path().join(derived)).unwrap();
        Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        assert!(!log.exists());
        check(dir.path(), derived);
    }
}

/// A bit that flipped where no leaf is yet would take away what comes.
#[test]
fn what_comes_is_there_whatever_was_on_the_disk_before_it() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &mixed(1..45), true).unwrap();
    let head = std::fs::read(dir.path().join("lattice")).unwrap();
    let word = |at: usize| u64::from_le_bytes(*head[at * 8..].first_chunk().unwrap());
    // Above are checks.
    let number = |at: usize| (word(at) & ((1 << 48) - 1)) as usize;
    let (settled, accounts) = (number(7), number(8));
    for (kind, at) in [("gone-", settled / 8), ("away-", accounts * 8)] {
        let path = &maps(dir.path(), kind)[0];
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] |= 1 << (settled % 8);
        bytes[at + 1..].fill(2);
        std::fs::write(path, bytes).unwrap();
    }
    pack(dir.path(), small(), &mixed(45..80), false).unwrap();
    check(dir.path(), "what came");
}

/// The segment with a deletion can't be read any more: what it took away stays so.
#[test]
fn repair_keeps_what_is_known_of_events_that_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    for (seq, action) in (1..).zip(["create", "delete"]) {
        let mut stream = Stream::new();
        add(&mut stream, PDS, seq, &commit(&did(1), seq, &[(action, path(7))]), true);
        pack(dir.path(), small(), &stream, true).unwrap();
    }
    let segment = crate::folder::Folder::new(dir.path()).segment(1);
    let bytes = std::fs::read(&segment).unwrap();
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(&segment, flipped).unwrap();
        crate::repair(dir.path()).unwrap();
        assert!(Lattice::open(dir.path()).unwrap().fate(0).unwrap().is_gone(0), "byte {at}");
    }
    std::fs::write(&segment, [0; 100]).unwrap();
    crate::repair(dir.path()).unwrap();
    assert!(Lattice::open(dir.path()).unwrap().fate(0).unwrap().is_gone(0));
}

/// Versions before this had a file of tombstones, or nothing.
#[test]
fn an_archive_of_an_older_version_gets_a_lattice_with_its_next_writer() {
    for version in ["v2-commits", "v3"] {
        let dir = tempfile::tempdir().unwrap();
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/archive");
        copy(&Path::new(fixture).join(version), dir.path());
        assert!(dir.path().join("tombs").exists());
        assert!(!Lattice::open(dir.path()).unwrap().is_there());
        assert_eq!(differences(dir.path()).unwrap(), []);
        Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        assert!(!dir.path().join("tombs").exists());
        check(dir.path(), version);
    }
}

/// Segments go a group at a time; numbers stay, and what was said of the others.
#[test]
fn records_of_segments_that_were_dropped_are_nobodys_and_all_others_keep_their_fate() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep_bytes: Some(1), ..small() };
    pack(dir.path(), options, &mixed(1..500), false).unwrap();
    let first = read_all(dir.path()).iter().find_map(|back| back.n).unwrap();
    assert!(first >= 160, "two groups of sixteen segments are gone, of ten events each: {first}");
    let model = Model::of(dir.path());
    let mut lattice = Lattice::open(dir.path()).unwrap();
    for (n, _, ops) in &model.ops {
        let fate = lattice.fate(*n).unwrap();
        for op in 0..*ops {
            assert_eq!(fate.is_gone(op), model.gone.contains(&(*n, op)), "event {n}");
        }
    }
    assert_eq!(differences(dir.path()).unwrap(), []);
}

/// Readers do without, which takes longer; so a check says what is not as it should be.
#[test]
fn what_is_missing_or_damaged_of_what_is_derived_is_named() {
    let good = tempfile::tempdir().unwrap();
    // Of the last segments of four tables may be missing.
    pack(good.path(), small(), &mixed(1..281), false).unwrap();
    assert_eq!(crate::usage(good.path()).unwrap().segments, 28);
    assert_eq!(differences(good.path()).unwrap(), []);
    let names = std::fs::read_dir(good.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_str().unwrap().to_owned());
    let runs: Vec<String> =
        names.filter(|name| name.ends_with(".run") || name == "lattice").collect();
    assert!(runs.len() > 10);
    for name in &runs {
        let dir = tempfile::tempdir().unwrap();
        copy(good.path(), dir.path());
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let found = differences(dir.path()).unwrap();
        assert!(matches!(found[..], [Damage { cause: Cause::Gone, .. }]), "{name}: {found:?}");
        bytes[5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let found = differences(dir.path()).unwrap();
        assert!(matches!(&found[..], [one] if one.path == path), "{name}: {found:?}");
    }
}
