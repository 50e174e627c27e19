//! Status and key as they lie in 33 bytes, in the index and in its delta.

use crate::{
    KEY_BYTES, Status,
    layout::{FLAG_KEY, FLAG_ODD, FLAG_P256, FLAG_ROTATED, STATUS_MASK},
};

/// Bytes of the x of a key's point.
pub(crate) const X_BYTES: usize = 32;

/// What 33 bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) status: Status,
    pub(crate) key: Option<[u8; KEY_BYTES]>,
    pub(crate) rotated: bool,
}

impl Packed {
    /// x and flags.
    pub(crate) fn pack(self) -> ([u8; X_BYTES], u8) {
        let mut flags = status_bits(self.status);
        let mut x = [0; X_BYTES];
        if let Some([curve, sign, point @ ..]) = self.key {
            x = point;
            flags |= FLAG_KEY;
            flags |= if curve == 2 { FLAG_P256 } else { 0 };
            flags |= if sign == 3 { FLAG_ODD } else { 0 };
        }
        flags |= if self.rotated { FLAG_ROTATED } else { 0 };
        (x, flags)
    }
}

#[inline]
pub(crate) fn unpack(x: &[u8; X_BYTES], flags: u8) -> Packed {
    let key = (flags & FLAG_KEY != 0).then(|| {
        let mut key = [0; KEY_BYTES];
        let [curve, sign, point @ ..] = &mut key;
        *curve = if flags & FLAG_P256 != 0 { 2 } else { 1 };
        *sign = if flags & FLAG_ODD != 0 { 3 } else { 2 };
        *point = *x;
        key
    });
    Packed { status: status(flags), key, rotated: flags & FLAG_ROTATED != 0 }
}

pub(crate) fn status_bits(status: Status) -> u8 {
    match status {
        Status::Active => 0,
        Status::NoPds => 1,
        Status::UnknownKeyType => 2,
        Status::NoKey => 3,
        Status::Tombstoned => 4,
    }
}

#[inline]
pub(crate) fn status(flags: u8) -> Status {
    match flags & STATUS_MASK {
        0 => Status::Active,
        1 => Status::NoPds,
        2 => Status::UnknownKeyType,
        4 => Status::Tombstoned,
        _ => Status::NoKey,
    }
}
