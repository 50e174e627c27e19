#![allow(unsafe_code)] // A signal handler, and a signal to one thread.

use std::os::fd::AsFd;
use std::os::unix::thread::JoinHandleExt;
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use ring::{Error, Ready, Until, Writer};

use crate::stage::{CAPACITY, Directory, Pattern, code, patience, until, write};

#[test]
fn a_full_ring_blocks_the_writer_until_the_reader_consumes() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(CAPACITY);
    let half = vec![1; CAPACITY / 2];
    write(&mut writer, &half).unwrap();
    write(&mut writer, &half).unwrap();
    let short = Duration::from_millis(20);
    assert_eq!(writer.wait_room(1, Some(short)).unwrap(), Ready::TimedOut);
    assert_eq!(writer.queued().unwrap(), CAPACITY as u64);

    let other = std::thread::spawn(move || {
        write(&mut writer, &[2]).unwrap();
        writer
    });
    std::thread::sleep(short);
    assert!(!other.is_finished());
    assert_eq!(reader.wait_until(CAPACITY / 2).unwrap(), Ready::More);
    let seen = reader.data().unwrap();
    assert!(seen.len() == CAPACITY && seen.iter().all(|byte| *byte == 1));
    reader.consume(CAPACITY).unwrap();
    let _writer = other.join().unwrap();
    assert_eq!(reader.wait().unwrap(), Ready::More);
    assert_eq!(reader.data().unwrap(), [2]);
}

#[test]
fn a_reader_that_stops_holds_the_writer_up_and_gets_everything_when_it_goes_on() {
    let directory = Directory::new();
    let reader = directory.spawn("read");
    let mut writer = Writer::create_at(&directory.address(), CAPACITY, patience()).unwrap();
    reader.signal(Signal::SIGSTOP);
    let (pattern, mut position, piece) = (Pattern::new(), 0, 1000);
    let mut put = |writer: &mut Writer, limit| {
        let ready = writer.wait_room(piece, Some(limit)).unwrap();
        if ready == Ready::More {
            pattern.fill(position, writer.reserve(piece).unwrap());
            writer.publish(piece).unwrap();
            position += piece as u64;
        }
        ready
    };
    while put(&mut writer, Duration::from_millis(100)) == Ready::More {}
    assert!(writer.capacity() - writer.queued().unwrap() < piece as u64);
    reader.signal(Signal::SIGCONT);
    for _ in 0..2000 {
        assert_eq!(put(&mut writer, Duration::from_secs(20)), Ready::More);
    }
    writer.close().unwrap();
    assert_eq!(reader.code(), Some(code::ENDED));
}

/// CPU ticks that a process has used, and how often its threads went to sleep.
fn used(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let mut sleeps = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
        sleeps += line.split('\t').nth(1).unwrap().parse::<u64>().unwrap();
    }
    (ticks, sleeps)
}

