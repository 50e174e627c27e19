//! Records that are gone: left out, taken out of their events, at once for a reader that runs.

use std::collections::{HashMap, HashSet};

use atproto::event::{self, Action, Event};

use super::*;

/// For each event the records that it wrote and that are gone by the end, and those that are not.
struct Model {
    gone: Vec<Vec<String>>,
    /// Operations that are not of such records: others, and deletes.
    here: Vec<usize>,
    away: HashSet<String>,
}

impl Model {
    fn of(events: &[Vec<u8>]) -> Model {
        let mut last: HashMap<(String, String), usize> = HashMap::new();
        let mut away = HashSet::new();
        for (n, event) in events.iter().enumerate() {
            match event::parse(event).unwrap() {
                Event::Commit(commit) => {
                    for op in commit.ops.filter(|op| op.action != Action::Create) {
                        last.insert((commit.repo.to_owned(), op.path.to_owned()), n);
                    }
                }
                Event::Account(account) if account.active => drop(away.remove(account.did)),
                Event::Account(account) => drop(away.insert(account.did.to_owned())),
                _ => {}
            }
        }
        let mut model = Model { gone: Vec::new(), here: Vec::new(), away };
        for (n, event) in events.iter().enumerate() {
            let (mut gone, mut here) = (Vec::new(), 0);
            if let Event::Commit(commit) = event::parse(event).unwrap() {
                for op in commit.ops {
                    let word = last.get(&(commit.repo.to_owned(), op.path.to_owned()));
                    if op.action != Action::Delete && word.is_some_and(|word| *word > n) {
                        gone.push(op.path.to_owned());
                    } else {
                        here += 1;
                    }
                }
            }
            model.gone.push(gone);
            model.here.push(here);
        }
        model
    }

    fn is_live(&self, n: usize, event: &[u8]) -> bool {
        let parsed = event::parse(event).unwrap();
        let away = self.away.contains(parsed.did().unwrap()) && parsed.blocks().is_some();
        !away && (self.gone[n].is_empty() || self.here[n] > 0)
    }
}

fn records(event: &[u8]) -> usize {
    let mut blocks = atproto::blocks::Blocks::new();
    let event_parsed = event::parse(event).unwrap();
    blocks.fill(event, &event_parsed).unwrap();
    let Event::Commit(commit) = event_parsed else { return 0 };
    commit.ops.filter_map(|op| op.cid).filter(|cid| blocks.get(event, cid).is_some()).count()
}

#[test]
fn live_leaves_out_what_was_deleted_or_replaced_since() {
    let events = capture(usize::MAX);
    let (dir, model) = (archive(&events), Model::of(&events));
    let dead = (0..events.len()).filter(|n| !model.gone[*n].is_empty()).count();
    assert!(dead > 50, "{dead}");
    let wanted: Vec<u64> =
        (0..events.len()).filter(|n| model.is_live(*n, &events[*n])).map(|n| n as u64).collect();
    assert_eq!(numbers(&ok(run(dir.path(), &["--live"]))), wanted);
    // The same from a lattice that is made again, by who repairs and by a writer that starts.
    let head = dir.path().join("lattice");
    let refused = |named: &str| {
        let output = run(dir.path(), &["--live"]);
        assert_eq!((output.status.code(), output.stdout.len() < 100), (Some(1), true));
        let said = text(&output.stderr);
        assert!(said.contains(named) && said.contains("archive-check --repair"), "{said}");
    };
    std::fs::remove_file(&head).unwrap();
    refused("older version");
    archive::repair(dir.path()).unwrap();
    assert_eq!(numbers(&ok(run(dir.path(), &["--live"]))), wanted);
    std::fs::remove_file(&head).unwrap();
    go_on(dir.path(), &[], 1);
    assert_eq!(numbers(&ok(run(dir.path(), &["--live"]))), wanted);
    // And from one that is damaged: nothing is shown that may be gone.
    let mut bytes = std::fs::read(&head).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&head, bytes).unwrap();
    refused("lattice: offset 0: the checksum does not hold");
    archive::repair(dir.path()).unwrap();
    assert_eq!(numbers(&ok(run(dir.path(), &["--live"]))), wanted);
    let bits = maps(dir.path(), "gone-");
    std::fs::File::options().write(true).open(&bits[0]).unwrap().set_len(8).unwrap();
    refused("cut short");
    archive::repair(dir.path()).unwrap();
    assert_eq!(numbers(&ok(run(dir.path(), &["--live"]))), wanted);
}

/// Files of the lattice, those of the base first.
fn maps(dir: &Path, kind: &str) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(kind) && name.ends_with(".map")
    };
    let mut maps: Vec<_> = all.filter(named).collect();
    maps.sort();
    maps
}

