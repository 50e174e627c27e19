//! What is asked for by what events say, in each form; and following a live archive.

use std::io::{BufRead, BufReader};

use super::*;

fn lines(output: &[u8]) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Paths of an event's operations; none of what is no commit.
fn paths(event: &[u8]) -> Option<Vec<String>> {
    match atproto::event::parse(event).unwrap() {
        atproto::event::Event::Commit(commit) => {
            Some(commit.ops.map(|op| op.path.to_owned()).collect())
        }
        _ => None,
    }
}

fn expected(events: &[Vec<u8>], wanted: impl Fn(&Option<Vec<String>>) -> bool) -> Vec<u64> {
    let all = (0..).zip(events).filter(|(_, event)| wanted(&paths(event)));
    all.map(|(n, _)| n).collect()
}

#[test]
fn a_path_is_found_in_all_segments_and_the_log() {
    let events = capture(2250);
    let dir = archive(&events);
    // A profile is created once and updated later.
    let path = "app.bsky.actor.profile/self";
    let of_path = |paths: &Option<Vec<String>>| paths.iter().flatten().any(|found| found == path);
    let wanted = expected(&events, of_path);
    assert!(wanted.len() > 3);
    assert_eq!(numbers(&ok(run(dir.path(), &["--path", path]))), wanted);
    let one = did(&events[wanted[1] as usize]);
    let of_one: Vec<u64> =
        wanted.into_iter().filter(|n| did(&events[*n as usize]) == one).collect();
    assert_eq!(numbers(&ok(run(dir.path(), &["--path", path, "--did", &one]))), of_one);
}

#[test]
fn a_collection_comes_with_all_events_that_are_no_commits() {
    let events = capture(2250);
    let dir = archive(&events);
    let of = |paths: &Option<Vec<String>>| match paths {
        Some(paths) => paths.iter().any(|path| path.starts_with("app.bsky.graph.follow/")),
        None => true,
    };
    let args = ["--collection", "app.bsky.graph.follow"];
    let wanted = expected(&events, of);
    assert!(wanted.len() > 10 && wanted.len() < 2000);
    assert_eq!(numbers(&ok(run(dir.path(), &args))), wanted);
    // Of a commit with several operations only those that were asked for are shown.
    let args = [&args[..], &["--format", "records"]].concat();
    let shown = lines(&ok(run(dir.path(), &args)));
    assert!(!shown.is_empty());
    assert!(shown.iter().all(|line| line["collection"] == "app.bsky.graph.follow"));
}

#[test]
fn since_begins_with_the_first_event_received_then() {
    let dir = archive(&capture(250));
    for from in [0, 1, 99, 100, 101, 180, 249] {
        // As the events of these tests are received.
        let since = format!("1970-01-01T00:00:00.{:09}Z", from * 1_000_007);
        let wanted: Vec<u64> = (from..250).collect();
        assert_eq!(numbers(&ok(run(dir.path(), &["--since", &since]))), wanted, "{since}");
    }
    let late = ["--since", "1970-01-01T00:00:01Z"];
    assert_eq!(numbers(&ok(run(dir.path(), &late))), [0u64; 0]);
}

