//! What is known of an account: `acct-SEGMENT-LEVEL.run`, sorted by name, and for one account in the
//! order of its events.
//!
//! | offset | size | field   | meaning                                                        |
//! |-------:|-----:|---------|----------------------------------------------------------------|
//! |      0 |   16 | name    | see [`super::name`]                                            |
//! |     16 |    8 | n       | number of the last event that is in this                       |
//! |     24 |    4 | account | its number                                                     |
//! |     28 |    1 | bits    | 1: a head; 2: its host said whether it is active; 4: it is not; 8: the head is that of a `repo` frame; 16, 32: the CID of the commit, of the tree is of raw bytes; 64: marks cover all that is in this, or it is a `repo` frame, which needs none |
//! |     29 |    1 | status  | what the last event on it said, whoever sent it: 0: nothing, 1: active, 2: deactivated, 3: suspended, 4: taken down, 5: throttled, 6: desynchronized, 7: another, 8: deleted |
//! |     30 |    2 | zero    |                                                                |
//! |     32 |    8 | leaf    | its last; 2^64-1: it has none yet                              |
//! |     40 |    8 | rev     | of the head                                                    |
//! |     48 |   32 | commit  | hash of the head                                               |
//! |     80 |   32 | data    | hash of its tree's root                                        |
//! |    112 |    8 | host    | [`host_key`] of who said that it is not active                 |
//!
//! A record holds all of an account's events in its segments, but for those that no mark covers yet:
//! each of these, and of the account all behind them, has a record of its own. Which they are is in
//! the extra: u32 hosts, for each role (u8), length (u16) and name; then for each event n (u64), host
//! (u32), epoch (u32), seq (u64), ascending. When a mark covers them a merge makes them one.

use std::collections::HashMap;

use atproto::{Cid, car, commit, event::Event};
use frame::host::Role;

use crate::bytes::Take;
use crate::derived::Name;
use crate::derived::run::Shape;
use crate::hosts::{Host, HostMark};

pub(crate) const RECORD_BYTES: usize = 120;
pub(crate) const ACCOUNTS: Shape = Shape { kind: 3, record: RECORD_BYTES, key: 16 };

/// An account without a leaf.
const NO_LEAF: u64 = u64::MAX;

const HEAD: u8 = 1;
const SAID: u8 = 2;
const AWAY: u8 = 4;
const HEALED: u8 = 8;
const RAW_COMMIT: u8 = 16;
const RAW_DATA: u8 = 32;
const SETTLED: u8 = 64;

/// A host by a hash of its canonical name, the same in every run and every archive.
#[must_use]
pub fn host_key(name: &str) -> u64 {
    let hash = Cid::dag_cbor(name.as_bytes());
    let bytes = hash.digest().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(bytes).max(1)
}

/// The last commit of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its rev, as a number.
    pub rev: u64,
    /// Its CID.
    pub commit: Cid,
    /// The root of its tree.
    pub data: Cid,
    /// It is that of a whole repository that was fetched.
    pub healed: bool,
}

/// What the last `#account` event of an account said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It is active.
    Active = 1,
    /// Its owner has deactivated it.
    Deactivated = 2,
    /// Its host has suspended it.
    Suspended = 3,
    /// Its host has taken it down.
    TakenDown = 4,
    /// Its host does not pass it on for now.
    Throttled = 5,
    /// Its host has lost track of it.
    Desynchronized = 6,
    /// It is not active, for another reason.
    Other = 7,
    /// It is deleted.
    Deleted = 8,
}

impl Status {
    pub(crate) fn of(active: bool, status: Option<&str>) -> Status {
        match (active, status) {
            (true, _) => Status::Active,
            (false, Some("deactivated")) => Status::Deactivated,
            (false, Some("suspended")) => Status::Suspended,
            (false, Some("takendown")) => Status::TakenDown,
            (false, Some("throttled")) => Status::Throttled,
            (false, Some("desynchronized")) => Status::Desynchronized,
            (false, Some("deleted")) => Status::Deleted,
            (false, _) => Status::Other,
        }
    }

