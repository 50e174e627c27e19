use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use ring::{Error, Patience, Reader, Side, Writer};

use crate::stage::{CAPACITY, Directory, code, until, within};

#[test]
fn either_side_may_be_started_first() {
    for writer_first in [true, false] {
        let directory = Directory::new();
        let (first, second, file) = if writer_first {
            ("write and close", "read", "ring-joint.sock")
        } else {
            ("read", "write and close", "ring-joint.reader")
        };
        let first = directory.spawn(first);
        until("the first side", || directory.files().iter().any(|name| name == file));
        std::thread::sleep(Duration::from_millis(20));
        let second = directory.spawn(second);
        assert_eq!((first.code(), second.code()), (Some(code::ENDED), Some(code::ENDED)));
        assert!(directory.files().is_empty());
    }
}

#[test]
fn a_second_writer_and_a_second_reader_are_told_who_is_there() {
    let directory = Directory::new();
    let second_writer = || Writer::create_at(&directory.address(), CAPACITY, within(0));
    let second_reader = || Reader::attach_at(&directory.address(), within(0));
    let writer = directory.spawn("write for ever");
    until("the writer", || directory.files().len() >= 2);

    let refused = second_writer().unwrap_err();
    assert!(
        matches!(&refused, Error::Busy { side: Side::Writer, pid: Some(pid), .. } if *pid == writer.pid())
    );
    let reader = directory.spawn("read and sleep");
    until("the joint", || directory.writer_has_joined());
    assert_eq!(directory.files(), ["ring-joint.reader", "ring-joint.writer"]);
    for _ in 0..3 {
        for (refused, side, holder) in [
            (second_reader().unwrap_err(), "reader", reader.pid()),
            (second_writer().unwrap_err(), "writer", writer.pid()),
        ] {
            // The other processes are this test's own program.
            let tool = std::fs::read_to_string(format!("/proc/{holder}/comm")).unwrap();
            let said =
                format!("ring:joint has a {side} already: process {holder} ({})", tool.trim());
            assert_eq!(refused.to_string(), said);
        }
    }
    // Those who hold it notice nothing of that.
    reader.kill();
    assert_eq!(writer.code(), Some(code::READER_DIED));
}

#[test]
fn what_a_dead_writer_left_is_taken_over_by_the_next() {
    let directory = Directory::new();
    let dead = directory.spawn("write and close");
    until("the socket", || directory.files().iter().any(|name| name == "ring-joint.sock"));
    dead.kill();
    assert_eq!(directory.files(), ["ring-joint.sock", "ring-joint.writer"]);

    // A reader that finds nobody behind the name waits as if there were none.
    let early = Reader::attach_at(&directory.address(), within(20));
    assert!(matches!(early, Err(Error::TimedOut)));
    let reader = directory.spawn("read");
    let writer = directory.spawn("write and close");
    assert_eq!((reader.code(), writer.code()), (Some(code::ENDED), Some(code::ENDED)));
    assert!(directory.files().is_empty());
}

#[test]
fn a_writer_whose_reader_died_while_joining_waits_for_the_next() {
    let directory = Directory::new();
    let mut writer = directory.spawn("write and close");
    until("the socket", || directory.files().iter().any(|name| name == "ring-joint.sock"));
    // Each reader is given a little longer to live than the one before, until one has joined.
    let mut wait_us = 0;
    until("a reader that joins before it dies", || {
        let reader = directory.spawn("read and sleep");
        std::thread::sleep(Duration::from_micros(wait_us));
        reader.kill();
        wait_us += 500;
        writer.has_ended()
    });
    assert_eq!(writer.code(), Some(code::READER_DIED));
}

#[test]
fn a_side_that_waits_alone_ends_at_its_limit_or_when_told_and_leaves_no_file() {
    let directory = Directory::new();
    let alone = Writer::create_at(&directory.address(), CAPACITY, within(10));
    assert!(matches!(alone, Err(Error::TimedOut)));
    let alone = Reader::attach_at(&directory.address(), within(10));
    assert!(matches!(alone, Err(Error::TimedOut)));
    assert!(directory.files().is_empty());

    for writes in [true, false] {
        let stop = EventFd::new().unwrap();
        let told = std::thread::scope(|scope| {
            let side = scope.spawn(|| {
                let patience = Patience { stop: Some(stop.as_fd()), limit: None };
                if writes {
                    Writer::create_at(&directory.address(), CAPACITY, patience).map(drop)
                } else {
                    Reader::attach_at(&directory.address(), patience).map(drop)
                }
            });
            std::thread::sleep(Duration::from_millis(20));
            stop.write(1).unwrap();
            side.join().unwrap()
        });
        assert!(matches!(told, Err(Error::Interrupted)), "{told:?}");
        assert!(directory.files().is_empty());
    }
}

#[test]
fn no_memory_for_the_ring_is_an_error_at_the_start() {
    for role in ["write with little file size", "write with little address space"] {
        let directory = Directory::new();
        assert_eq!(directory.spawn(role).code(), Some(code::NO_MEMORY), "{role}");
        assert!(directory.files().is_empty());
    }
}