#[test]
fn redact_takes_records_out_and_the_rest_can_still_be_proved() {
    let events = capture(3000);
    let (dir, model) = (archive(&events), Model::of(&events));
    let back = frames(&ok(run(dir.path(), &["--redact"])), true);
    let back = back.into_iter().filter_map(|(n, frame)| Some((n? as usize, frame)));
    let mut redacted = 0;
    let mut undo = atproto::mst::Undo::new();
    for (n, (_, header, body, _)) in back {
        let is_redacted = header.flags & frame::flags::REDACTED != 0;
        if model.gone[n].is_empty() {
            assert_eq!(body, events[n], "event {n}");
            continue;
        }
        assert!(records(&body) < records(&events[n]), "event {n}");
        let (event, before) = (event::parse(&body).unwrap(), event::parse(&events[n]).unwrap());
        let (Event::Commit(commit), Event::Commit(whole)) = (event, before) else { panic!() };
        assert_eq!(commit.commit, whole.commit);
        let mut blocks = atproto::blocks::Blocks::new();
        blocks.fill(&body, &event::parse(&body).unwrap()).unwrap();
        let block = blocks.get(&body, &commit.commit).unwrap();
        let data = atproto::commit::parse(block).unwrap().data;
        if let Some(prev_data) = commit.prev_data {
            assert_eq!(undo.undo(&data, commit.ops, &blocks.of(&body)).unwrap(), prev_data);
        }
        // The flag that the tests set on all frames is this one.
        assert!(is_redacted);
        redacted += 1;
    }
    assert!(redacted > 20, "{redacted}");
}

/// Puts events into an archive that is there.
fn go_on(dir: &Path, events: &[Vec<u8>], seq: u64) {
    let options = Options { level: 1, fsync: Fsync::Never, ..Options::default() };
    let mut writer = Writer::open(dir, options).unwrap();
    let mut input = frame::MAGIC.to_vec();
    frame::host::put(&mut input, HostId(9), Role::Pds, "pds.example.com").unwrap();
    let verdict = Verdict::ok(Some([1; 34])).to_bytes();
    for (seq, body) in (seq..).zip(events) {
        let header = Header { host: HostId(9), seq, epoch: 3, ..Header::new(Kind::EVENT, seq) };
        let sections = [(Tag::VERDICT, Some(&verdict[..])), (Tag::NUMBER, None)];
        frame::put_with_two(&mut input, &header, body, sections).unwrap();
    }
    let (mut decoder, mut rest) = (Decoder::default(), &input[..]);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            writer.put(&frame).unwrap();
        }
    }
    writer.finish(false).unwrap();
}

/// The latest event whose only record is gone, and the one event that deletes or replaces it.
fn pair(events: &[Vec<u8>]) -> (usize, usize) {
    let paths = |event: &[u8], wanted: fn(Action) -> bool| -> Vec<String> {
        let Event::Commit(commit) = event::parse(event).unwrap() else { return Vec::new() };
        let ops = commit.ops.filter(|op| wanted(op.action));
        ops.map(|op| format!("{}/{}", commit.repo, op.path)).collect()
    };
    let (mut wrote, mut pairs) = (HashMap::new(), HashMap::new());
    for (n, event) in events.iter().enumerate() {
        for path in paths(event, |action| action != Action::Create) {
            if let Some(earlier) = wrote.get(&path) {
                pairs.entry(*earlier).or_insert_with(Vec::new).push(n);
            }
        }
        for path in paths(event, |action| action != Action::Delete) {
            wrote.entry(path).or_insert(n);
        }
    }
    let model = Model::of(events);
    let one = |(earlier, later): (usize, Vec<usize>)| match later[..] {
        [later] if model.here[earlier] == 0 && model.gone[earlier].len() == 1 => {
            Some((earlier, later))
        }
        _ => None,
    };
    pairs.into_iter().filter_map(one).max().unwrap()
}

#[test]
fn a_deletion_counts_for_a_reader_that_began_before_it() {
    let mut events = capture(usize::MAX);
    let (earlier, later) = pair(&events);
    assert!(earlier > 2000, "a reader that is stopped here has not come to {earlier}");
    let deletion = events.remove(later);
    let dir = archive(&events);
    assert!(numbers(&ok(run(dir.path(), &["--live"]))).contains(&(earlier as u64)));
    let mut child = Command::new(env!("CARGO_BIN_EXE_archive-cat"))
        .args([dir.path().to_str().unwrap(), "--live"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun, and can't go on: a pipe holds a part of what it has to say.
    let mut stdout = child.stdout.take().unwrap();
    let mut output = vec![0; 1000];
    stdout.read_exact(&mut output).unwrap();
    go_on(dir.path(), &[deletion], 1_000_000);
    stdout.read_to_end(&mut output).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!numbers(&output).contains(&(earlier as u64)));
}

/// A loss of power may keep a bit and lose the event that set it.
#[test]
fn a_bit_without_its_event_is_gone_with_the_next_writer() {
    let mut events = capture(2250);
    let (earlier, later) = pair(&events);
    let deletion = events.remove(later);
    let dir = archive(&events);
    let saved = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy(dir.path(), saved.path());
    go_on(dir.path(), &[deletion], 1_000_000);
    assert!(!numbers(&ok(run(dir.path(), &["--live"]))).contains(&(earlier as u64)));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_str().unwrap().ends_with(".wal") {
            std::fs::copy(entry.path(), saved.path().join(entry.file_name())).unwrap();
        }
    }
    assert!(!numbers(&ok(run(saved.path(), &["--live"]))).contains(&(earlier as u64)));
    go_on(saved.path(), &[], 1_000_000);
    assert!(numbers(&ok(run(saved.path(), &["--live"]))).contains(&(earlier as u64)));
}

