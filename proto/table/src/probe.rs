//! The search that reading and filling share.

use memchr::memchr2;

/// Where a search ended.
pub(crate) enum Found {
    /// The key is in this slot.
    At(u64),
    /// The key is nowhere; this is the empty slot where it would be put.
    Empty(u64),
    /// The key is nowhere and no slot is empty: only damaged or hostile bytes are so.
    Nowhere,
}

/// The byte that stands for an entry; never 0.
#[inline]
pub(crate) fn tag(hash: u64) -> u8 {
    (hash % 255) as u8 + 1
}

/// Walks from the home of `hash` over `tags`, one for each slot, asking `is_key` about slots
/// whose tag fits.
#[inline]
pub(crate) fn search(tags: &[u8], hash: u64, mut is_key: impl FnMut(u64) -> bool) -> Found {
    let tag = tag(hash);
    let home = ((u128::from(hash) * tags.len() as u128) >> 64) as usize;
    let (before, behind) = tags.split_at_checked(home).unwrap_or_default();
    for (first, part) in [(home, behind), (0, before)] {
        let mut rest = part;
        while let Some(place) = memchr2(tag, 0, rest) {
            let Some((passed, more)) = rest.split_at_checked(place + 1) else { break };
            rest = more;
            let slot = (first + part.len() - rest.len() - 1) as u64;
            if passed.last() == Some(&0) {
                return Found::Empty(slot);
            }
            if is_key(slot) {
                return Found::At(slot);
            }
        }
    }
    Found::Nowhere
}
