use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ring::{Error, Reader, Ready, Writer};

use crate::stage::{
    CAPACITY, Directory, Sizes, Stage, code, patience, read_all, until, within, write, write_all,
};

fn kill_within_25_ms(stage: Stage, sizes: &mut Sizes) -> JoinHandle<()> {
    let wait = Duration::from_micros(sizes.next(25_000) as u64);
    std::thread::spawn(move || {
        std::thread::sleep(wait);
        stage.kill();
    })
}

const ROUNDS: usize = 40;

#[test]
fn a_writer_killed_at_any_moment_is_told_after_the_last_byte_it_published() {
    let mut sizes = Sizes::new(0x5eed);
    let mut joined = 0;
    for round in 0..ROUNDS {
        let directory = Directory::new();
        let role = if round % 4 < 2 { "write for ever" } else { "write a little and sleep" };
        let writer = directory.spawn(role);
        // Half of them may be killed before they have joined, or while they do.
        let (early, reader) = if round % 2 == 0 {
            let killer = kill_within_25_ms(writer, &mut sizes);
            (Ok(killer), Reader::attach_at(&directory.address(), within(200)))
        } else {
            (Err(writer), Reader::attach_at(&directory.address(), patience()))
        };
        let killer = early.unwrap_or_else(|writer| kill_within_25_ms(writer, &mut sizes));
        match reader {
            Ok(mut reader) => {
                let (outcome, _) = read_all(&mut reader);
                assert!(matches!(outcome, Err(Error::WriterDied { .. })), "{outcome:?}");
                // It stays so, and nothing more comes.
                assert!(matches!(reader.wait(), Err(Error::WriterDied { .. })));
                assert!(reader.data().unwrap().is_empty());
                assert!(!reader.is_idle().unwrap());
                joined += 1;
            }
            Err(error) => assert!(matches!(error, Error::TimedOut), "{error:?}"),
        }
        killer.join().unwrap();
    }
    assert!(joined >= ROUNDS / 2);
}

#[test]
fn a_reader_killed_at_any_moment_ends_its_writer() {
    let mut sizes = Sizes::new(0xdead);
    let mut joined = 0;
    for round in 0..ROUNDS {
        let directory = Directory::new();
        // One that takes everything, and one that leaves the writer blocked on a full ring.
        let role = if round % 4 < 2 { "read" } else { "read and sleep" };
        let reader = directory.spawn(role);
        let create = |patience| Writer::create_at(&directory.address(), CAPACITY, patience);
        let (early, writer) = if round % 2 == 0 {
            let killer = kill_within_25_ms(reader, &mut sizes);
            (Ok(killer), create(within(200)))
        } else {
            (Err(reader), create(patience()))
        };
        let killer = early.unwrap_or_else(|reader| kill_within_25_ms(reader, &mut sizes));
        match writer {
            Ok(mut writer) => {
                let outcome = write_all(&mut writer, u64::MAX);
                assert!(matches!(outcome, Err(Error::ReaderDied { .. })), "{outcome:?}");
                let again = writer.reserve(1);
                assert!(matches!(again, Err(Error::ReaderDied { .. })), "{again:?}");
                joined += 1;
            }
            Err(error) => assert!(matches!(error, Error::TimedOut), "{error:?}"),
        }
        killer.join().unwrap();
    }
    assert!(joined >= ROUNDS / 2);
}

#[test]
fn of_two_processes_the_one_that_is_left_ends_with_the_reason() {
    let mut sizes = Sizes::new(7);
    for round in 0..10 {
        let directory = Directory::new();
        let writer = directory.spawn("write for ever");
        let reader = directory.spawn("read");
        until("the joint", || directory.writer_has_joined());
        let (killed, left, expected) = if round % 2 == 0 {
            (writer, reader, code::WRITER_DIED)
        } else {
            (reader, writer, code::READER_DIED)
        };
        kill_within_25_ms(killed, &mut sizes).join().unwrap();
        assert_eq!(left.code(), Some(expected));
    }
}

