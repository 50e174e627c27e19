//! The table of hosts of a tool that listens to many: a file beside its page.
//!
//! A page has room for a few dozen numbers, and a tap has ten thousand hosts. So their table is a
//! file of its own, written whole once a second and read as seldom as anybody likes:
//! `sovereign-hosts-TOOL-PID-START`, beside the page of that name and alive as long as it. It is
//! written, not mapped: a full disk is an error then, and costs the table alone.
//!
//! All numbers are little-endian u64.
//!
//! | offset | bytes | name | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `SVRNhost` |
//! | 8 | 8 | version | 2 |
//! | 16 | 8 | row bytes | 144 |
//! | 24 | 8 | rows | how many there are, at most 262,144 |
//! | 32 | 8 | edits | odd while the table is being written |
//! | 40 | 8 | written | when it was, unix ns |
//! | 48 | 80 | | 0 |
//! | 128 | 144 each | rows | one for each host, in any order |
//!
//! | in a row | bytes | name | meaning |
//! |---|---|---|---|
//! | 0 | 8 | state | 1 waiting, 2 connected, 3 dead, 4 refused |
//! | 8 | 8 | events | events handed on since the start |
//! | 16 | 8 | bytes | their bytes |
//! | 24 | 8 | rate | events in 1,000 seconds, as of late |
//! | 32 | 8 | seq | the seq of the last event; 0 if there was none |
//! | 40 | 8 | last event | when it was received, unix ns; 0 for never |
//! | 48 | 8 | lag | how old an event was lately when it was received, ns; all ones if that is not known |
//! | 56 | 8 | failures | attempts to connect that failed since the last that did not |
//! | 64 | 8 | first | events that it was the first of all to send, where a tool knows |
//! | 72 | 8 | copies | events of which one had come before, from whomever, likewise |
//! | 80 | 64 | name | UTF-8 without control characters, ended by a zero byte or the row; of a longer one the last 64 bytes |
//!
//! **Reading**: copy the file, check size, magic and version, and read `edits` again: odd or
//! changed means that it may be torn. The page says that there is a table (its field `hosts`).
//!
//! Version 2 has `first` and `copies`. A table of one host, `a.example`, connected, with nothing
//! else known:
//! ```text
//! 00000000  53 56 52 4e 68 6f 73 74  02 00 00 00 00 00 00 00  |SVRNhost........|
//! 00000010  90 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00  |................|
//! 00000080  02 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//! 000000b0  ff ff ff ff ff ff ff ff  00 00 00 00 00 00 00 00  |................|
//! 000000d0  61 2e 65 78 61 6d 70 6c  65 00 00 00 00 00 00 00  |a.example.......|
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::clock::unix_ns;
use crate::error::Error;
use crate::layout::WORD_BYTES;

const MAGIC: [u8; 8] = *b"SVRNhost";
const VERSION: u64 = 2;
/// Bytes before the first row, and of a row.
const HEAD_BYTES: usize = 128;
const ROW_BYTES: usize = 144;
/// Rows in a table: hosts beyond that are counted by the tool and not listed.
pub const ROWS_MAX: usize = 262_144;
/// Bytes of a host's name.
const NAME_BYTES: usize = 64;
const UNKNOWN: u64 = u64::MAX;

const AT_VERSION: usize = 8;
const AT_ROW_BYTES: usize = 16;
const AT_ROWS: usize = 24;
const AT_EDITS: usize = 32;
const AT_WRITTEN: usize = 40;

const ROW_NAME: usize = 80;
const _: () = assert!(ROW_NAME + NAME_BYTES == ROW_BYTES);

/// Times that a table is read again because it was being written.
const ATTEMPTS: u32 = 8;

/// How a host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostState {
    /// It is being looked up or connected to, or will be.
    #[default]
    Waiting,
    /// It is listened to.
    Connected,
    /// It has failed so often that nobody waits for it.
    Dead,
    /// It is not to be listened to.
    Refused,
}

impl HostState {
    fn of_word(word: u64) -> Self {
        match word {
            2 => Self::Connected,
            3 => Self::Dead,
            4 => Self::Refused,
            _ => Self::Waiting,
        }
    }

    fn to_word(self) -> u64 {
        match self {
            Self::Waiting => 1,
            Self::Connected => 2,
            Self::Dead => 3,
            Self::Refused => 4,
        }
    }
}

/// What is known of a host. `N` is how its name is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host<N = String> {
    /// Its name.
    pub name: N,
    /// How it stands.
    pub state: HostState,
    /// Events handed on since the start.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Events in 1,000 seconds, as of late.
    pub rate_milli: u64,
    /// The seq of the last event; 0 if there was none.
    pub seq: u64,
    /// When it was received, unix ns; 0 for never.
    pub last_event_ns: u64,
    /// How old an event was lately when it was received.
    pub lag_ns: Option<u64>,
    /// Attempts to connect that failed since the last that did not.
    pub failures: u64,
    /// Events that it was the first of all to send, where a tool knows.
    pub first: u64,
    /// Events of which one had come before, from whomever, likewise.
    pub copies: u64,
}