    pub(crate) fn read(byte: u8) -> Option<Status> {
        use Status::{
            Active, Deactivated, Deleted, Desynchronized, Other, Suspended, TakenDown, Throttled,
        };
        [Active, Deactivated, Suspended, TakenDown, Throttled, Desynchronized, Other, Deleted]
            .into_iter()
            .find(|status| *status as u8 == byte)
    }
}

/// What an event, or several, say of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: Name,
    pub(crate) n: u64,
    pub(crate) account: u32,
    pub(crate) leaf: Option<u64>,
    pub(crate) head: Option<Head>,
    /// Whether its host, or who else it was, said that it is not active: then who.
    pub(crate) away: Option<Option<u64>>,
    pub(crate) status: Option<Status>,
    /// Whether no mark has to come for this to count.
    pub(crate) settled: bool,
}

impl Record {
    pub(crate) fn new(name: Name, n: u64, account: u32, leaf: Option<u64>) -> Record {
        Record { name, n, account, leaf, head: None, away: None, status: None, settled: false }
    }

    /// Whether this counts.
    pub(crate) fn counts(&self, pending: &Pending) -> bool {
        self.settled || !pending.by_n.contains_key(&self.n)
    }

    /// What a proved event of a host says.
    pub(crate) fn learn(&mut self, event: &Event<'_>, from: &Host) {
        match event {
            Event::Account(account) => {
                self.status = Some(Status::of(account.active, account.status));
                if account.active {
                    self.away = Some(None);
                } else if from.role != Role::Relay {
                    // What a relay said was its host's word, but that host is not in the archive.
                    self.away = Some(Some(host_key(&from.name)));
                }
            }
            _ => self.head = head(event),
        }
    }

    /// Adds what came later.
    pub(crate) fn add(&mut self, later: &Record) {
        self.n = later.n;
        self.leaf = later.leaf;
        if let Some(head) = later.head
            && self.head.is_none_or(|before| before.rev < head.rev)
        {
            self.head = Some(head);
        }
        self.away = later.away.or(self.away);
        self.status = later.status.or(self.status);
    }

    pub(crate) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bits = 0;
        let mut set = |bit: u8, on: bool| bits |= if on { bit } else { 0 };
        let raw = |cid: &Cid| cid.as_bytes().get(1) == Some(&0x55);
        if let Some(head) = &self.head {
            set(HEAD, true);
            set(HEALED, head.healed);
            set(RAW_COMMIT, raw(&head.commit));
            set(RAW_DATA, raw(&head.data));
        }
        set(SAID, self.away.is_some());
        set(AWAY, matches!(self.away, Some(Some(_))));
        set(SETTLED, self.settled);
        let digest = |cid: Option<Cid>| cid.map_or([0; 32], |cid| *cid.digest());
        let status = self.status.map_or(0, |status| status as u8);
        let fields = [
            &self.name[..],
            &self.n.to_le_bytes(),
            &self.account.to_le_bytes(),
            &[bits, status, 0, 0],
            &self.leaf.unwrap_or(NO_LEAF).to_le_bytes(),
            &self.head.map_or(0, |head| head.rev).to_le_bytes(),
            &digest(self.head.map(|head| head.commit)),
            &digest(self.head.map(|head| head.data)),
            &self.away.flatten().unwrap_or(0).to_le_bytes(),
        ];
        let mut bytes = [0; RECORD_BYTES];
        bytes
            .iter_mut()
            .zip(fields.iter().copied().flatten())
            .for_each(|(slot, byte)| *slot = *byte);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Record> {
        let mut take = Take::new(bytes);
        let (name, n, account) = (take.array()?, take.u64()?, take.u32()?);
        let [bits, status, _, _] = take.array()?;
        let (leaf, rev) = (take.u64()?, take.u64()?);
        let mut cid = |raw: u8| {
            let codec = if bits & raw == 0 { 0x71 } else { 0x55 };
            let digest: [u8; 32] = take.array()?;
            Cid::from_slice(&[&[1, codec, 0x12, 0x20][..], &digest].concat()).ok()
        };
        let (commit, data) = (cid(RAW_COMMIT)?, cid(RAW_DATA)?);
        let host = take.u64()?;
        let head = Head { rev, commit, data, healed: bits & HEALED != 0 };
        Some(Record {
            name,
            n,
            account,
            leaf: Some(leaf).filter(|leaf| *leaf != NO_LEAF),
            head: (bits & HEAD != 0).then_some(head),
            away: (bits & SAID != 0).then_some((bits & AWAY != 0).then_some(host)),
            status: Status::read(status),
            settled: bits & SETTLED != 0,
        })
    }
}

