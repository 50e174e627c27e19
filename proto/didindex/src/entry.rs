//! What the index says about one account.

use crate::{
    History, KEY_BYTES, Key, Period, Status,
    delta::Slot,
    history::keys_at,
    index::DidIndex,
    layout::{self, HOST_FAR, HOST_NONE, VALUE_BYTES},
    packed::{self, Packed},
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
        let Self { status, key, rotated, host } = self;
        let (x, flags) = Packed { status, key, rotated }.pack();
        let mut bytes = [0; VALUE_BYTES];
        layout::put(&mut bytes, 0, &x);
        layout::put(&mut bytes, 32, &[flags]);
        layout::put(&mut bytes, 33, &host.to_le_bytes());
        bytes
    }

    #[inline]
    pub(crate) fn from_bytes(bytes: &[u8; VALUE_BYTES]) -> Self {
        let [x @ .., flags, host_low, host_high] = bytes;
        let Packed { status, key, rotated } = packed::unpack(x, *flags);
        Self { status, key, rotated, host: u16::from_le_bytes([*host_low, *host_high]) }
    }
}

/// An account in the index. It refers to the mapped files and holds nothing of its own.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub(crate) index: &'a DidIndex,
    pub(crate) at: At<'a>,
}

/// Where an account was found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// In this slot of the index itself, where this lies.
    Index(u64, &'a [u8; VALUE_BYTES]),
    /// In the delta.
    Delta(Slot<'a>),
}

impl<'a> Entry<'a> {
    /// As the delta has it.
    #[inline]
    pub(crate) fn changed(index: &'a DidIndex, slot: Slot<'a>) -> Self {
        Self { index, at: At::Delta(slot) }
    }

    /// What its place says. Who asks for one thing does not pay for the others.
    #[inline]
    fn value(&self) -> Value {
        match self.at {
            At::Index(_, bytes) => Value::from_bytes(bytes),
            At::Delta(slot) => {
                let Packed { status, key, rotated } = slot.packed();
                Value { status, key, rotated, host: HOST_NONE }
            }
        }
    }

    /// Whether it had more than one key.
    #[inline]
    #[must_use]
    pub fn is_rotated(&self) -> bool {
        self.value().rotated
    }

    /// The present signing key: curve (1 K-256, 2 P-256) and compressed point.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<[u8; KEY_BYTES]> {
        self.value().key
    }

    /// What the account is by its last operation.
    #[inline]
    #[must_use]
    pub fn status(&self) -> Status {
        self.value().status
    }

    /// The canonical name of its PDS.
    #[must_use]
    pub fn pds(&self) -> Option<&'a str> {
        let slot = match self.at {
            At::Delta(slot) => return slot.host(),
            At::Index(slot, _) => slot,
        };
        let number = match self.value().host {
            HOST_NONE => return None,
            HOST_FAR => self.index.far_host(slot)?,
            number => u32::from(number),
        };
        Some(self.index.host(number)?.name)
    }

    /// Its key periods, oldest first, the present one included. An account that always had one
    /// key has one period, from 0.
    #[must_use]
    pub fn history(&self) -> History<'a> {
        // An account without a PDS can have a key, so the status of a period is that of its key.
        let value = self.value();
        let key = match (value.key, value.status) {
            (Some(key), _) => Key::Known(key),
            (None, Status::UnknownKeyType) => Key::UnknownType,
            (None, Status::Tombstoned) => Key::Tombstone,
            (None, _) => Key::Missing,
        };
        let present = Period::new(0, key);
        if !value.rotated {
            return History::of_one(present);
        }
        match self.at {
            At::Index(slot, _) => {
                History::interned(self.index.periods(slot), self.index.former_keys(), present)
            }
            At::Delta(slot) => History::in_full(slot.periods(), present),
        }
    }

    /// The periods whose key counts for a commit whose rev is of that time (unix ms), the older
    /// first; see [`keys_at`].
    pub fn keys_at(&self, rev_ms: u64) -> impl Iterator<Item = Period> + Clone + use<'a> {
        keys_at(self.history(), rev_ms)
    }
}
