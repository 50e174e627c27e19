//! A page as the tool that counts in it sees it.
//!
//! Everything that is called per event is one relaxed atomic addition or store: nothing is
//! allocated, no system is called. An addition still costs some 7 ns, so a tool that handles
//! a buffer of events at once adds their number once.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{monotonic_ns, unix_ns};
use crate::error::Error;
use crate::histogram::bucket_of;
use crate::hosts::HostTable;
use crate::layout::*;
use crate::memory::{Memory, Words};
use crate::place::{Place, hosts_of, sweep};
use crate::snapshot::{Kind, Snapshot, State};

/// The name of the row that counts for names which found no room.
const OTHER: &str = "other";

/// A tool's statistics. Cheap to clone; threads share it. The file goes when the last clone
/// does, or is removed by whoever next looks at the directory when the process is killed.
#[derive(Clone)]
pub struct Page {
    shared: Arc<Shared>,
}

struct Shared {
    memory: Memory,
    /// The file that `memory` maps; `None` for private memory.
    place: Option<Place>,
    /// Names and kinds of the rows in use. Held while anything but counts is written.
    named: Mutex<Vec<(String, Kind)>>,
}

impl fmt::Debug for Page {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Page").field("place", &self.shared.place).finish_non_exhaustive()
    }
}