/// The head that a proved event made its account's.
fn head(event: &Event<'_>) -> Option<Head> {
    let (bytes, _) = event.blocks()?;
    let car = car::parse(bytes).ok()?;
    let root = match event {
        Event::Commit(commit) => commit.commit,
        _ => car.root()?,
    };
    let mut blocks = car.blocks().map_while(Result::ok);
    let block = blocks.find(|block| block.cid == root)?;
    let signed = commit::parse(block.data).ok()?;
    let rev: atproto::Tid = signed.rev.parse().ok()?;
    Some(Head { rev: rev.0, commit: root, data: signed.data, healed: false })
}

/// Up to where hosts have been heard for good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settled {
    by_host: HashMap<Host, (u32, u64)>,
}

impl Settled {
    pub(crate) fn of(marks: impl IntoIterator<Item = HostMark>) -> Settled {
        let host = |mark: HostMark| Host { role: mark.role, name: mark.name.into() };
        let by_host = marks
            .into_iter()
            .map(|mark| ((mark.epoch, mark.seq), host(mark)))
            .map(|(to, host)| (host, to));
        Settled { by_host: by_host.collect() }
    }

    /// Whether a mark covers this event of a host.
    pub(crate) fn covers(&self, host: &Host, epoch: u32, seq: u64) -> bool {
        self.by_host.get(host).is_some_and(|mark| (epoch, seq) <= *mark)
    }
}

/// Events that no mark covered when they were written down, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) by_n: HashMap<u64, (Host, u32, u64)>,
}

impl Pending {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut rows: Vec<_> = self.by_n.iter().collect();
        rows.sort_unstable_by_key(|(n, _)| **n);
        let mut hosts: Vec<&Host> = Vec::new();
        let mut numbers: HashMap<&Host, u32> = HashMap::new();
        for (_, (host, ..)) in &rows {
            numbers.entry(host).or_insert_with(|| {
                hosts.push(host);
                hosts.len() as u32 - 1
            });
        }
        if rows.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::new();
        out.extend_from_slice(&(hosts.len() as u32).to_le_bytes());
        for host in &hosts {
            out.push(host.role as u8);
            out.extend_from_slice(&(host.name.len() as u16).to_le_bytes());
            out.extend_from_slice(host.name.as_bytes());
        }
        for (n, (host, epoch, seq)) in rows {
            out.extend_from_slice(&n.to_le_bytes());
            out.extend_from_slice(&numbers.get(host).copied().unwrap_or(0).to_le_bytes());
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&seq.to_le_bytes());
        }
        out
    }

    /// Those of some bytes that are not settled by now.
    pub(crate) fn read(bytes: &[u8], settled: &Settled) -> Option<Pending> {
        let mut pending = Pending::default();
        let mut take = Take::new(bytes);
        if take.is_empty() {
            return Some(pending);
        }
        let mut hosts = Vec::new();
        for _ in 0..take.u32()? {
            let role = match take.u8()? {
                0 => Role::Pds,
                _ => Role::Relay,
            };
            let bytes = take.u16()?;
            let name = std::str::from_utf8(take.slice(bytes.into())?).ok()?;
            hosts.push(Host { role, name: name.into() });
        }
        while !take.is_empty() {
            let (n, host, epoch, seq) = (take.u64()?, take.u32()?, take.u32()?, take.u64()?);
            let host = hosts.get(host as usize)?;
            if !settled.covers(host, epoch, seq) {
                pending.by_n.insert(n, (host.clone(), epoch, seq));
            }
        }
        Some(pending)
    }
}

/// Makes one of the records of an account, as far as they are settled.
pub(crate) fn settle(versions: &[Record], pending: &Pending) -> Vec<Record> {
    let settled = versions.iter().take_while(|version| version.counts(pending));
    let count = settled.clone().count();
    let first = settled.copied().reduce(|mut sum, later| {
        sum.add(&later);
        sum
    });
    let first = first.map(|first| Record { settled: true, ..first });
    first.into_iter().chain(versions.iter().skip(count).copied()).collect()
}
