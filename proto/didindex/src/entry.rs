//! What the index says about one account.

use crate::{
    History, KEY_BYTES, Key, Period, Status,
    history::keys_at,
    index::DidIndex,
    layout::{
        self, FLAG_KEY, FLAG_ODD, FLAG_P256, FLAG_ROTATED, HOST_FAR, HOST_NONE, STATUS_MASK,
        VALUE_BYTES,
    },
};

/// What is behind a DID in the table: see [`layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) status: Status,
    pub(crate) key: Option<[u8; KEY_BYTES]>,
    pub(crate) rotated: bool,
    pub(crate) host: u16,
}

impl Value {
    pub(crate) fn to_bytes(self) -> [u8; VALUE_BYTES] {
        let mut flags = match self.status {
            Status::Active => 0,
            Status::NoPds => 1,
            Status::UnknownKeyType => 2,
            Status::NoKey => 3,
            Status::Tombstoned => 4,
        };
        let mut bytes = [0; VALUE_BYTES];
        if let Some([curve, sign, x @ ..]) = self.key {
            layout::put(&mut bytes, 0, &x);
            flags |= FLAG_KEY;
            flags |= if curve == 2 { FLAG_P256 } else { 0 };
            flags |= if sign == 3 { FLAG_ODD } else { 0 };
        }
        flags |= if self.rotated { FLAG_ROTATED } else { 0 };
        layout::put(&mut bytes, 32, &[flags]);
        layout::put(&mut bytes, 33, &self.host.to_le_bytes());
        bytes
    }

    #[inline]
    pub(crate) fn from_bytes(bytes: &[u8; VALUE_BYTES]) -> Self {
        let [x @ .., flags, host_low, host_high] = bytes;
        let status = match flags & STATUS_MASK {
            0 => Status::Active,
            1 => Status::NoPds,
            2 => Status::UnknownKeyType,
            4 => Status::Tombstoned,
            _ => Status::NoKey,
        };
        let key = (flags & FLAG_KEY != 0).then(|| {
            let mut key = [0; KEY_BYTES];
            let curve = if flags & FLAG_P256 != 0 { 2 } else { 1 };
            let sign = if flags & FLAG_ODD != 0 { 3 } else { 2 };
            layout::put(&mut key, 0, &[curve, sign]);
            layout::put(&mut key, 2, x);
            key
        });
        let host = u16::from_le_bytes([*host_low, *host_high]);
        Self { status, key, rotated: flags & FLAG_ROTATED != 0, host }
    }
}

/// An account in the index. It refers to the mapped file and holds nothing of its own.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub(crate) index: &'a DidIndex,
    pub(crate) slot: u64,
    pub(crate) value: Value,
}

impl<'a> Entry<'a> {
    /// The present signing key: curve (1 K-256, 2 P-256) and compressed point.
    #[must_use]
    pub fn key(&self) -> Option<[u8; KEY_BYTES]> {
        self.value.key
    }

    /// What the account is by its last operation.
    #[must_use]
    pub fn status(&self) -> Status {
        self.value.status
    }

    /// The canonical name of its PDS.
    #[must_use]
    pub fn pds(&self) -> Option<&'a str> {
        let number = match self.value.host {
            HOST_NONE => return None,
            HOST_FAR => self.index.far_host(self.slot)?,
            number => u32::from(number),
        };
        Some(self.index.host(number)?.name)
    }

    /// Its key periods, oldest first, the present one included. An account that always had one
    /// key has one period, from 0.
    #[must_use]
    pub fn history(&self) -> History<'a> {
        // An account without a PDS can have a key, so the status of a period is that of its key.
        let key = match (self.value.key, self.value.status) {
            (Some(key), _) => Key::Known(key),
            (None, Status::UnknownKeyType) => Key::UnknownType,
            (None, Status::Tombstoned) => Key::Tombstone,
            (None, _) => Key::Missing,
        };
        let present = Period::new(0, key);
        let records = if self.value.rotated { self.index.periods(self.slot) } else { &[] };
        let only = records.is_empty().then_some(present);
        History { records, keys: self.index.former_keys(), only, present }
    }

    /// The periods whose key counts for a commit whose rev is of that time (unix ms), the older
    /// first; see [`keys_at`].
    pub fn keys_at(&self, rev_ms: u64) -> impl Iterator<Item = Period> + Clone + use<'a> {
        keys_at(self.history(), rev_ms)
    }
}
