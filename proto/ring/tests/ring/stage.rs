//! A stage of a pipeline for the tests to kill: this test binary once more, told by variables to
//! run one test alone, which plays a role and ends by its exit code.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use ring::{Address, Error, Patience, Reader, Ready, Writer};

/// Small enough to be full at once, large enough for some hundred pieces.
pub(crate) const CAPACITY: usize = 1 << 18;

/// Exit codes of a role, by what the ring told it.
pub(crate) mod code {
    pub(crate) const ENDED: i32 = 40;
    pub(crate) const WRITER_DIED: i32 = 41;
    pub(crate) const READER_DIED: i32 = 42;
    pub(crate) const READER_DETACHED: i32 = 43;
    pub(crate) const NO_MEMORY: i32 = 44;
    pub(crate) const BUSY: i32 = 45;
    pub(crate) const TIMED_OUT: i32 = 46;
    pub(crate) const WRONG_BYTES: i32 = 47;
    pub(crate) const OTHER: i32 = 48;
}

/// A directory for rings, private as it has to be, and gone after the test.
pub(crate) struct Directory(tempfile::TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn address(&self) -> Address {
        address(self.0.path())
    }

    /// Files of rings that are there.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = self.0.path().join("rings").read_dir().into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whether the writer's process has got its reader.
    pub(crate) fn writer_has_joined(&self) -> bool {
        joined_mark(self.0.path()).exists()
    }

    /// Both sides in this process.
    pub(crate) fn pair(&self, capacity: usize) -> (Writer, Reader) {
        let there = self.address();
        let reader = std::thread::spawn(move || Reader::attach_at(&there, patience()));
        let writer = Writer::create_at(&self.address(), capacity, patience()).unwrap();
        (writer, reader.join().unwrap().unwrap())
    }

    /// Another process in that role.
    pub(crate) fn spawn(&self, role: &str) -> Stage {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stage::the_other_process", "--nocapture"])
            .env("RING_TEST_ROLE", role)
            .env("RING_TEST_DIRECTORY", self.0.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Stage(child)
    }
}

fn address(parent: &Path) -> Address {
    Address::new("joint").unwrap().within(&parent.join("rings"))
}

/// What a writer in a process of its own leaves beside the rings when it has joined.
fn joined_mark(parent: &Path) -> PathBuf {
    parent.join("writer-joined")
}

/// Long enough for any machine; a test that needs it has failed.
pub(crate) fn patience() -> Patience<'static> {
    within(20_000)
}

pub(crate) fn within(limit_ms: u64) -> Patience<'static> {
    Patience { stop: None, limit: Some(Duration::from_millis(limit_ms)) }
}

/// Waits for something that has to come.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that does not outlive the test.
pub(crate) struct Stage(Child);

