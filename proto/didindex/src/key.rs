//! What an operation says about the signing key.

/// Bytes of a key: one for the curve (1 = K-256, 2 = P-256), then 33 of SEC 1, compressed.
pub const KEY_BYTES: usize = 34;

/// The signing key that an operation sets, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "whoever fills an index has to say which it is")]
pub enum Key {
    /// A key of a known curve.
    Known([u8; KEY_BYTES]),
    /// The operation names no signing key.
    Missing,
    /// It names one that is of no known curve, or that cannot be read.
    UnknownType,
    /// The account is given up.
    Tombstone,
}

impl Key {
    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<[u8; KEY_BYTES]> {
        match self {
            Self::Known(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// What it makes of an account, its PDS aside.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Known(_) => Status::Active,
            Self::Missing => Status::NoKey,
            Self::UnknownType => Status::UnknownKeyType,
            Self::Tombstone => Status::Tombstoned,
        }
    }
}

/// What an account is, by its last operation. Where several hold, the last in this list is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It has a key and a PDS.
    Active,
    /// It has a key and no PDS, or one whose address is none.
    NoPds,
    /// Its key is of no known curve.
    UnknownKeyType,
    /// It has no signing key.
    NoKey,
    /// It was given up.
    Tombstoned,
}

impl Status {
    /// The word for it: `active`, `no-pds`, `unknown-key-type`, `no-key`, `tombstoned`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NoPds => "no-pds",
            Self::UnknownKeyType => "unknown-key-type",
            Self::NoKey => "no-key",
            Self::Tombstoned => "tombstoned",
        }
    }
}
