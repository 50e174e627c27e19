//! Leaves: one record of 28 bytes for each operation of an event, and one for an event that has
//! none, numbered through the whole archive in order of arrival and never changed.
//!
//! | offset | size | field   | meaning                                                        |
//! |-------:|-----:|---------|----------------------------------------------------------------|
//! |      0 |    8 | path    | first half of the path's name (see [`super::name`]), of an event that was not proved the second; 0: no operation |
//! |      8 |    4 | account | its number; 2^32-1: the event is of no account                 |
//! |     12 |    4 | segment | the event's                                                    |
//! |     16 |    3 | ordinal | of the event in its segment                                    |
//! |     19 |    1 | op      | 0: none, 1: create, 2: update, 3: delete, 4: another; bit 7: not proved |
//! |     20 |    4 | before  | how many leaves ago the account's leaf before this one is; 0: there is none; 2^32-1: farther than can be said |
//! |     24 |    4 | seconds | since 1970, the largest receive time so far: never less than before |
//!
//! They lie 146 to a page in `leaf-SEGMENT-00.run`, see [`super::run`]. The notes of that file: number
//! of its first leaf, of its first event, the largest receive time before it and with it, and how many
//! numbers have been given to accounts with it.
//!
//! Paths: `path-SEGMENT-LEVEL.run` holds for each path of those segments its last leaf, sorted:
//!
//! | offset | size | field   | meaning                                                        |
//! |-------:|-----:|---------|----------------------------------------------------------------|
//! |      0 |    8 | path    | as in the leaf                                                 |
//! |      8 |    8 | leaf    | bits 0 to 62: its number; bit 63: it is of a `create`          |
//!
//! A `create` says nothing of what was under the path before: behind a gap there may be something. So
//! where a path was created, the record of its leaf before that one stays before it, and so on to one
//! that is no `create`.
//!
//! Leaf numbers have 64 bits. An event's first leaf is found in its segment's file by its ordinal,
//! the events since a time by the seconds, both by halving.

use crate::Error;
use crate::bytes::Take;
use crate::derived::run::{Run, Shape};

pub(crate) const LEAF_BYTES: usize = 28;

pub(crate) const LEAVES: Shape = Shape { kind: 1, record: LEAF_BYTES, key: 0 };
pub(crate) const PATHS: Shape = Shape { kind: 2, record: 16, key: 8 };

/// A record of the table of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathLeaf {
    pub(crate) leaf: u64,
    /// It is of a `create`.
    pub(crate) created: bool,
}

impl PathLeaf {
    const CREATED: u64 = 1 << 63;

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        (self.leaf | if self.created { PathLeaf::CREATED } else { 0 }).to_le_bytes()
    }

    /// What a record says.
    pub(crate) fn read(record: &[u8]) -> Option<PathLeaf> {
        let word = u64::from_le_bytes(*record.last_chunk()?);
        Some(PathLeaf { leaf: word & !PathLeaf::CREATED, created: word & PathLeaf::CREATED != 0 })
    }
}

/// An event of no account.
pub(crate) const NO_ACCOUNT: u32 = u32::MAX;
/// The leaf before is farther than can be said.
pub(crate) const TOO_FAR: u32 = u32::MAX;
/// The bit of an operation that was not proved.
pub(crate) const UNPROVED: u8 = 0x80;
/// Operations.
pub(crate) const CREATE: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const DELETE: u8 = 3;

/// The notes of a file of leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeafNotes {
    pub(crate) first: u64,
    pub(crate) event: u64,
    pub(crate) seconds_before: u32,
    pub(crate) seconds: u32,
    pub(crate) accounts: u32,
}

impl LeafNotes {
    pub(crate) fn to_notes(self) -> [u64; 8] {
        let (before, seconds) = (u64::from(self.seconds_before), u64::from(self.seconds));
        [self.first, self.event, before, seconds, u64::from(self.accounts), 0, 0, 0]
    }

    pub(crate) fn of(run: &Run) -> LeafNotes {
        let [first, event, before, seconds, accounts, ..] = run.place.notes;
        let [seconds_before, seconds, accounts] = [before, seconds, accounts].map(|n| n as u32);
        LeafNotes { first, event, seconds_before, seconds, accounts }
    }
}

/// A leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) path: [u8; 8],
    pub(crate) account: u32,
    pub(crate) segment: u32,
    pub(crate) ordinal: u32,
    pub(crate) op: u8,
    pub(crate) before: u32,
    pub(crate) seconds: u32,
}

impl Leaf {
    pub(crate) fn to_bytes(self) -> [u8; LEAF_BYTES] {
        let [a, b, c, _] = self.ordinal.to_le_bytes();
        let fields = [
            &self.path[..],
            &self.account.to_le_bytes(),
            &self.segment.to_le_bytes(),
            &[a, b, c, self.op],
            &self.before.to_le_bytes(),
            &self.seconds.to_le_bytes(),
        ];
        let mut bytes = [0; LEAF_BYTES];
        bytes
            .iter_mut()
            .zip(fields.iter().copied().flatten())
            .for_each(|(slot, byte)| *slot = *byte);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Leaf> {
        let mut take = Take::new(bytes);
        let (path, account, segment) = (take.array()?, take.u32()?, take.u32()?);
        let [a, b, c, op] = take.array()?;
        let ordinal = u32::from_le_bytes([a, b, c, 0]);
        Some(Leaf {
            path,
            account,
            segment,
            ordinal,
            op,
            before: take.u32()?,
            seconds: take.u32()?,
        })
    }
}

/// A leaf of a file of leaves by its place there.
pub(crate) fn at(run: &Run, place: u64) -> Result<Leaf, Error> {
    let form = || crate::Damage::at(&run.path, 0, crate::Cause::Form("leaves"));
    Ok(Leaf::read(run.record(place)?).ok_or_else(form)?)
}

/// The place of the first leaf of which `is_before` does not hold; it holds for those before.
pub(crate) fn first_not(run: &Run, is_before: impl Fn(&Leaf) -> bool) -> Result<u64, Error> {
    let (mut low, mut high) = (0, run.records);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(&at(run, middle)?) { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
