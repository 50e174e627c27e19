//! A group of tags: what stands for an entry, and where it is at home.

use crate::header::GROUP_BYTES;

/// Fifteen tags and the byte of what has spilled: see [`crate::header`].
pub(crate) type Group = [u8; GROUP_BYTES];

/// The byte that stands for an entry; never 0.
#[inline]
pub(crate) fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// The group at which a hash is at home.
#[inline]
pub(crate) fn home(hash: u64, homes: u64) -> u64 {
    ((u128::from(hash) * u128::from(homes)) >> 64) as u64
}

/// The bit of a hash in `spilled`.
#[inline]
fn spilled_bit(hash: u64) -> u8 {
    1 << (hash >> 8 & 7)
}

/// Says that an entry of that hash lies in a later group.
#[inline]
pub(crate) fn set_spilled(group: &mut Group, hash: u64) {
    let [.., spilled] = group;
    *spilled |= spilled_bit(hash);
}

/// Whether an entry of that hash may lie in a later group.
#[inline]
pub(crate) fn has_spilled(group: &Group, hash: u64) -> bool {
    let [.., spilled] = group;
    spilled & spilled_bit(hash) != 0
}

/// Whether the group has an empty slot: they are filled from the left.
#[inline]
pub(crate) fn has_room(group: &Group) -> bool {
    let [.., last, _] = group;
    *last == 0
}
