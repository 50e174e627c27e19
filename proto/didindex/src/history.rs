//! Which keys an account had, and which of them count at a time.

use crate::{
    KEY_BYTES, Key, Status,
    delta::next_period,
    layout::{
        self, FROM_MS_MAX, PERIOD_LAST, PERIOD_MISSING, PERIOD_PRESENT, PERIOD_TOMBSTONE,
        PERIOD_UNKNOWN,
    },
};

/// How much before its operation a key counts, in milliseconds: hosts sign first and tell the
/// directory afterwards, and their clocks differ.
pub const KEY_EARLY_MS: u64 = 5 * 60 * 1000;

/// A time in which an account had one key, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Period {
    /// When its operation was accepted (unix ms). 0 for a first key of which the index does not
    /// keep it, because the account never had another or got it when the index was built already;
    /// a first key counts from the beginning of time anyway. It lasts until the next period
    /// begins.
    pub from_ms: u64,
    /// Curve (1 K-256, 2 P-256) and compressed point.
    pub key: Option<[u8; KEY_BYTES]>,
    /// [`Status::Active`] with a key, else why there is none.
    pub status: Status,
}

impl Period {
    /// The period that an operation begins.
    #[must_use]
    pub fn new(from_ms: u64, key: Key) -> Self {
        Self { from_ms, key: key.bytes(), status: key.status() }
    }

    /// What the operation that began it said about the key.
    #[must_use]
    pub fn to_key(&self) -> Key {
        match (self.key, self.status) {
            (Some(key), _) => Key::Known(key),
            (None, Status::UnknownKeyType) => Key::UnknownType,
            (None, Status::Tombstoned) => Key::Tombstone,
            (None, _) => Key::Missing,
        }
    }
}

/// The periods, of those given (oldest first), whose key counts for a commit of that time:
/// a key counts from five minutes before its operation until the next operation, the first one
/// from the beginning of time. In the five minutes there are two (or more), the older first.
pub fn keys_at<P>(periods: P, rev_ms: u64) -> impl Iterator<Item = Period> + Clone
where
    P: Iterator<Item = Period> + Clone,
{
    let ends = periods.clone().skip(1).map(|next| Some(next.from_ms)).chain([None]);
    periods.zip(ends).enumerate().filter_map(move |(number, (period, end))| {
        let begun = number == 0 || rev_ms >= period.from_ms.saturating_sub(KEY_EARLY_MS);
        let over = end.is_some_and(|end| rev_ms >= end);
        (begun && !over).then_some(period)
    })
}

/// The periods of an account, oldest first, the present one included.
#[derive(Debug, Clone)]
pub struct History<'a> {
    records: Records<'a>,
    /// The period of an account that has no records.
    only: Option<Period>,
    /// What the account has at present.
    present: Period,
}

/// Records of periods still to come.
#[derive(Debug, Clone)]
enum Records<'a> {
    /// Of the index itself, those of other accounts behind its last included; former keys are
    /// kept once each.
    Interned { records: &'a [u8], keys: &'a [u8] },
    /// Of the delta, with their keys.
    InFull(&'a [u8]),
}

impl<'a> History<'a> {
    /// Of an account that always had the same key.
    pub(crate) fn of_one(present: Period) -> Self {
        Self { records: Records::InFull(&[]), only: Some(present), present }
    }

    /// As the index itself has it.
    pub(crate) fn interned(records: &'a [u8], keys: &'a [u8], present: Period) -> Self {
        let only = records.is_empty().then_some(present);
        Self { records: Records::Interned { records, keys }, only, present }
    }

    /// As the delta has it.
    pub(crate) fn in_full(records: &'a [u8], present: Period) -> Self {
        let only = records.is_empty().then_some(present);
        Self { records: Records::InFull(records), only, present }
    }
}

impl Iterator for History<'_> {
    type Item = Period;

    fn next(&mut self) -> Option<Period> {
        if let Some(only) = self.only.take() {
            return Some(only);
        }
        let (records, keys) = match &mut self.records {
            Records::Interned { records, keys } => (records, *keys),
            Records::InFull(records) => return next_period(records),
        };
        let (record, rest) = records.split_at_checked(layout::PERIOD_RECORD_BYTES)?;
        *records = rest;
        let [a, b, c, d, e, f] = layout::bytes_at(record, 0);
        let from_ms = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        if from_ms & PERIOD_LAST != 0 {
            *records = &[];
        }
        let from_ms = from_ms & FROM_MS_MAX;
        let period = |key: Key| Period::new(from_ms, key);
        Some(match layout::u32_at(record, 6) {
            PERIOD_PRESENT => Period { from_ms, ..self.present },
            PERIOD_MISSING => period(Key::Missing),
            PERIOD_UNKNOWN => period(Key::UnknownType),
            PERIOD_TOMBSTONE => period(Key::Tombstone),
            number => match keys.get(number as usize * KEY_BYTES..) {
                Some(rest) => {
                    period(rest.first_chunk().map_or(Key::Missing, |key| Key::Known(*key)))
                }
                None => period(Key::Missing),
            },
        })
    }
}
