//! Which keys an account had, and which of them count at a time.

use crate::{
    KEY_BYTES, Key, Status,
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
    /// When its operation was accepted (unix ms), 0 where the index does not keep it because the
    /// account never had another key. It lasts until the next period begins.
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
    /// From its next record on, those of others behind its last included; none for an account that
    /// always had the same key.
    pub(crate) records: &'a [u8],
    /// The section of former keys.
    pub(crate) keys: &'a [u8],
    /// The period of an account that has no records.
    pub(crate) only: Option<Period>,
    /// What the account has at present.
    pub(crate) present: Period,
}

impl Iterator for History<'_> {
    type Item = Period;

    fn next(&mut self) -> Option<Period> {
        if let Some(only) = self.only.take() {
            return Some(only);
        }
        let (record, rest) = self.records.split_at_checked(layout::PERIOD_RECORD_BYTES)?;
        self.records = rest;
        let [a, b, c, d, e, f] = layout::bytes_at(record, 0);
        let from_ms = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        if from_ms & PERIOD_LAST != 0 {
            self.records = &[];
        }
        let from_ms = from_ms & FROM_MS_MAX;
        let period = |key: Key| Period::new(from_ms, key);
        Some(match layout::u32_at(record, 6) {
            PERIOD_PRESENT => Period { from_ms, ..self.present },
            PERIOD_MISSING => period(Key::Missing),
            PERIOD_UNKNOWN => period(Key::UnknownType),
            PERIOD_TOMBSTONE => period(Key::Tombstone),
            number => match self.keys.get(number as usize * KEY_BYTES..) {
                Some(rest) => {
                    period(rest.first_chunk().map_or(Key::Missing, |key| Key::Known(*key)))
                }
                None => period(Key::Missing),
            },
        })
    }
}