impl Page {
    /// Makes a page for this process in the first of [`crate::dirs`] that can be written to,
    /// after removing what dead processes left there. `name` is what the user calls this run,
    /// `release` the version of the program.
    ///
    /// # Errors
    /// [`Error::ToolName`], or [`Error::Create`] if no directory will have it. A tool goes on
    /// with [`Page::none`] then.
    pub fn create(tool: &str, name: Option<&str>, release: &str) -> Result<Self, Error> {
        let mut result = Err(Error::Create {
            dir: std::env::temp_dir(),
            source: std::io::ErrorKind::NotFound.into(),
        });
        for dir in crate::dirs() {
            result = Self::create_in(&dir, tool, name, release);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Makes a page in a given directory, like [`Page::create`].
    ///
    /// # Errors
    /// [`Error::ToolName`], [`Error::Create`].
    pub fn create_in(
        dir: &Path,
        tool: &str,
        name: Option<&str>,
        release: &str,
    ) -> Result<Self, Error> {
        sweep(dir);
        let place = Place::make(dir, tool, unix_ns())?;
        let memory = Memory::of_file(&place.file)
            .map_err(|source| Error::Create { dir: dir.into(), source })?;
        let start_ns = place.start_ns;
        Ok(Self::fill_in(memory, Some(place), start_ns, [tool, name.unwrap_or(""), release]))
    }

    /// A page in private memory, which nobody else sees: for tests, and for a tool that could
    /// not make one.
    #[must_use]
    pub fn none() -> Self {
        Self::fill_in(Memory::private(), None, unix_ns(), [""; 3])
    }

    fn fill_in(memory: Memory, place: Option<Place>, start_ns: u64, titles: [&str; 3]) -> Self {
        let words = memory.words();
        let [tool, name, release] = titles;
        put_text(words, AT_TOOL, TITLE_BYTES, head(tool, TITLE_BYTES));
        put_text(words, AT_NAME, TITLE_BYTES, head(name, TITLE_BYTES));
        put_text(words, AT_RELEASE, TITLE_BYTES, head(release, TITLE_BYTES));
        store(words, AT_VERSION, VERSION);
        store(words, AT_PAGE_BYTES, PAGE_BYTES as u64);
        store(words, AT_PID, u64::from(std::process::id()));
        store(words, AT_START, start_ns);
        store(words, AT_BUCKETS, BUCKETS as u64);
        store(words, AT_SINCE, monotonic_ns());
        if let Some(magic) = word(words, AT_MAGIC) {
            magic.store(u64::from_le_bytes(MAGIC), Ordering::Release);
        }
        Self { shared: Arc::new(Shared { memory, place, named: Mutex::default() }) }
    }

    /// Whether others can see this page.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.place.is_some()
    }

    #[inline]
    fn add(&self, at: usize, n: u64) {
        if let Some(word) = word(self.shared.memory.words(), at) {
            word.fetch_add(n, Ordering::Relaxed);
        }
    }

    #[inline]
    fn set(&self, at: usize, value: u64) {
        store(self.shared.memory.words(), at, value);
    }

    /// Events taken from the input.
    #[inline]
    pub fn events_in(&self, n: u64) {
        self.add(AT_EVENTS_IN, n);
    }

    /// Frames of any kind taken from the input.
    #[inline]
    pub fn frames_in(&self, n: u64) {
        self.add(AT_FRAMES_IN, n);
    }

    /// Bytes taken from the input.
    #[inline]
    pub fn bytes_in(&self, n: u64) {
        self.add(AT_BYTES_IN, n);
    }

    /// Events handed on.
    #[inline]
    pub fn events_out(&self, n: u64) {
        self.add(AT_EVENTS_OUT, n);
    }

    /// Frames of any kind handed on.
    #[inline]
    pub fn frames_out(&self, n: u64) {
        self.add(AT_FRAMES_OUT, n);
    }

    /// Bytes handed on.
    #[inline]
    pub fn bytes_out(&self, n: u64) {
        self.add(AT_BYTES_OUT, n);
    }

    /// Events refused for good. The rules by which they were are counters made by
    /// [`Page::refusal`], added to beside this.
    #[inline]
    pub fn refused(&self, n: u64) {
        self.add(AT_REFUSED, n);
    }

    /// Duplicates dropped.
    #[inline]
    pub fn dropped(&self, n: u64) {
        self.add(AT_DROPPED, n);
    }

    /// How many events wait inside the tool at present.
    #[inline]
    pub fn held(&self, events: u64) {
        self.set(AT_HELD, events);
    }

    /// How many bytes wait in the input joints at present, and how many they hold at most (0
    /// if that is not known). The sum, if there are several inputs.
    #[inline]
    pub fn queue(&self, depth_bytes: u64, capacity_bytes: u64) {
        self.set(AT_QUEUE_DEPTH, depth_bytes);
        self.set(AT_QUEUE_CAPACITY, capacity_bytes);
    }

    /// When an event was last taken in, unix ns by this machine's clock.
    #[inline]
    pub fn last_event(&self, unix_ns: u64) {
        self.set(AT_LAST_EVENT, unix_ns);
    }

    /// How long an event took in this tool, in ns, from read to handed on.
    #[inline]
    pub fn latency(&self, ns: u64) {
        self.add(AT_LATENCY, ns);
        self.add(AT_LATENCY + HISTOGRAM_HEAD_BYTES + bucket_of(ns) * WORD_BYTES, 1);
    }

    /// How old an event was when it left this tool, in ns since it was received off the
    /// network: the delay of the whole chain up to here. Not for replays.
    #[inline]
    pub fn age(&self, ns: u64) {
        self.add(AT_AGE, ns);
        self.add(AT_AGE + HISTOGRAM_HEAD_BYTES + bucket_of(ns) * WORD_BYTES, 1);
    }

    /// Says what the tool does from here on, and books the time since the last call if that
    /// was spent waiting. One thread of a tool calls this, around what may block: it reads the
    /// clock, so it is not for every event.
    pub fn state(&self, state: State) {
        let now_ns = monotonic_ns();
        let words = self.shared.memory.words();
        let (Some(state_word), Some(since)) = (word(words, AT_STATE), word(words, AT_SINCE)) else {
            return;
        };
        let before = State::of_word(state_word.swap(state.to_word(), Ordering::Relaxed));
        let spent_ns = now_ns.saturating_sub(since.swap(now_ns, Ordering::Relaxed));
        match before {
            State::Input => self.add(AT_INPUT_WAIT, spent_ns),
            State::Output => self.add(AT_OUTPUT_WAIT, spent_ns),
            State::Starting | State::Working => {}
        }
    }

    /// Runs something that may block, as time spent in `state`; working again afterwards.
    pub fn wait<T>(&self, state: State, blocking: impl FnOnce() -> T) -> T {
        self.state(state);
        let result = blocking();
        self.state(State::Working);
        result
    }

    /// A count of its own that only grows, under a name of at most 24 bytes. To be asked for
    /// once, at the start; the same name gives the same counter. A page has room for 63: what
    /// comes later is counted together as `other`. Names end in `-bytes` or `-ns` if they
    /// count those.
    #[must_use]
    pub fn named(&self, name: &str) -> Counter {
        self.counter(name, Kind::Count)
    }

    /// A number of its own that goes up and down, otherwise like [`Page::named`].
    #[must_use]
    pub fn gauge(&self, name: &str) -> Counter {
        self.counter(name, Kind::Gauge)
    }

    /// A count of events refused by the rule of that name, otherwise like [`Page::named`].
    #[must_use]
    pub fn refusal(&self, rule: &str) -> Counter {
        self.counter(rule, Kind::Refusal)
    }

    /// A count of events that the rule of that name left unproved, neither proved nor refused,
    /// otherwise like [`Page::named`].
    #[must_use]
    pub fn unproved(&self, rule: &str) -> Counter {
        self.counter(rule, Kind::Unproved)
    }

    fn counter(&self, name: &str, kind: Kind) -> Counter {
        let name = head(name, NAMED_NAME_BYTES);
        let words = self.shared.memory.words();
        let mut named = self.lock();
        let known = named.iter().position(|row| row.0 == name && row.1 == kind);
        let row = known.unwrap_or(named.len().min(NAMED_MAX - 1));
        let at = AT_NAMED_ROWS + row * NAMED_ROW_BYTES;
        if row == named.len() {
            let is_last = row == NAMED_MAX - 1;
            let (name, kind) = if is_last { (OTHER, Kind::Count) } else { (name, kind) };
            put_text(words, at, NAMED_NAME_BYTES, name);
            store(words, at + NAMED_KIND, kind.to_word());
            named.push((name.into(), kind));
            if let Some(count) = word(words, AT_NAMED) {
                count.store(named.len() as u64, Ordering::Release);
            }
        }
        Counter { page: self.clone(), at: at + NAMED_VALUE }
    }

    /// Describes the inputs, each by a text that the other side of the joint uses too: see
    /// [`crate::endpoint_of`]. A page describes the first 16.
    pub fn set_inputs(&self, inputs: &[impl AsRef<str>]) {
        self.describe(AT_INPUTS, AT_INPUT_ENDS, inputs);
    }

    /// Describes the outputs, like [`Page::set_inputs`].
    pub fn set_outputs(&self, outputs: &[impl AsRef<str>]) {
        self.describe(AT_OUTPUTS, AT_OUTPUT_ENDS, outputs);
    }

    /// Describes the only output.
    pub fn set_output(&self, output: &str) {
        self.set_outputs(&[output]);
    }

    fn describe(&self, at_count: usize, at_ends: usize, ends: &[impl AsRef<str>]) {
        let words = self.shared.memory.words();
        let _alone = self.lock();
        let Some(edits) = word(words, AT_EDITS) else { return };
        edits.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        for slot in 0..ENDS_MAX {
            let end = ends.get(slot).map_or("", |end| tail(end.as_ref(), END_BYTES));
            put_text(words, at_ends + slot * END_BYTES, END_BYTES, end);
        }
        store(words, at_count, ends.len() as u64);
        edits.fetch_add(1, Ordering::Release);
    }

    /// A table of hosts beside this page, for a tool that listens to many. `None` for a page that
    /// nobody else sees, or where no further file can be made.
    #[must_use]
    pub fn host_table(&self) -> Option<HostTable> {
        let place = self.shared.place.as_ref()?;
        HostTable::make(hosts_of(place.path())).ok()
    }

    /// How many rows that table has: it is read if there are any.
    pub fn set_hosts(&self, rows: u64) {
        self.set(AT_HOSTS, rows);
    }

    /// What the page says at present: for a summary at the end of the tool itself.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::decode(&self.to_bytes()).unwrap_or_default()
    }