impl Stage {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// `kill -9`, and gone.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub(crate) fn code(mut self) -> Option<i32> {
        let mut status: Option<ExitStatus> = None;
        until("the end of the other process", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The byte that is right at each position of every stream in these tests.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    /// A prime, so that no power of two of ring hides a byte in the wrong place.
    const PERIOD: usize = 65_521;

    pub(crate) fn new() -> Self {
        let bytes = (0..2 * Self::PERIOD).map(|at| at % Self::PERIOD);
        Self(bytes.map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect())
    }

    pub(crate) fn fill(&self, position: u64, span: &mut [u8]) {
        self.each(position, span.len(), |from, piece| {
            span[from..][..piece.len()].copy_from_slice(piece);
        });
    }

    pub(crate) fn is(&self, position: u64, bytes: &[u8]) -> bool {
        let mut same = true;
        self.each(position, bytes.len(), |from, piece| {
            same &= bytes[from..][..piece.len()] == *piece;
        });
        same
    }

    fn each(&self, position: u64, length: usize, mut piece: impl FnMut(usize, &[u8])) {
        let mut done = 0;
        while done < length {
            let at = ((position + done as u64) % Self::PERIOD as u64) as usize;
            let count = (length - done).min(Self::PERIOD);
            piece(done, &self.0[at..at + count]);
            done += count;
        }
    }
}

/// Sizes that follow each other without order.
pub(crate) struct Sizes(u64);

impl Sizes {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Reads and checks until the stream ends; how it ended, and how much there was.
pub(crate) fn read_all(reader: &mut Reader) -> (Result<Ready, Error>, u64) {
    let (pattern, mut position) = (Pattern::new(), 0);
    loop {
        let outcome = reader.wait();
        let data = reader.data().unwrap();
        assert!(pattern.is(position, data), "wrong bytes at {position}");
        let count = data.len();
        reader.consume(count).unwrap();
        position += count as u64;
        if !matches!(outcome, Ok(Ready::More | Ready::Interrupted)) {
            return (outcome, position);
        }
    }
}

/// Writes in pieces of all sizes until that many bytes are written or it cannot.
pub(crate) fn write_all(writer: &mut Writer, total: u64) -> Result<(), Error> {
    let (pattern, mut position, mut sizes) = (Pattern::new(), 0, Sizes::new(total));
    while position < total {
        let most = (total - position).min(writer.bytes_max() / 4) as usize;
        let count = sizes.next(most) + 1;
        pattern.fill(position, writer.reserve(count)?);
        match sizes.next(3) {
            0 => commit(writer, count)?,
            _ => writer.publish(count)?,
        }
        position += count as u64;
    }
    writer.flush()
}

/// Publishes what was filled and sees to it that the reader is awake for it.
pub(crate) fn commit(writer: &mut Writer, bytes: usize) -> Result<(), Error> {
    writer.publish(bytes)?;
    writer.flush()
}

/// Reserves, fills and commits in one.
pub(crate) fn write(writer: &mut Writer, bytes: &[u8]) -> Result<(), Error> {
    writer.reserve(bytes.len())?.copy_from_slice(bytes);
    commit(writer, bytes.len())
}

/// Not a test by itself: the other process of the others.
#[test]
fn the_other_process() {
    let Ok(role) = std::env::var("RING_TEST_ROLE") else { return };
    let parent = PathBuf::from(std::env::var("RING_TEST_DIRECTORY").unwrap());
    let code = match play(&role, &parent) {
        Ok(Ready::TimedOut) | Err(Error::TimedOut) => code::TIMED_OUT,
        Ok(_) => code::ENDED,
        Err(Error::WriterDied { .. }) => code::WRITER_DIED,
        Err(Error::ReaderDied { .. }) => code::READER_DIED,
        Err(Error::ReaderDetached { .. }) => code::READER_DETACHED,
        Err(Error::NoMemory { .. }) => code::NO_MEMORY,
        Err(Error::Busy { .. }) => code::BUSY,
        Err(error) => {
            eprintln!("{role}: {error}");
            code::OTHER
        }
    };
    std::process::exit(code);
}

fn play(role: &str, parent: &Path) -> Result<Ready, Error> {
    let (here, forever) = (&address(parent), u64::MAX);
    let writer = || {
        let writer = Writer::create_at(here, CAPACITY, patience())?;
        std::fs::write(joined_mark(parent), "").unwrap();
        Ok::<_, Error>(writer)
    };
    let reader = || Reader::attach_at(here, patience());
    match role {
        "write for ever" => write_all(&mut writer()?, forever)?,
        "write and close" => {
            let mut writer = writer()?;
            write_all(&mut writer, 3_000_001)?;
            writer.close()?;
        }
        "write and drop" => write_all(&mut writer()?, 3_000_001)?,
        "write a little and sleep" => {
            let mut writer = writer()?;
            write_all(&mut writer, 1000)?;
            std::thread::sleep(Duration::from_secs(60));
        }
        "read" => {
            let read = || read_all(&mut reader()?).0;
            return std::panic::catch_unwind(read)
                .unwrap_or_else(|_| std::process::exit(code::WRONG_BYTES));
        }
        "read and sleep" => {
            let mut reader = reader()?;
            let _ = reader.wait()?;
            std::thread::sleep(Duration::from_secs(60));
        }
        "read and detach" => {
            let mut reader = reader()?;
            let _ = reader.wait()?;
            reader.detach();
        }
        "write with little file size" => {
            setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, 1 << 20).unwrap();
            Writer::create_at(here, 32 << 20, within(0))?;
        }
        "write with little address space" => {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let used: u64 = pages.split(' ').next().unwrap().parse().unwrap();
            let limit = used * 4096 + (16 << 20);
            setrlimit(Resource::RLIMIT_AS, limit, limit).unwrap();
            Writer::create_at(here, 32 << 20, within(0))?;
        }
        _ => panic!("no role {role}"),
    }
    Ok(Ready::End)
}
