//! Everything that was read, in as little memory as keeps its meaning.
//!
//! The lines of an account lie years apart, so all are read before the first account is worked
//! out. They are kept by the first byte of the DID: what belongs together is sorted together, a
//! 256th at a time, and could lie on disk just as well.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use anyhow::Context;
use cli::Cli;
use cli::units::show_bytes;
use didindex::{Key, PlcDid};
use plc::Operation;
use plc::chain::Link;

use crate::lines::{self, LINE_BYTES_MAX, Next};
use crate::source::Source;

/// So many bad lines are reported one by one.
const REPORTS_MAX: u64 = 20;

/// So many different addresses of hosts are remembered by their text; more are worked out anew.
const ADDRESSES_MAX: usize = 1 << 20;

/// Longest address of a host that is looked at.
const ADDRESS_BYTES_MAX: usize = 300;

/// An operation as it is kept: 96 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) did: PlcDid,
    id: [u8; 16],
    prev: Option<[u8; 16]>,
    pub(crate) created_ms: u64,
    pub(crate) key: Key,
    /// Number in [`Gathered::hosts`].
    pub(crate) host: Option<u32>,
}

impl Link for Record {
    /// Half of a CID's SHA-256. Two operations that share it take 2^64 attempts to make, and would
    /// harm the one account that both belong to.
    type Id = [u8; 16];

    fn id(&self) -> [u8; 16] {
        self.id
    }

    fn prev(&self) -> Option<[u8; 16]> {
        self.prev
    }

    fn created_ms(&self) -> u64 {
        self.created_ms
    }
}

/// What was read, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) lines_bad: u64,
    pub(crate) bytes: u64,
    pub(crate) files_torn: u64,
}

/// All operations, and the hosts they name.
pub(crate) struct Gathered<'c> {
    cli: &'c Cli,
    strict: bool,
    counts: Counts,
    shown: Instant,
    /// By the first byte of the DID, each in the order of reading.
    pub(crate) buckets: Vec<Vec<Record>>,
    /// Canonical names.
    pub(crate) hosts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    /// What addresses, as they are written, come to.
    addresses: HashMap<Box<str>, Option<u32>>,
}

impl<'c> Gathered<'c> {
    pub(crate) fn new(cli: &'c Cli, strict: bool) -> Self {
        Self {
            cli,
            strict,
            counts: Counts::default(),
            shown: Instant::now(),
            buckets: (0..256).map(|_| Vec::new()).collect(),
            hosts: Vec::new(),
            numbers: HashMap::new(),
            addresses: HashMap::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads all of a file.
    pub(crate) fn read(&mut self, source: &Source) -> anyhow::Result<()> {
        let name = source.name();
        let mut packed = source.open()?;
        let mut line = Vec::new();
        for number in 1u64.. {
            let next = lines::next(&mut packed, &mut line).map_err(|error| damaged(error, &name));
            let bad = match next.with_context(|| format!("{name}: behind line {}", number - 1))? {
                Next::End => break,
                Next::Torn => {
                    self.counts.files_torn += 1;
                    self.cli.warn(format_args!(
                        "{name}: its end is torn; the {} lines before are taken, and the next \
                         plc-fetch mends it",
                        number - 1
                    ));
                    break;
                }
                Next::TooLong => {
                    Err(anyhow::anyhow!("line is over the limit of {LINE_BYTES_MAX} bytes"))
                }
                Next::Line if line.trim_ascii().is_empty() => Ok(()),
                Next::Line => self.add(&line),
            };
            self.counts.lines += 1;
            self.counts.bytes += line.len() as u64 + 1;
            self.cli.stats().events_in(1);
            self.cli.stats().bytes_in(line.len() as u64 + 1);
            if let Err(error) = bad {
                self.bad(error.context(format!("{name}: line {number}")))?;
            }
            if number.is_multiple_of(4096) {
                self.show(&name);
            }
        }
        Ok(())
    }

    fn bad(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if self.strict {
            return Err(error);
        }
        self.counts.lines_bad += 1;
        self.cli.stats().refused(1);
        match self.counts.lines_bad {
            ..REPORTS_MAX => self.cli.warn(format_args!("{error:#}; left out")),
            REPORTS_MAX => {
                self.cli.warn(format_args!("{error:#}; left out, and further ones only counted"));
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let operation = Operation::parse(line)?;
        let key = match (operation.tombstone, &operation.key) {
            (true, _) => Key::Tombstone,
            (false, None) => Key::Missing,
            (false, Some(text)) => match keys::PublicKey::from_did_key(text) {
                Ok(key) => Key::Known(key.to_bytes()),
                Err(_) => Key::UnknownType,
            },
        };
        let half = |cid: &atproto::Cid| cid.digest().first_chunk().copied().unwrap_or_default();
        let record = Record {
            did: operation.did,
            id: half(&operation.cid),
            prev: operation.prev.as_ref().map(half),
            created_ms: operation.created_ms,
            key,
            host: operation.pds.as_deref().and_then(|address| self.host(address)),
        };
        let [first, ..] = operation.did.as_bytes();
        if let Some(bucket) = self.buckets.get_mut(usize::from(*first)) {
            bucket.push(record);
        }
        Ok(())
    }

    /// The number of the host that an address names, if it names one.
    fn host(&mut self, address: &str) -> Option<u32> {
        if address.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        if let Some(known) = self.addresses.get(address) {
            return *known;
        }
        let number = net::canonical_host(address).ok().and_then(|name| {
            if let Some(number) = self.numbers.get(name.as_str()) {
                return Some(*number);
            }
            let number = u32::try_from(self.hosts.len()).ok()?;
            self.hosts.push(name.as_str().into());
            self.numbers.insert(name.into(), number);
            Some(number)
        });
        if self.addresses.len() < ADDRESSES_MAX {
            self.addresses.insert(address.into(), number);
        }
        number
    }

    fn show(&mut self, name: &str) {
        if !self.cli.progress() || self.shown.elapsed() < Duration::from_millis(500) {
            return;
        }
        self.shown = Instant::now();
        let Counts { lines, bytes, .. } = self.counts;
        self.cli.show(format_args!("{name}: {lines} operations, {}", show_bytes(bytes)));
    }
}

/// What to do about a file that cannot be unpacked.
fn damaged(error: io::Error, name: &str) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    if name.ends_with(".zst") {
        return error.context("it is damaged; plc-fetch cuts a damaged end off its last file");
    }
    error
}