#[test]
fn a_closed_ring_is_read_to_its_end_and_leaves_no_file() {
    let directory = Directory::new();
    let writer = directory.spawn("write and close");
    let mut reader = Reader::attach_at(&directory.address(), patience()).unwrap();
    assert_eq!(reader.peer_pid(), writer.pid());
    let (outcome, count) = read_all(&mut reader);
    assert_eq!((outcome.unwrap(), count), (Ready::End, 3_000_001));
    assert_eq!(writer.code(), Some(code::ENDED));
    // Also long after the writer's process has ended.
    assert_eq!(reader.wait().unwrap(), Ready::End);
    assert!(!reader.is_idle().unwrap());
    drop(reader);
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

#[test]
fn a_writer_that_ends_without_closing_does_not_pass_for_a_clean_end() {
    let directory = Directory::new();
    let writer = directory.spawn("write and drop");
    let mut reader = Reader::attach_at(&directory.address(), patience()).unwrap();
    let (outcome, count) = read_all(&mut reader);
    assert!(matches!(outcome, Err(Error::WriterDied { pid }) if pid == writer.pid()));
    assert_eq!(count, 3_000_001);
}

#[test]
fn a_reader_that_leaves_in_order_is_told_from_one_that_died() {
    let directory = Directory::new();
    let reader = directory.spawn("read and detach");
    let mut writer = Writer::create_at(&directory.address(), CAPACITY, patience()).unwrap();
    let outcome = write_all(&mut writer, u64::MAX);
    assert!(
        matches!(outcome, Err(Error::ReaderDetached { pid }) if pid == reader.pid()),
        "{outcome:?}"
    );
    assert!(matches!(writer.flush(), Err(Error::ReaderDetached { .. })));
    assert!(matches!(writer.close(), Err(Error::ReaderDetached { .. })), "bytes were left");
    assert_eq!(reader.code(), Some(code::ENDED));
}

#[test]
fn a_reader_unwound_by_a_panic_has_died() {
    let directory = Directory::new();
    let (mut writer, reader) = directory.pair(CAPACITY);
    let panicked = std::thread::spawn(move || {
        let _reader = reader;
        std::panic::resume_unwind(Box::new("quietly"));
    });
    panicked.join().unwrap_err();
    let outcome = write_all(&mut writer, u64::MAX);
    assert!(matches!(outcome, Err(Error::ReaderDied { .. })), "{outcome:?}");
}

#[test]
fn closing_is_clean_if_the_reader_left_after_the_last_byte() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(CAPACITY);
    write(&mut writer, b"all").unwrap();
    assert_eq!(reader.wait().unwrap(), Ready::More);
    let count = reader.data().unwrap().len();
    reader.consume(count).unwrap();
    reader.detach();
    until("the hang-up", || writer.flush().is_err());
    writer.close().unwrap();
}

#[test]
fn the_socket_hangs_up_when_the_peer_goes_even_if_a_third_descriptor_is_open() {
    let directory = Directory::new();
    let (writer, reader) = directory.pair(CAPACITY);
    // What a stage that watches its output from its input holds.
    let copy = writer.peer_fd().try_clone_to_owned().unwrap();
    drop(writer);
    let mut fds = [PollFd::new(reader.peer_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::from(20_000u16)).unwrap();
    assert!(fds[0].revents().unwrap().contains(PollFlags::POLLHUP));
    drop(copy);
}

#[test]
fn a_name_is_free_again_as_soon_as_both_sides_are_gone() {
    let directory = Directory::new();
    let began = Instant::now();
    for _ in 0..20 {
        let (mut writer, mut reader) = directory.pair(CAPACITY);
        write(&mut writer, b"x").unwrap();
        writer.close().unwrap();
        assert_eq!(read_one(&mut reader), b'x');
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(directory.files().is_empty());
}

fn read_one(reader: &mut Reader) -> u8 {
    assert_eq!(reader.wait().unwrap(), Ready::More);
    reader.data().unwrap()[0]
}
