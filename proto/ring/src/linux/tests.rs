//! Peers that lie, and header words that are scribbled on: only from in here can both be made.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::ftruncate;
use proptest::prelude::*;

use super::layout::Header;
use super::memory::{self, Sizes};
use super::{Reader, Writer};
use crate::{Address, Error, Fault, Patience, Ready, Word};

const CAPACITY: usize = 1 << 16;
const HELLO: u32 = 1;
const OFFER: u32 = 2;
const JOINED: u32 = 3;
const REFUSED: u32 = 4;

fn address(directory: &Path) -> Address {
    // A directory of its own, made by the room: one of `tempfile` is open to others.
    Address::new("a").unwrap().within(&directory.join("rings"))
}

fn patience() -> Patience<'static> {
    Patience { limit: Some(Duration::from_secs(20)), stop: None }
}

fn pair(directory: &Path) -> (Writer, Reader) {
    let here = address(directory);
    let reader = std::thread::spawn(move || Reader::attach_at(&here, patience()));
    let writer = Writer::create_at(&address(directory), CAPACITY, patience()).unwrap();
    (writer, reader.join().unwrap().unwrap())
}

fn message(version: u32, kind: u32, number: u64, detail: u32) -> Vec<u8> {
    let fields = [version.to_le_bytes(), kind.to_le_bytes()].concat();
    [b"SVRNring".as_slice(), &fields, &number.to_le_bytes(), &detail.to_le_bytes(), &[0; 4]]
        .concat()
}

fn send(socket: &UnixStream, bytes: &[u8], memory: &[&OwnedFd]) {
    let fds: Vec<RawFd> = memory.iter().map(|fd| fd.as_raw_fd()).collect();
    let control = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &control[..0] } else { &control[..] };
    let (to, parts) = (socket.as_raw_fd(), [IoSlice::new(bytes)]);
    sendmsg::<()>(to, &parts, control, MsgFlags::MSG_NOSIGNAL, None).unwrap();
}