/// The table as the tool sees it that writes it. Dropping it removes the file.
#[derive(Debug)]
pub struct HostTable {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    edits: u64,
}

impl HostTable {
    /// Makes the file beside a page.
    pub(crate) fn make(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, bytes: Vec::new(), edits: 0 })
    }

    /// Writes the table anew; how many rows it has.
    ///
    /// # Errors
    /// What the system says: there is no more room, for one. The table is not to be used again.
    pub fn write<'a>(&mut self, hosts: impl Iterator<Item = Host<&'a str>>) -> io::Result<u64> {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        let mut rows = 0;
        for host in hosts.take(ROWS_MAX) {
            rows += 1;
            for word in [
                host.state.to_word(),
                host.events,
                host.bytes,
                host.rate_milli,
                host.seq,
                host.last_event_ns,
                host.lag_ns.map_or(UNKNOWN, |lag| lag.min(UNKNOWN - 1)),
                host.failures,
                host.first,
                host.copies,
            ] {
                self.bytes.extend_from_slice(&word.to_le_bytes());
            }
            let begin = host.name.len().saturating_sub(NAME_BYTES);
            let name = (begin..).find_map(|begin| host.name.get(begin..)).unwrap_or_default();
            let end = self.bytes.len() + NAME_BYTES;
            let printable = |byte: u8| if byte.is_ascii_control() { b'?' } else { byte };
            self.bytes.extend(name.bytes().map(printable));
            self.bytes.resize(end, 0);
        }
        // Odd while it is being written, even behind it.
        self.file.write_all_at(&(self.edits + 1).to_le_bytes(), AT_EDITS as u64)?;
        self.edits += 2;
        let head = [
            (0, u64::from_le_bytes(MAGIC)),
            (AT_VERSION, VERSION),
            (AT_ROW_BYTES, ROW_BYTES as u64),
            (AT_ROWS, rows),
            (AT_EDITS, self.edits - 1),
            (AT_WRITTEN, unix_ns()),
        ];
        for (at, word) in head {
            if let Some(place) = self.bytes.get_mut(at..at + WORD_BYTES) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        self.file.write_all_at(&self.bytes, 0)?;
        self.file.set_len(self.bytes.len() as u64)?;
        self.file.write_all_at(&self.edits.to_le_bytes(), AT_EDITS as u64)?;
        Ok(rows)
    }
}

impl Drop for HostTable {
    fn drop(&mut self) {
        // Whoever removes the page of a dead writer removes its table too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads a table and its count of edits; `None` if that is what it was at an earlier reading.
///
/// # Errors
/// [`Error::Read`], and all that the layout forbids.
pub(crate) fn read(path: &Path, before: Option<u64>) -> Result<Option<(u64, Vec<Host>)>, Error> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(Error::Read)?;
    for _ in 0..ATTEMPTS {
        let metadata = file.metadata().map_err(Error::Read)?;
        if !metadata.is_file() {
            return Err(Error::NotAFile);
        }
        let expected = HEAD_BYTES + ROWS_MAX * ROW_BYTES;
        let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        if bytes > expected {
            let limit = expected as u64;
            return Err(Error::Limit { offset: 0, found: metadata.len(), limit });
        }
        let mut edits = [0; WORD_BYTES];
        file.read_exact_at(&mut edits, AT_EDITS as u64).map_err(Error::Read)?;
        if Some(u64::from_le_bytes(edits)) == before {
            return Ok(None);
        }
        let mut copy = vec![0; bytes];
        let read = file
            .read_exact_at(&mut copy, 0)
            .and_then(|()| file.read_exact_at(&mut edits, AT_EDITS as u64));
        // It has become shorter meanwhile.
        let torn = read.is_err() || word(&copy, AT_EDITS) != u64::from_le_bytes(edits);
        match decode(&copy) {
            Err(Error::Busy) => {}
            _ if torn => {}
            result => return result.map(|hosts| Some((u64::from_le_bytes(edits), hosts))),
        }
        std::thread::yield_now();
    }
    Err(Error::Busy)
}

fn decode(bytes: &[u8]) -> Result<Vec<Host>, Error> {
    if bytes.len() < HEAD_BYTES || !word(bytes, AT_EDITS).is_multiple_of(2) {
        return Err(Error::Busy);
    }
    let magic = word(bytes, 0).to_le_bytes();
    if magic != MAGIC {
        return Err(Error::Magic(magic));
    }
    let version = word(bytes, AT_VERSION);
    if version != VERSION {
        return Err(Error::Version { found: version, expected: VERSION });
    }
    let rows = bytes.get(HEAD_BYTES..).unwrap_or_default();
    let (found, limit) = (word(bytes, AT_ROWS), (rows.len() / ROW_BYTES) as u64);
    if found > limit {
        return Err(Error::Limit { offset: AT_ROWS, found, limit });
    }
    let rows = rows.chunks_exact(ROW_BYTES).take(found as usize).enumerate();
    rows.map(|(number, row)| {
        let name = row.get(ROW_NAME..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let offset = HEAD_BYTES + number * ROW_BYTES + ROW_NAME;
        let name = match str::from_utf8(name) {
            Ok(name) if !name.contains(char::is_control) => name.to_owned(),
            _ => return Err(Error::Text { offset }),
        };
        let lag = word(row, 48);
        Ok(Host {
            name,
            state: HostState::of_word(word(row, 0)),
            events: word(row, 8),
            bytes: word(row, 16),
            rate_milli: word(row, 24),
            seq: word(row, 32),
            last_event_ns: word(row, 40),
            lag_ns: (lag != UNKNOWN).then_some(lag),
            failures: word(row, 56),
            first: word(row, 64),
            copies: word(row, 72),
        })
    })
    .collect()
}

/// The number at an offset; 0 past the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<WORD_BYTES>());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(dir: &Path) -> HostTable {
        HostTable::make(dir.join("sovereign-hosts-a-1-2")).unwrap()
    }

