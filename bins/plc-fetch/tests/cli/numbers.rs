use std::{
    io::{BufRead, BufReader},
    thread,
    time::{Duration, Instant},
};

use didindex::{Builder, Change, Cursor, Key};
use nix::sys::signal::Signal;

use crate::{
    Ops, Running, command,
    directory::{Directory, Fault, Numbers},
    names, said, wait_until,
};

/// How soon a new operation has to be where it belongs.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn numbered_operations_are_stored_once_as_they_came_also_a_thousand_of_one_millisecond() {
    let times = (0..300).chain([400; 2500]).chain((401..900).map(|time| time * 10));
    let directory = Directory::numbered(times, 1000);
    let ops = Ops::new();
    let output = ops.run(&directory, &["--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interfaces"], serde_json::json!(["seq"]));
    assert_eq!(report["last_seq"], 3298 * 3 + 10);
    assert_eq!(ops.lines(), directory.numbered_lines());
    // Four pages, and one that is empty.
    assert_eq!(directory.requests(), 5);
    // Again: the last operation alone, and what came since, late ones among it.
    assert_eq!(ops.fetch(&directory), "");
    assert_eq!(directory.requests(), 6);
    for time in [9000, 9000, 50, 8000] {
        directory.add(time);
    }
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.numbered_lines());
    assert_eq!(directory.requests(), 8);
}

#[test]
fn a_directory_that_forgets_its_numbers_is_gone_on_with_by_time_and_back() {
    for other in [Numbers::Year, Numbers::Refused] {
        let directory = Directory::numbered((0..900).map(|number| number * 1000), 100);
        let ops = Ops::new();
        ops.fetch(&directory);
        directory.know(other);
        (900..1000).for_each(|number| directory.add(number * 1000));
        ops.fetch(&directory);
        assert_eq!(ops.names(), names(&directory.lines()), "{other:?}");
        directory.know(Numbers::Known);
        (1000..1100).for_each(|number| directory.add(number * 1000));
        ops.fetch(&directory);
        ops.fetch(&directory);
        assert_eq!(ops.names(), names(&directory.lines()), "{other:?}");
    }
}

#[test]
fn numbers_that_are_others_than_before_are_not_believed() {
    let directory = Directory::numbered((0..900).map(|number| number * 1000), 100);
    let ops = Ops::new();
    ops.fetch(&directory);
    (900..950).for_each(|number| directory.add(number * 1000));
    for operation in &mut directory.state.lock().unwrap().operations {
        let seq = operation.seq;
        operation.seq = seq * 2 + 7;
        let (old, new) = (format!("\"seq\":{seq},"), format!("\"seq\":{},", operation.seq));
        operation.numbered = operation.numbered.replace(&old, &new);
    }
    ops.fetch(&directory);
    assert!(ops.names() == names(&directory.lines()));
    // What is stored is of one URL: another's numbers are looked up again.
    let twin = Directory::numbered((0..1000).map(|number| number * 1000), 100);
    ops.fetch(&twin);
    assert!(ops.names() == names(&twin.lines()));
}

#[test]
fn from_times_to_numbers_nothing_is_lost_and_nothing_comes_twice() {
    // Some share a time, some appear late.
    let time = |number: u64| number / 3 * 700 - if number % 50 == 7 { 5000 } else { 0 };
    let directory = Directory::new((100..20_000).map(time), 1000);
    let ops = Ops::new();
    ops.fetch(&directory);
    directory.know(Numbers::Known);
    (20_000..23_000).map(time).for_each(|time| directory.add(time));
    let before = directory.requests();
    ops.fetch(&directory);
    assert_eq!(ops.names(), names(&directory.lines()));
    assert!(directory.requests() - before < 40, "{}", directory.requests() - before);
    // The numbers are known from here on.
    let before = directory.requests();
    ops.fetch(&directory);
    assert_eq!(directory.requests() - before, 1);
}

#[test]
fn after_begins_behind_a_time_among_numbers_too() {
    let directory = Directory::numbered((0..5000).map(|number| number * 1000), 1000);
    let ops = Ops::new();
    let output = ops.run(&directory, &["--after", "2026-01-01T01:00:00Z"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ops.lines(), directory.numbered_lines()[3601..]);
}

#[test]
fn kill_9_at_any_moment_loses_no_number_and_stores_none_twice() {
    let directory = Directory::numbered((0..3000).map(|number| number / 300), 10);
    directory.state.lock().unwrap().delay = Duration::from_millis(1);
    let ops = Ops::new();
    let mut kills = 0;
    for round in 0..10u64 {
        let mut child = Running::start(ops.command(&directory, &["--file-lines", "400"]));
        let before = directory.requests();
        wait_until("some questions", || directory.requests() > before + 5 || child.has_ended());
        thread::sleep(Duration::from_micros(round * 1700));
        child.signal(Signal::SIGKILL);
        kills += u32::from(!child.ended().status.success());
        let (stored, there) = (ops.lines(), directory.numbered_lines());
        assert_eq!(stored, there[..stored.len()], "after kill {round}");
    }
    assert!(kills > 5);
    directory.state.lock().unwrap().delay = Duration::ZERO;
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.numbered_lines());
}

#[test]
fn a_torn_tail_of_numbered_operations_is_fetched_again() {
    let directory = Directory::numbered((0..60).map(|number| number * 10), 20);
    let ops = Ops::new();
    ops.fetch(&directory);
    let file = ops.files().remove(0);
    let whole = std::fs::read(&file).unwrap();
    for length in (0..whole.len()).step_by(37) {
        std::fs::write(&file, &whole[..length]).unwrap();
        ops.fetch(&directory);
        assert_eq!(ops.lines(), directory.numbered_lines(), "torn at {length}");
    }
}