#[test]
fn an_idle_ring_uses_no_cpu() {
    let directory = Directory::new();
    let reader = directory.spawn("read");
    let mut writer = Writer::create_at(&directory.address(), CAPACITY, patience()).unwrap();
    let mut byte = [0];
    Pattern::new().fill(0, &mut byte);
    write(&mut writer, &byte).unwrap();
    let mut before = used(reader.pid());
    until("rest", || {
        std::thread::sleep(Duration::from_millis(50));
        let last = std::mem::replace(&mut before, used(reader.pid()));
        writer.queued().unwrap() == 0 && before == last
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(used(reader.pid()), before);
    writer.close().unwrap();
    assert_eq!(reader.code(), Some(code::ENDED));
}

#[test]
fn bytes_published_without_a_wake_up_are_seen_by_whoever_looks_and_flushed_to_who_sleeps() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(CAPACITY);
    writer.reserve(3).unwrap().copy_from_slice(b"abc");
    writer.publish(3).unwrap();
    assert_eq!(reader.data().unwrap(), b"abc");
    reader.consume(3).unwrap();

    let other = std::thread::spawn(move || (reader.wait().unwrap(), reader));
    std::thread::sleep(Duration::from_millis(20));
    writer.reserve(3).unwrap().copy_from_slice(b"def");
    writer.publish(3).unwrap();
    writer.flush().unwrap();
    let (ready, mut reader) = other.join().unwrap();
    assert_eq!((ready, reader.data().unwrap()), (Ready::More, &b"def"[..]));
}

#[test]
fn a_writer_that_blocks_wakes_the_reader_it_had_let_sleep() {
    let directory = Directory::new();
    // Half the ring is less than what is published before a wake-up is due.
    let (mut writer, mut reader) = directory.pair(1 << 16);
    let other = std::thread::spawn(move || {
        let mut count = 0;
        while reader.wait().unwrap() == Ready::More {
            let seen = reader.data().unwrap().len();
            reader.consume(seen).unwrap();
            count += seen;
        }
        count
    });
    for _ in 0..100 {
        let _ = writer.reserve(30_000).unwrap();
        writer.publish(30_000).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(other.join().unwrap(), 3_000_000);
}

#[test]
fn a_wait_ends_for_a_watched_descriptor_once() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(CAPACITY);
    let event = EventFd::new().unwrap();
    reader.watch(event.as_fd(), Until::Readable).unwrap();
    assert_eq!(reader.wait_timeout(Duration::from_millis(20)).unwrap(), Ready::TimedOut);
    event.write(1).unwrap();
    assert_eq!(reader.wait().unwrap(), Ready::Interrupted);
    assert_eq!(reader.wait_timeout(Duration::from_millis(20)).unwrap(), Ready::TimedOut);

    // A pipe whose reader goes away, as the stdout of a stage.
    let (output_end, output) = nix::unistd::pipe().unwrap();
    reader.watch(output.as_fd(), Until::HungUp).unwrap();
    assert_eq!(reader.wait_timeout(Duration::from_millis(20)).unwrap(), Ready::TimedOut);
    drop(output_end);
    assert_eq!(reader.wait().unwrap(), Ready::Interrupted);

    // The same on the other side, blocked on a full ring.
    let half = vec![0; CAPACITY / 2];
    write(&mut writer, &half).unwrap();
    write(&mut writer, &half).unwrap();
    let event = EventFd::new().unwrap();
    writer.watch(event.as_fd(), Until::Readable).unwrap();
    event.write(1).unwrap();
    assert!(matches!(writer.reserve(1), Err(Error::Interrupted)));
}

#[test]
fn a_stage_blocked_on_its_input_notices_that_the_reader_of_its_output_is_gone() {
    let (upstream, downstream) = (Directory::new(), Directory::new());
    let (_source, mut input) = upstream.pair(CAPACITY);
    let sink = downstream.spawn("read and sleep");
    let mut output = Writer::create_at(&downstream.address(), CAPACITY, patience()).unwrap();
    input.watch(output.peer_fd(), Until::HungUp).unwrap();
    let stage = std::thread::spawn(move || {
        assert_eq!(input.wait().unwrap(), Ready::Interrupted);
        until("the death", || output.flush().is_err());
        output.flush()
    });
    std::thread::sleep(Duration::from_millis(20));
    sink.kill();
    let told = stage.join().unwrap();
    assert!(matches!(told, Err(Error::ReaderDied { .. })), "{told:?}");
}

#[test]
fn a_waker_ends_the_present_wait_or_the_next() {
    let directory = Directory::new();
    let (_writer, mut reader) = directory.pair(CAPACITY);
    let waker = reader.waker();
    waker.wake();
    waker.wake();
    assert_eq!(reader.wait().unwrap(), Ready::Interrupted);
    let other = std::thread::spawn(move || reader.wait().unwrap());
    std::thread::sleep(Duration::from_millis(20));
    assert!(!other.is_finished());
    waker.wake();
    assert_eq!(other.join().unwrap(), Ready::Interrupted);
}

extern "C" fn nothing(_: i32) {}

#[test]
fn a_signal_handler_that_runs_ends_the_wait() {
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, and no other test uses this signal.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
    let directory = Directory::new();
    let (_writer, mut reader) = directory.pair(CAPACITY);
    let blocked = std::thread::spawn(move || reader.wait().unwrap());
    until("the end of the wait", || {
        if !blocked.is_finished() {
            // SAFETY: the thread is not joined, so its id is valid.
            unsafe {
                nix::libc::pthread_kill(blocked.as_pthread_t() as _, nix::libc::SIGUSR2);
            }
        }
        blocked.is_finished()
    });
    assert_eq!(blocked.join().unwrap(), Ready::Interrupted);
}