fn receive(socket: &mut UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

/// A reader that meets a writer which answers its hello with these bytes and this memory; gives
/// back what the reader made of it, and its answer.
fn reader_offered(bytes: &[u8], memory: &[&OwnedFd]) -> (Result<Reader, Error>, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let here = address(directory.path());
    let listener = UnixListener::bind(here.place().unwrap().socket()).unwrap();
    let reader = std::thread::spawn(move || Reader::attach_at(&here, patience()));
    let (mut socket, _) = listener.accept().unwrap();
    assert_eq!(receive(&mut socket), message(1, HELLO, 0, 0));
    send(&socket, bytes, memory);
    let mut answer = Vec::new();
    let outcome = reader.join().unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.read_to_end(&mut answer);
    (outcome, answer)
}

fn sizes() -> Sizes {
    Sizes::of(CAPACITY as u64).unwrap()
}

fn offer() -> Vec<u8> {
    message(1, OFFER, CAPACITY as u64, sizes().header_bytes as u32)
}

fn memfd(bytes: usize, seals: SealFlag) -> OwnedFd {
    let memory = memfd_create("hostile", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&memory, bytes as i64).unwrap();
    fallocate(&memory, FallocateFlags::empty(), 0, bytes as i64).unwrap();
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    memory
}

fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

#[test]
fn memory_that_is_unsealed_short_unstamped_missing_or_double_is_refused_with_the_reason() {
    let whole = sizes().bytes();
    let unsealed = memfd(whole, SealFlag::empty());
    let short = memfd(whole - 4096, all_seals());
    let blank = memfd(whole, all_seals());
    let unwritable = memfd(whole, all_seals() | SealFlag::F_SEAL_WRITE);
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let cases: [(&[&OwnedFd], Fault); 7] = [
        (&[&unsealed], Fault::NotSealed),
        (&[&file], Fault::NotSealed),
        (&[&short], Fault::Size),
        (&[&blank], Fault::Header),
        (&[&unwritable], Fault::Mapping),
        (&[], Fault::Missing),
        (&[&blank, &blank], Fault::Missing),
    ];
    for (memory, expected) in cases {
        let (outcome, answer) = reader_offered(&offer(), memory);
        match outcome {
            Err(Error::Memory { fault, .. }) => assert_eq!(fault, expected),
            Err(Error::NoMemory { .. }) => assert_eq!(Fault::Mapping, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
        assert_eq!(answer, message(1, REFUSED, 0, expected as u32));
    }
}

#[test]
fn an_offer_of_an_impossible_capacity_or_page_is_refused_before_anything_is_mapped() {
    let memory = memory::create("a", sizes()).unwrap();
    let page = sizes().header_bytes as u32;
    for (capacity, header) in [(0, page), (CAPACITY as u64 + 1, page), (u64::MAX, page), (65536, 7)]
    {
        let (outcome, answer) = reader_offered(&message(1, OFFER, capacity, header), &[&memory]);
        assert!(
            matches!(outcome, Err(Error::Memory { fault: Fault::Capacity, .. })),
            "{capacity} {header}: {outcome:?}"
        );
        assert_eq!(answer, message(1, REFUSED, 0, Fault::Capacity as u32));
    }
}

#[test]
fn an_answer_in_another_protocol_or_version_is_an_error_that_says_so() {
    for bytes in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[0; 32], &[0; 4096], &offer()[..31]] {
        let (outcome, _) = reader_offered(bytes, &[]);
        assert!(matches!(outcome, Err(Error::NotARing { .. })), "{outcome:?}");
    }
    let (outcome, _) = reader_offered(&message(1, JOINED, 0, 0), &[]);
    assert!(matches!(outcome, Err(Error::NotARing { .. })), "{outcome:?}");
    let (outcome, _) = reader_offered(&message(7, OFFER, 0, 0), &[]);
    assert!(matches!(outcome, Err(Error::Version { theirs: 7, ours: 1, .. })), "{outcome:?}");
}

fn writer_in(directory: &Path) -> (JoinHandle<Result<Writer, Error>>, std::path::PathBuf) {
    let here = address(directory);
    let socket = here.place().unwrap().socket();
    let writer = std::thread::spawn(move || Writer::create_at(&here, CAPACITY, patience()));
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    (writer, socket)
}

#[test]
fn a_stranger_on_the_socket_is_sent_away_and_the_next_reader_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, socket) = writer_in(directory.path());
    drop(UnixStream::connect(&socket).unwrap());
    let mut garbled = UnixStream::connect(&socket).unwrap();
    garbled.write_all(&[7; 100]).unwrap();
    assert!(matches!(garbled.read(&mut [0; 64]), Ok(0) | Err(_)), "hung up without an answer");
    let mut gone_after_hello = UnixStream::connect(&socket).unwrap();
    gone_after_hello.write_all(&message(1, HELLO, 0, 0)).unwrap();
    assert_eq!(receive(&mut gone_after_hello), offer());
    drop(gone_after_hello);
    let reader = Reader::attach_at(&address(directory.path()), patience()).unwrap();
    assert_eq!(writer.join().unwrap().unwrap().peer_pid(), std::process::id());
    assert!(!socket.exists(), "a ring is not joined in mid-stream");
    drop(reader);
}

#[test]
fn the_socket_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (writer, socket) = writer_in(directory.path());
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let _reader = Reader::attach_at(&address(directory.path()), patience()).unwrap();
    writer.join().unwrap().unwrap();
}

#[test]
fn a_reader_of_another_version_and_one_that_refuses_end_the_writer_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, socket) = writer_in(directory.path());
    let mut other = UnixStream::connect(&socket).unwrap();
    other.write_all(&message(2, HELLO, 0, 0)).unwrap();
    assert_eq!(receive(&mut other), offer(), "the writer's version is in its answer");
    let outcome = writer.join().unwrap();
    assert!(matches!(outcome, Err(Error::Version { theirs: 2, .. })), "{outcome:?}");

    let (writer, socket) = writer_in(directory.path());
    let mut other = UnixStream::connect(&socket).unwrap();
    other.write_all(&message(1, HELLO, 0, 0)).unwrap();
    receive(&mut other);
    other.write_all(&message(1, REFUSED, 0, Fault::Size as u32)).unwrap();
    let outcome = writer.join().unwrap();
    assert!(matches!(outcome, Err(Error::Refused { fault: Fault::Size, .. })), "{outcome:?}");
}

