//! The recorded input: the capture of the official servers as frame streams.

use std::fmt;
use std::path::{Path, PathBuf};

use frame::host::{self, Role};
use frame::mark::{self, Mark};
use frame::verdict::Verdict;
use frame::{Header, HostId, Kind, Tag};
use tempfile::TempDir;

use crate::measure::grouped;

/// How many copies of the capture make about a second of work for the moving stages.
const COPIES: u32 = 24;

/// Events between two marks: what 2,000 events a second put between them.
const MARK_EVERY: usize = 2_000;

/// When the first event is said to have been received: after the capture was made, or its revs
/// would lie in the future and nothing would be proved.
const TIME_NS: u64 = 1_800_000_000_000_000_000;

/// A kind that no stage knows.
const UNKNOWN: Kind = Kind(200);

/// Frames of that kind, and the length of each: an event of the network on average.
pub(crate) const UNKNOWN_FRAMES: u32 = 80_000;
const UNKNOWN_BYTES: usize = 5_400;

/// The events and the files made of them, gone with this value.
pub(crate) struct Streams {
    folder: TempDir,
    /// The capture's events, as they came off the socket.
    pub(crate) events: Vec<Vec<u8>>,
    /// The capture once, from the host that the directory names.
    pub(crate) once: PathBuf,
    /// The capture [`COPIES`] times.
    pub(crate) copies: PathBuf,
    /// Frames of a kind that no stage knows, which pass all of them untouched.
    pub(crate) unknown: PathBuf,
}

impl Streams {
    /// Makes them all.
    pub(crate) fn make() -> Streams {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let (once, copies) = (path("once.frames"), path("copies.frames"));
        let unknown = path("unknown.frames");
        let events = e2e::refnet_events();
        write(&once, &capture(&events, 1, |_| None));
        write(&copies, &capture(&events, COPIES, |_| None));
        write(&unknown, &frames_of_no_meaning());
        Streams { folder, events, once, copies, unknown }
    }

    /// Other events once, from one host, as frames that say that a key of each account proved them.
    pub(crate) fn frames_of(&self, events: &[Vec<u8>], name: &str) -> PathBuf {
        let path = self.scratch(name);
        // Of the form of a key, and as random.
        let key = |event: &[u8]| {
            let digest = atproto::Cid::raw(did(event).as_bytes());
            let mut key = [0; 34];
            key[0] = 1;
            key[1] = 2 + (digest.digest()[0] & 1);
            key[2..].copy_from_slice(digest.digest());
            Some(Verdict::ok(Some(key)).to_bytes().to_vec())
        };
        write(&path, &capture(events, 1, key));
        path
    }

    /// A path for something that a measurement makes.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Events in [`Streams::copies`].
    pub(crate) fn copied_events(&self) -> f64 {
        self.events.len() as f64 * f64::from(COPIES)
    }

    /// Length of an event on average.
    pub(crate) fn event_bytes(&self) -> f64 {
        self.raw_bytes() / self.events.len() as f64
    }

    /// Events of the capture without lengths or frames, in bytes.
    pub(crate) fn raw_bytes(&self) -> f64 {
        self.events.iter().map(Vec::len).sum::<usize>() as f64
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, bytes) = (self.events.len() as f64, self.raw_bytes());
        writeln!(f)?;
        writeln!(
            f,
            "Input: {} events of the official PDS, {:.1} MB, {} bytes on average (the network's",
            grouped(events),
            bytes / 1e6,
            grouped(self.event_bytes()),
        )?;
        writeln!(
            f,
            "have 5.4 KB: per event this is the quicker case, per byte the slower one). The"
        )?;
        writeln!(
            f,
            "stages that move events read it {COPIES} times over, each copy from a host of"
        )?;
        write!(
            f,
            "its own, so that dedupe looks all {} up and drops none.",
            grouped(self.copied_events())
        )
    }
}

/// The account that an event is of.
pub(crate) fn did(event: &[u8]) -> String {
    let event = atproto::event::parse(event).ok();
    event.and_then(|event| event.did().map(str::to_owned)).unwrap_or_default()
}

/// Length of a file.
pub(crate) fn length(path: &Path) -> f64 {
    std::fs::metadata(path).expect("a file that was made").len() as f64
}

/// Copies of the events, each from another PDS with other numbers. A copy from another PDS may
/// not be dropped as a duplicate, so all stages see all of them.
fn capture(events: &[Vec<u8>], copies: u32, verdict: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    frame::put_magic(&mut out);
    let mut time_ns = TIME_NS;
    for copy in 0..copies {
        // The first is the host that the accounts are at.
        let (host, first) = (HostId(copy + 1), u64::from(copy) * 1_000_000);
        let name = format!("localhost:{}", 2583 + copy);
        host::put(&mut out, host, Role::Pds, &name).expect("a host frame");
        for (seq, event) in (first + 1..).zip(events) {
            time_ns += 500_000;
            let header = Header { host, seq, ..Header::new(Kind::EVENT, time_ns) };
            let verdict = verdict(event);
            let sections = [(Tag::VERDICT, verdict.as_deref()), (Tag::NUMBER, None)];
            frame::put_with_two(&mut out, &header, event, sections).expect("an event frame");
            if (seq - first).is_multiple_of(MARK_EVERY as u64) {
                let mark = Mark { host, epoch: 0, seq };
                mark::put(&mut out, &mut scratch, time_ns, [mark]).expect("a mark frame");
            }
        }
    }
    frame::put(&mut out, &Header::new(Kind::END, time_ns), b"").expect("an end frame");
    out
}

fn frames_of_no_meaning() -> Vec<u8> {
    let (mut out, body) = (Vec::new(), [7; UNKNOWN_BYTES]);
    frame::put_magic(&mut out);
    for _ in 0..UNKNOWN_FRAMES {
        frame::put(&mut out, &Header::new(UNKNOWN, TIME_NS), &body).expect("a frame");
    }
    frame::put(&mut out, &Header::new(Kind::END, TIME_NS), b"").expect("an end frame");
    out
}

/// Onto the disk before anything is measured, or the writing back would be measured, too.
fn write(path: &Path, frames: &[u8]) {
    let file = std::fs::File::create(path).expect("a file");
    std::io::Write::write_all(&mut &file, frames).and_then(|()| file.sync_all()).expect("room");
}
