//! A page as a reader sees it: copied, checked, and out of the writer's way.
//!
//! The bytes are another process's, so nothing in them is believed: the file is read, never
//! mapped (a map of a file that someone cuts short ends the reader with SIGBUS), sizes and
//! counts are compared with the layout, and texts are refused that a terminal would obey.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{monotonic_ns, unix_ns};
use crate::error::Error;
use crate::histogram::Histogram;
use crate::hosts::Host;
use crate::layout::*;
use crate::reader::Reader;

/// Times that a page is read again because its description changed meanwhile.
const ATTEMPTS: u32 = 8;

/// What a tool does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not said yet.
    #[default]
    Starting,
    /// It computes.
    Working,
    /// It waits for something to come in.
    Input,
    /// It waits for room to hand something on.
    Output,
}

impl State {
    pub(crate) fn to_word(self) -> u64 {
        self as u64
    }

    pub(crate) fn of_word(word: u64) -> Self {
        match word {
            1 => Self::Working,
            2 => Self::Input,
            3 => Self::Output,
            _ => Self::Starting,
        }
    }
}

/// What a named counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Count,
    /// It goes up and down.
    Gauge,
    /// Events refused by the rule of that name.
    Refusal,
    /// Events that the rule of that name left unproved.
    Unproved,
}

impl Kind {
    pub(crate) fn to_word(self) -> u64 {
        self as u64
    }

    fn of_word(word: u64) -> Self {
        match word {
            0 => Self::Count,
            2 => Self::Refusal,
            3 => Self::Unproved,
            _ => Self::Gauge,
        }
    }
}

/// A named counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name, at most 24 bytes; ends in `-bytes` or `-ns` if it counts those.
    pub name: String,
    /// What it counts.
    pub kind: Kind,
    /// The number.
    pub value: u64,
}

/// The numbers that every tool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events taken from the input.
    pub events_in: u64,
    /// Events handed on.
    pub events_out: u64,
    /// Events refused for good.
    pub refused: u64,
    /// Duplicates dropped.
    pub dropped: u64,
    /// Frames of any kind taken from the input.
    pub frames_in: u64,
    /// Frames of any kind handed on.
    pub frames_out: u64,
    /// Bytes taken from the input.
    pub bytes_in: u64,
    /// Bytes handed on.
    pub bytes_out: u64,
    /// Events waiting inside the tool.
    pub held: u64,
    /// Bytes waiting in the input joints when the tool last looked.
    pub queue_depth: u64,
    /// Bytes the input joints can hold; 0 if that is not known.
    pub queue_capacity: u64,
    /// When an event was last taken in, unix ns; 0 for never.
    pub last_event_ns: u64,
    /// Time spent waiting for input, in ns, with the wait that is going on.
    pub input_wait_ns: u64,
    /// Time spent waiting for output, in ns, with the wait that is going on.
    pub output_wait_ns: u64,
}

/// What a page said at one moment. Its numbers are only nearly of one moment: the writer goes
/// on while they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The program.
    pub tool: String,
    /// What the user calls this run.
    pub name: Option<String>,
    /// The program's version.
    pub release: String,
    /// Its process, in its own namespace of pids.
    pub pid: u64,
    /// When it made the page, unix ns. With `pid` it tells runs apart.
    pub start_ns: u64,
    /// Descriptions of its inputs, the first 16.
    pub inputs: Vec<String>,
    /// Descriptions of its outputs, the first 16.
    pub outputs: Vec<String>,
    /// The numbers that every tool has.
    pub counts: Counts,
    /// What it was doing.
    pub state: State,
    /// The numbers of this tool.
    pub named: Vec<Named>,
    /// How long events took in the tool.
    pub latency: Histogram,
    /// How old events were, since they came off the network, when they left the tool.
    pub age: Histogram,
    /// Rows of its table of hosts; 0 if it has none.
    pub host_rows: u64,
    /// That table, if it was there to be read.
    pub hosts: Arc<[Host]>,
    /// When this was read, unix ns.
    pub taken_ns: u64,
    /// When this was read, ns of the machine's monotonic clock: for rates.
    pub taken_monotonic_ns: u64,
}

/// All pages of a directory.
#[derive(Debug, Default)]
pub struct Reading {
    /// The pages whose writers are alive, in order of file name.
    pub pages: Vec<Snapshot>,
    /// Files that are named like pages and could not be read.
    pub skipped: Vec<Skipped>,
    /// How many pages of dead writers were removed.
    pub removed: usize,
}

/// A file that is named like a page and could not be read.
#[derive(Debug)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: Error,
}

impl Snapshot {
    /// Reads every page in a directory and removes those of dead writers.
    ///
    /// # Errors
    /// [`Error::List`]. A file that cannot be read is skipped and named in the result.
    pub fn read_all(dir: &Path) -> Result<Reading, Error> {
        Reader::default().read_all(dir)
    }

    pub(crate) fn read(file: &File) -> Result<Self, Error> {
        let expected = PAGE_BYTES as u64;
        let mut bytes = vec![0; PAGE_BYTES];
        for _ in 0..ATTEMPTS {
            let found = file.metadata().map_err(Error::Read)?.len();
            if found != expected {
                return Err(Error::Size { found, expected });
            }
            let mut edits = [0; WORD_BYTES];
            file.read_exact_at(&mut bytes, 0).map_err(Error::Read)?;
            file.read_exact_at(&mut edits, AT_EDITS as u64).map_err(Error::Read)?;
            match Self::decode(&bytes) {
                Err(Error::Busy) => {}
                _ if number(&bytes, AT_EDITS) != u64::from_le_bytes(edits) => {}
                result => return result,
            }
            std::thread::yield_now();
        }
        Err(Error::Busy)
    }