    fn read_anew(path: &Path) -> Result<Vec<Host>, Error> {
        read(path, None).map(|table| table.unwrap().1)
    }

    fn connected(name: &str) -> Host<&str> {
        Host { name, state: HostState::Connected, ..Host::default() }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        let full = Host {
            name: "b.example",
            state: HostState::Dead,
            events: 1,
            bytes: 2,
            rate_milli: 3,
            seq: 4,
            last_event_ns: 5,
            lag_ns: Some(6),
            failures: 7,
            first: 8,
            copies: 9,
        };
        let long = format!("{}.example", "x".repeat(100));
        let hosts = [connected("a.example"), full.clone(), connected(&long), connected("c\u{1b}")];
        assert_eq!(table.write(hosts.into_iter()).unwrap(), 4);
        let read_back = read_anew(&table.path).unwrap();
        assert_eq!(read_back[0], Host { name: "a.example".into(), ..owned(connected("")) });
        assert_eq!(read_back[1], owned(full));
        assert_eq!(read_back[2].name, long[long.len() - 64..]);
        assert_eq!(read_back[3].name, "c?");
        // Fewer hosts leave nothing of the others behind.
        table.write([connected("z.example")].into_iter()).unwrap();
        let names: Vec<_> =
            read_anew(&table.path).unwrap().into_iter().map(|host| host.name).collect();
        assert_eq!(names, ["z.example"]);
    }

    fn owned(host: Host<&str>) -> Host {
        let Host { name, state, events, bytes, rate_milli, seq, last_event_ns, .. } = host;
        let Host { lag_ns, failures, first, copies, .. } = host;
        let name = name.to_owned();
        Host {
            name,
            state,
            events,
            bytes,
            rate_milli,
            seq,
            last_event_ns,
            lag_ns,
            failures,
            first,
            copies,
        }
    }

    #[test]
    fn the_smallest_table_is_as_it_is_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        table.write([connected("a.example")].into_iter()).unwrap();
        let bytes = std::fs::read(&table.path).unwrap();
        assert_eq!(bytes.len(), 272);
        assert_eq!(bytes[..32], *b"SVRNhost\x02\0\0\0\0\0\0\0\x90\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        assert_eq!((bytes[128], &bytes[176..184]), (2, &[0xff; 8][..]));
        assert_eq!(bytes[208..218], *b"a.example\0");
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        table.write([connected("a.example")].into_iter()).unwrap();
        let good = std::fs::read(&table.path).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode(&bytes)
        };
        assert!(decode(&good).is_ok());
        assert!(matches!(decode(&good[..100]), Err(Error::Busy)));
        assert!(matches!(with(0, b'X'), Err(Error::Magic(_))));
        assert!(matches!(with(AT_VERSION, 3), Err(Error::Version { found: 3, .. })));
        assert!(matches!(with(AT_ROWS, 2), Err(Error::Limit { found: 2, limit: 1, .. })));
        assert!(matches!(with(AT_EDITS, 3), Err(Error::Busy)));
        assert!(matches!(with(208, 0x1b), Err(Error::Text { offset: 208 })));
    }

    #[test]
    fn a_reader_never_sees_half_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        let path = table.path.clone();
        table.write(std::iter::empty()).unwrap();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..300_u64 {
                    let host = || Host { events: round, ..connected("a.example") };
                    let hosts = std::iter::repeat_with(host).take(1 + (round % 7) as usize * 100);
                    table.write(hosts).unwrap();
                }
                is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                // Being written at each attempt is no fault.
                let Ok(hosts) = read_anew(&path) else { continue };
                assert!(hosts.iter().all(|host| host.events == hosts[0].events));
            }
        });
    }
}