#[test]
fn jetstream_lines_have_the_fields_of_jetstream() {
    let events = capture(usize::MAX);
    let dir = archive(&events);
    let shown = lines(&ok(run(dir.path(), &["--format", "jetstream"])));
    let records = lines(&ok(run(dir.path(), &["--format", "records"])));
    let commits: Vec<_> = shown.iter().filter(|line| line["kind"] == "commit").collect();
    assert_eq!(commits.len(), records.len(), "a line for each operation in both forms");
    for (line, record) in commits.iter().zip(&records) {
        assert_eq!((&line["did"], &line["commit"]["rev"]), (&record["did"], &record["rev"]));
        let commit = line["commit"].as_object().unwrap();
        let mut names: Vec<&str> = commit.keys().map(String::as_str).collect();
        names.sort_unstable();
        let named: &[&str] = if record["action"] == "delete" {
            &["collection", "operation", "rev", "rkey"]
        } else {
            &["cid", "collection", "operation", "record", "rev", "rkey"]
        };
        assert_eq!(names, named);
        assert_eq!(commit["operation"], record["action"]);
        assert_eq!(commit["rkey"], record["rkey"]);
        assert_eq!(commit.get("record").unwrap_or(&Value::Null), &record["record"]);
        assert_eq!(commit.get("cid").unwrap_or(&Value::Null), &record["cid"]);
    }
    assert!(records.iter().any(|record| record["action"] == "delete"));
    let of = |kind: &'static str| shown.iter().filter(move |line| line["kind"] == kind);
    assert!(of("identity").all(|line| line["identity"]["did"] == line["did"]));
    assert!(of("account").all(|line| line["account"]["active"].is_boolean()));
    assert!(of("identity").count() > 0 && of("account").count() > 0);
    assert!(shown.iter().all(|line| line["time_us"].is_u64()));
}

#[test]
fn a_live_archive_is_followed_through_segments_and_a_restart() {
    let events = capture(600);
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { segment_events: 70, level: 1, fsync: Fsync::Never, ..Options::default() };
    let input = stream(&events);
    let mut writer = Some(Writer::open(dir.path(), options).unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_archive-cat"))
        .arg(dir.path())
        .args(["--follow", "--from", "5", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = 5;
    let mut read_up_to = |end: u64| {
        while next < end {
            let line: Value = serde_json::from_str(&shown.next().unwrap().unwrap()).unwrap();
            if line["kind"] == "event" {
                assert_eq!(line["n"], next);
                assert_eq!(line["did"], did(&events[next as usize]));
                next += 1;
            }
        }
    };
    let (mut decoder, mut rest) = (Decoder::default(), &input[..]);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        let open = writer.as_mut().unwrap();
        open.put(&frame).unwrap();
        let count = open.events();
        if count.is_multiple_of(90) && frame.header.kind == Kind::EVENT {
            open.flush().unwrap();
            read_up_to(count);
        }
        if count == 300 && frame.header.kind == Kind::EVENT {
            // The next writer knows no host yet; what names them comes again.
            writer.take().unwrap().finish(false).unwrap();
            let mut again = Writer::open(dir.path(), options).unwrap();
            for (id, role, name) in HOSTS {
                let mut named = frame::MAGIC.to_vec();
                frame::host::put(&mut named, HostId(id), role, name).unwrap();
                let mut decoder = Decoder::default();
                decoder.next(&named).unwrap();
                let Some((Item::Frame(host), _)) = decoder.next(&named[8..]).unwrap() else {
                    panic!("a host frame")
                };
                again.put(&host).unwrap();
            }
            writer = Some(again);
        }
    }
    writer.unwrap().finish(true).unwrap();
    read_up_to(600);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The recipe of README.md, where there is a jq.
#[test]
fn records_go_through_jq_as_the_readme_says() {
    let dir = archive(&capture(2250));
    let records = ok(run(dir.path(), &["--format", "records"]));
    let program =
        r#"select(.collection == "app.bsky.feed.like" and .record) | .record.subject.uri"#;
    let Ok(mut jq) = Command::new("jq")
        .args(["-r", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        return;
    };
    let mut stdin = jq.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &records));
    let output = jq.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let likes = text(&output.stdout).lines().filter(|line| line.starts_with("at://did:")).count();
    assert_eq!(likes, text(&output.stdout).lines().count());
    assert!(likes > 100);
}

#[test]
fn what_can_not_be_asked_for_is_misuse() {
    let dir = archive(&capture(20));
    for args in [
        &["--path", "app.bsky.feed.post"][..],
        &["--collection", "post"],
        &["--since", "yesterday"],
        &["--format", "jetstream", "--out", "x"],
        &["--json", "--format", "records"],
        &["--follow", "--count", "3"],
    ] {
        assert_eq!(run(dir.path(), args).status.code(), Some(2), "{args:?}");
    }
}