#[test]
fn what_the_operator_took_down_is_not_given_in_any_form() {
    let events = capture(600);
    let dir = archive(&events);
    let creates = |event: &&Vec<u8>| match event::parse(event).unwrap() {
        Event::Commit(mut commit) => commit.ops.any(|op| op.action == Action::Create),
        _ => false,
    };
    let target = did(events.iter().rev().find(creates).unwrap());
    let of = |args: &[&str]| numbers(&ok(run(dir.path(), args)));
    let all = of(&["--did", &target]);
    let unsigned = |n: &u64| event::parse(&events[*n as usize]).unwrap().blocks().is_none();
    let mut forgotten = archive::Forgotten::open(dir.path()).unwrap();
    let account: archive::Target = target.parse().unwrap();
    forgotten.add("now", &account, true, "a test").unwrap();
    let left: Vec<u64> = all.iter().copied().filter(unsigned).collect();
    assert!(left.len() < all.len());
    assert_eq!(of(&["--did", &target]), left);
    let records = ok(run(dir.path(), &["--did", &target, "--format", "records"]));
    assert_eq!(text(&records), "");
    forgotten.add("later", &account, false, "lifted").unwrap();
    assert_eq!(of(&["--did", &target]), all);

    let path = all.iter().find_map(|n| match event::parse(&events[*n as usize]).unwrap() {
        Event::Commit(mut commit) => commit.ops.next().map(|op| op.path.to_owned()),
        _ => None,
    });
    let uri = format!("at://{target}/{}", path.unwrap());
    let shown = || text(&ok(run(dir.path(), &["--format", "records"]))).lines().count();
    let before = shown();
    forgotten.add("now", &uri.parse().unwrap(), true, "a test").unwrap();
    assert!(shown() < before);
    assert_eq!(of(&["--did", &target]), all, "the event stays, without the record");
}

/// A whole repository says what is there: what came before it and is not in it is gone.
#[test]
fn what_a_whole_repository_lacks_is_gone() {
    let events = capture(2250);
    let dir = archive(&events);
    let one = |event: &&Vec<u8>| match event::parse(event).unwrap() {
        Event::Commit(commit) => commit.ops.len() == 1 && records(event) == 1,
        _ => false,
    };
    let target = did(events.iter().rev().find(one).unwrap());
    let of = |args: &[&str]| -> Vec<u64> {
        numbers(&ok(run(dir.path(), &[&["--live", "--did", &target], args].concat())))
    };
    let before = of(&[]);
    let written = |n: &u64| match event::parse(&events[*n as usize]).unwrap() {
        Event::Commit(commit) if commit.ops.len() == 1 => {
            commit.ops.into_iter().find(|op| op.action != Action::Delete)
        }
        _ => None,
    };
    let mut paths: Vec<&str> = before.iter().filter_map(written).map(|op| op.path).collect();
    paths.sort_unstable();
    paths.dedup();
    let kept = paths.pop().unwrap();
    let gone = |n: &u64| written(n).is_some_and(|op| op.path != kept);
    assert!(before.iter().any(gone));
    let mut bodies = frame::repo::Records::default();
    bodies.add(kept.as_bytes(), &[1; 36]);
    let repo =
        frame::repo::Repo { did: &target, rev: 1, commit: [1; 36], data: [1; 36], block: b"" };
    let (mut plain, mut input) = (frame::MAGIC.to_vec(), frame::MAGIC.to_vec());
    frame::repo::put(&mut plain, 7, &repo, &bodies).unwrap();
    let put = |input: &[u8]| {
        let mut writer = Writer::open(dir.path(), Options::default()).unwrap();
        let mut decoder = Decoder::default();
        decoder.next(input).unwrap();
        let Some((Item::Frame(frame), _)) = decoder.next(&input[8..]).unwrap() else { panic!() };
        writer.put(&frame).unwrap();
        writer.finish(true).unwrap();
    };
    // One that was not proved says nothing.
    put(&plain);
    assert_eq!(of(&[]), before);
    let mut decoder = Decoder::default();
    decoder.next(&plain).unwrap();
    let Some((Item::Frame(frame), _)) = decoder.next(&plain[8..]).unwrap() else { panic!() };
    frame::put_with(&mut input, &frame, Tag::VERDICT, &Verdict::ok(None).to_bytes()).unwrap();
    put(&input);
    let of_one_record = |n: &u64| written(n).is_some();
    let wanted: Vec<u64> = before.iter().copied().filter(|n| !gone(n)).collect();
    let after = of(&[]);
    // Events with several records may be dropped, too; of the others it is told exactly.
    let single = |all: &[u64]| -> Vec<u64> { all.iter().copied().filter(of_one_record).collect() };
    assert_eq!(single(&after), single(&wanted));
    // From the segments it comes out the same.
    archive::repair(dir.path()).unwrap();
    assert_eq!(of(&[]), after);
}