    /// Reads a copy of a page. It takes the time of reading from this machine's clocks.
    ///
    /// # Errors
    /// All that the layout forbids, each with its offset.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        check(bytes)?;
        let taken_monotonic_ns = monotonic_ns();
        let state = State::of_word(number(bytes, AT_STATE));
        let name = text(bytes, AT_NAME, TITLE_BYTES)?;
        Ok(Self {
            tool: text(bytes, AT_TOOL, TITLE_BYTES)?,
            name: (!name.is_empty()).then_some(name),
            release: text(bytes, AT_RELEASE, TITLE_BYTES)?,
            pid: number(bytes, AT_PID),
            start_ns: number(bytes, AT_START),
            inputs: ends(bytes, AT_INPUTS, AT_INPUT_ENDS)?,
            outputs: ends(bytes, AT_OUTPUTS, AT_OUTPUT_ENDS)?,
            counts: counts(bytes, state, taken_monotonic_ns),
            state,
            named: named(bytes)?,
            latency: histogram(bytes, AT_LATENCY),
            age: histogram(bytes, AT_AGE),
            host_rows: number(bytes, AT_HOSTS),
            hosts: Arc::default(),
            taken_ns: unix_ns(),
            taken_monotonic_ns,
        })
    }

    /// What a person calls this run: the name the user gave it, else the program's.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.tool)
    }

    /// Whether both were read from one page.
    #[must_use]
    pub fn is_same_run(&self, other: &Self) -> bool {
        (self.pid, self.start_ns) == (other.pid, other.start_ns) && self.tool == other.tool
    }
}

fn check(bytes: &[u8]) -> Result<(), Error> {
    let (found, expected) = (bytes.len() as u64, PAGE_BYTES as u64);
    if found != expected {
        return Err(Error::Size { found, expected });
    }
    let magic = number(bytes, AT_MAGIC).to_le_bytes();
    if magic != MAGIC {
        return Err(Error::Magic(magic));
    }
    let version = number(bytes, AT_VERSION);
    if version != VERSION {
        return Err(Error::Version { found: version, expected: VERSION });
    }
    for (at, limit) in [
        (AT_PAGE_BYTES, PAGE_BYTES),
        (AT_PID, u32::MAX as usize),
        (AT_NAMED, NAMED_MAX),
        (AT_BUCKETS, BUCKETS),
    ] {
        let (found, limit) = (number(bytes, at), limit as u64);
        if found > limit {
            return Err(Error::Limit { offset: at, found, limit });
        }
    }
    match number(bytes, AT_EDITS) % 2 {
        0 => Ok(()),
        _ => Err(Error::Busy),
    }
}

fn counts(bytes: &[u8], state: State, now_ns: u64) -> Counts {
    let ongoing_ns = |waiting: State| match state == waiting {
        true => now_ns.saturating_sub(number(bytes, AT_SINCE)),
        false => 0,
    };
    Counts {
        events_in: number(bytes, AT_EVENTS_IN),
        events_out: number(bytes, AT_EVENTS_OUT),
        refused: number(bytes, AT_REFUSED),
        dropped: number(bytes, AT_DROPPED),
        frames_in: number(bytes, AT_FRAMES_IN),
        frames_out: number(bytes, AT_FRAMES_OUT),
        bytes_in: number(bytes, AT_BYTES_IN),
        bytes_out: number(bytes, AT_BYTES_OUT),
        held: number(bytes, AT_HELD),
        queue_depth: number(bytes, AT_QUEUE_DEPTH),
        queue_capacity: number(bytes, AT_QUEUE_CAPACITY),
        last_event_ns: number(bytes, AT_LAST_EVENT),
        input_wait_ns: number(bytes, AT_INPUT_WAIT).saturating_add(ongoing_ns(State::Input)),
        output_wait_ns: number(bytes, AT_OUTPUT_WAIT).saturating_add(ongoing_ns(State::Output)),
    }
}

fn named(bytes: &[u8]) -> Result<Vec<Named>, Error> {
    let rows = number(bytes, AT_NAMED).min(NAMED_MAX as u64) as usize;
    (0..rows)
        .map(|row| {
            let at = AT_NAMED_ROWS + row * NAMED_ROW_BYTES;
            Ok(Named {
                name: text(bytes, at, NAMED_NAME_BYTES)?,
                kind: Kind::of_word(number(bytes, at + NAMED_KIND)),
                value: number(bytes, at + NAMED_VALUE),
            })
        })
        .collect()
}

fn ends(bytes: &[u8], at_count: usize, at_ends: usize) -> Result<Vec<String>, Error> {
    let count = number(bytes, at_count).min(ENDS_MAX as u64) as usize;
    (0..count).map(|slot| text(bytes, at_ends + slot * END_BYTES, END_BYTES)).collect()
}

fn histogram(bytes: &[u8], at: usize) -> Histogram {
    let at_counts = at + HISTOGRAM_HEAD_BYTES;
    let counts = (0..BUCKETS).map(|bucket| number(bytes, at_counts + bucket * WORD_BYTES));
    Histogram::from_parts(number(bytes, at), counts)
}

/// The number at an offset; 0 past the end, which the check of the size leaves to our own bugs.
fn number(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<WORD_BYTES>());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

fn text(bytes: &[u8], at: usize, bytes_max: usize) -> Result<String, Error> {
    let field = bytes.get(at..at + bytes_max).unwrap_or_default();
    let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
    match str::from_utf8(field) {
        Ok(text) if !text.contains(char::is_control) => Ok(text.into()),
        _ => Err(Error::Text { offset: at }),
    }
}