#[test]
fn the_header_page_begins_with_the_bytes_of_the_description() {
    let sizes = Sizes::of(4096).unwrap();
    if sizes.header_bytes != 4096 {
        return; // Drawn for pages of 4 KiB.
    }
    let memory = memory::create("a", sizes).unwrap();
    let _end = super::shared::WriteEnd::map(memory.as_fd(), sizes).unwrap();
    let mut page = vec![0; 4096];
    nix::sys::uio::pread(&memory, &mut page, 0).unwrap();
    assert_eq!(&page[..24], b"SVRNring\x01\0\0\0\0\x10\0\0\0\x10\0\0\0\0\0\0");
    assert!(page[24..].iter().all(|byte| *byte == 0));
}

fn words(header: &Header) -> [(Word, &std::sync::atomic::AtomicU64); 2] {
    [(Word::Head, &header.head), (Word::Tail, &header.tail)]
}

#[test]
fn a_position_that_cannot_be_is_an_error_that_names_it() {
    for (at, value) in
        [(0, u64::MAX), (0, 2), (0, CAPACITY as u64 + 2), (1, u64::MAX), (1, 4), (1, 0)]
    {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = pair(directory.path());
        let (writes, reads) = (writer.shared().clone(), reader.shared().clone());
        writer.reserve(3).unwrap().copy_from_slice(b"abc");
        writer.publish(3).unwrap();
        assert_eq!(reader.data().unwrap(), b"abc");
        reader.consume(1).unwrap();
        assert!(reader.is_idle().unwrap());
        assert_eq!(reader.wait_timeout(Duration::ZERO).unwrap(), Ready::TimedOut);
        assert_eq!(writer.queued().unwrap(), 2);

        let (word, cell) = words(writes.header())[at];
        cell.store(value, Ordering::SeqCst);
        let told = match word {
            Word::Head => reader.wait().unwrap_err(),
            _ => writer.queued().unwrap_err(),
        };
        assert!(
            matches!(told, Error::Corrupt { word: found, value: read, .. }
                if found == word && read == value),
            "{told:?}"
        );
        assert!(std::ptr::eq(reads.header(), reader.shared().header()));
    }
}

#[test]
fn a_closed_word_that_is_neither_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, mut reader) = pair(directory.path());
    writer.shared().header().writer_closed.store(9, Ordering::SeqCst);
    let told = reader.wait().unwrap_err();
    assert!(matches!(told, Error::Corrupt { word: Word::WriterClosed, value: 9, .. }), "{told:?}");
}

/// What happens to a ring in the test below: a word scribbled on, or one side's next call.
#[derive(Clone, Debug)]
enum Step {
    Scribble(usize, u64),
    Write(usize),
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        Just(0),
        Just(u64::MAX),
        any::<u64>(),
        0..=3 * CAPACITY as u64,
        (0..64u32).prop_map(|bit| 1 << bit),
    ];
    prop_oneof![
        1 => (0..7usize, value).prop_map(|(word, value)| Step::Scribble(word, value)),
        4 => (0..CAPACITY).prop_map(Step::Write),
        4 => (0..CAPACITY).prop_map(Step::Read),
    ]
}

fn scribble(header: &Header, word: usize, value: u64) {
    match word {
        0 => header.head.store(value, Ordering::SeqCst),
        1 => header.tail.store(value, Ordering::SeqCst),
        2 => header.writer_wants.store(value, Ordering::SeqCst),
        3 => header.writer_bell.store(value as u32, Ordering::SeqCst),
        4 => header.reader_bell.store(value as u32, Ordering::SeqCst),
        5 => header.writer_closed.store(value as u32, Ordering::SeqCst),
        _ => header.reader_closed.store(value as u32, Ordering::SeqCst),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_header_holds_both_sides_return(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = pair(directory.path());
        let shared = writer.shared().clone();
        let soon = Duration::from_micros(1);
        for step in steps {
            match step {
                Step::Scribble(word, value) => scribble(shared.header(), word, value),
                Step::Write(bytes) => {
                    if let Ok(Ready::More) = writer.wait_room(bytes, Some(soon)) {
                        if let Ok(span) = writer.reserve(bytes) {
                            span.fill(7);
                        }
                        let _ = writer.publish(bytes / 2);
                        let _ = writer.flush();
                    }
                }
                Step::Read(bytes) => {
                    let _ = reader.wait_timeout(soon);
                    let _ = reader.is_idle();
                    let found = reader.data().map_or(0, |data| {
                        assert!(data.len() <= CAPACITY);
                        data.iter().map(|byte| usize::from(*byte > 7)).sum::<usize>() + data.len()
                    });
                    reader.consume(bytes.min(found)).unwrap();
                }
            }
        }
    }
}