    /// The page's bytes at present, as [`Snapshot::decode`] reads them: to be kept beyond the
    /// end of the tool.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let _alone = self.lock();
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed).to_le_bytes();
        self.shared.memory.words().iter().flat_map(load).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Kind)>> {
        self.shared.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A named counter of a page. Cheap to clone; threads share it.
#[derive(Clone, Debug)]
pub struct Counter {
    page: Page,
    at: usize,
}

impl Counter {
    /// Counts `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.page.add(self.at, n);
    }

    /// Counts `n` fewer: for a gauge.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.page.add(self.at, n.wrapping_neg());
    }

    /// Says the number itself.
    #[inline]
    pub fn set(&self, value: u64) {
        self.page.set(self.at, value);
    }
}

#[inline]
fn word(words: &Words, at: usize) -> Option<&AtomicU64> {
    words.get(at / WORD_BYTES)
}

#[inline]
fn store(words: &Words, at: usize, value: u64) {
    if let Some(word) = word(words, at) {
        word.store(value, Ordering::Relaxed);
    }
}

/// Writes a text of at most `bytes` bytes and fills up with zeros. Control characters, which a
/// reader would refuse, become question marks.
fn put_text(words: &Words, at: usize, bytes: usize, text: &str) {
    let text = match text.chars().any(char::is_control) {
        true => text.replace(char::is_control, "?"),
        false => text.into(),
    };
    let mut rest = text.as_bytes();
    for offset in (0..bytes).step_by(WORD_BYTES) {
        let mut chunk = [0; WORD_BYTES];
        for (to, from) in chunk.iter_mut().zip(rest) {
            *to = *from;
        }
        rest = rest.get(WORD_BYTES..).unwrap_or_default();
        store(words, at + offset, u64::from_le_bytes(chunk));
    }
}

/// The beginning of a text, of at most `bytes` bytes.
fn head(text: &str, bytes: usize) -> &str {
    (0..=bytes.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// The end of a text, of at most `bytes` bytes.
fn tail(text: &str, bytes: usize) -> &str {
    (text.len().saturating_sub(bytes)..).find_map(|start| text.get(start..)).unwrap_or_default()
}