#[test]
fn following_takes_the_stream_and_joins_it_again_when_it_breaks() {
    let directory = Directory::numbered((0..30).map(|number| number * 10), 1000);
    directory.state.lock().unwrap().repeats = 3;
    let ops = Ops::new();
    let child = Running::start(ops.command(&directory, &["--follow", "--every", "1h"]));
    let joined = || directory.state.lock().unwrap().joined.len();
    wait_until("the stream", || joined() == 1);
    let paged = directory.requests();
    for number in 0..5 {
        let began = Instant::now();
        directory.add(400 + number);
        wait_until("a new operation", || ops.lines().len() == 31 + number as usize);
        assert!(began.elapsed() < SOON * 5, "{:?}", began.elapsed());
    }
    assert_eq!(directory.requests(), paged, "nothing was asked for");
    // Cut, with something coming before it is joined again.
    directory.state.lock().unwrap().cut += 1;
    directory.add(500);
    wait_until("the one after the cut", || ops.lines().len() == 36);
    wait_until("the stream again", || joined() == 2);
    // Closed for each of the known reasons, and without one.
    for (number, reason) in ["OutdatedCursor", "ConsumerTooSlow", "", "FutureCursor", "going away"]
        .into_iter()
        .enumerate()
    {
        let before = joined();
        let mut state = directory.state.lock().unwrap();
        state.closes.push_back(reason);
        state.cut += 1;
        drop(state);
        directory.add(600 + number as u64);
        wait_until("the stream after that", || joined() >= before + 2);
        wait_until("what came meanwhile", || ops.lines().len() == 37 + number);
    }
    child.signal(Signal::SIGTERM);
    let output = child.ended();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ops.lines(), directory.numbered_lines());
}

#[test]
fn a_directory_without_a_stream_is_polled_by_number() {
    let directory = Directory::numbered((0..30).map(|number| number * 10), 1000);
    directory.state.lock().unwrap().streamless = true;
    let ops = Ops::new();
    let child = Running::start(ops.command(&directory, &["--follow", "--every", "10ms"]));
    wait_until("the first", || ops.lines().len() == 30);
    directory.add(10);
    directory.add(400);
    wait_until("what is new", || ops.lines().len() == 32);
    child.signal(Signal::SIGTERM);
    assert!(child.ended().status.success());
    assert_eq!(ops.lines(), directory.numbered_lines());
}

#[test]
fn a_directory_that_is_empty_is_followed_from_its_first_operation_on() {
    for numbers in [Numbers::Known, Numbers::Year, Numbers::Refused] {
        let directory = Directory::new([], 1000);
        directory.know(numbers);
        let ops = Ops::new();
        let child = Running::start(ops.command(&directory, &["--follow", "--every", "10ms"]));
        wait_until("questions", || directory.requests() > 2);
        directory.add(5);
        directory.add(6);
        wait_until("what is new", || ops.lines().len() == 2);
        child.signal(Signal::SIGTERM);
        assert!(child.ended().status.success());
    }
}

#[test]
fn lines_are_printed_as_they_come_and_with_tee_once_they_are_stored() {
    for tee in [false, true] {
        let directory = Directory::numbered((0..30).map(|number| number * 10), 1000);
        let ops = Ops::new();
        let mut following = match tee {
            true => ops.command(&directory, &["--tee"]),
            false => command(&directory),
        };
        following.args(["--follow", "--every", "1h"]);
        let mut child = Running::start(following);
        let mut lines = BufReader::new(child.child().stdout.take().unwrap()).lines();
        let there = directory.numbered_lines();
        for line in &there {
            assert_eq!(lines.next().unwrap().unwrap(), *line);
        }
        for number in 0..5 {
            directory.add(1000 + number);
            let line = lines.next().unwrap().unwrap();
            assert_eq!(Some(&line), directory.numbered_lines().last());
            assert!(!tee || ops.lines().last() == Some(&line), "printed before it was stored");
        }
        // A reader that has enough ends it without a word, also when nothing comes.
        drop(lines);
        let output = child.ended();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn resume_begins_where_an_index_has_read() {
    let directory = Directory::numbered((0..5000).map(|number| number * 1000), 1000);
    let ops = Ops::new();
    let index = ops.0.path().join("did.idx");
    let mut builder = Builder::create(&index, 1, false).unwrap();
    let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
    let key = Key::Known([
        1, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7,
    ]);
    builder.add(&did, &[Change { from_ms: 0, key, pds: Some("pds.example.com") }]).unwrap();
    builder.finish(Cursor { created_ms: 1_767_225_600_000 + 4_500_000, operations: 4501 }).unwrap();
    for numbers in [Numbers::Known, Numbers::Year] {
        directory.know(numbers);
        let output = command(&directory).arg("--resume").arg(&index).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        let all = match numbers {
            Numbers::Known => directory.numbered_lines(),
            _ => directory.lines(),
        };
        // A minute back, for what appeared late.
        assert_eq!(lines, all[4441..]);
    }
    let output = ops.run(&directory, &["--resume", index.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = command(&directory).args(["--resume", "nothing.idx"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("nothing.idx"), "{output:?}");
}

#[test]
fn failures_while_the_place_is_looked_for_are_waited_for() {
    let directory = Directory::new((0..5000).map(|number| number * 1000), 1000);
    let ops = Ops::new();
    ops.fetch(&directory);
    directory.know(Numbers::Known);
    directory.add(5_000_000);
    for _ in 0..3 {
        directory.fault(Fault::Status("503 Service Unavailable\r\nretry-after: 0".into()));
        directory.fault(Fault::Status("429 Too Many Requests\r\nretry-after: 0".into()));
    }
    ops.fetch(&directory);
    assert_eq!(ops.names(), names(&directory.lines()));
}
