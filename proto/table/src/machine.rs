//! What a processor does in few instructions and the language has no word for: comparing all tags of
//! a group at once, and asking for memory before it is needed.
#![allow(unsafe_code)]

use crate::{group::Group, header::GROUP_SLOTS};

/// A bit for each slot of a group, from the lowest on.
const SLOTS: u32 = (1 << GROUP_SLOTS) - 1;

/// The slots whose tag is `tag`.
#[inline]
#[cfg(target_arch = "x86_64")]
pub(crate) fn matches(group: &Group, tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let word = u128::from_le_bytes(*group);
    // SAFETY: these need SSE2, which every x86-64 has; they touch no memory.
    let equal = unsafe {
        let tags = _mm_set_epi64x((word >> 64) as i64, word as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag.cast_signed())))
    };
    equal.cast_unsigned() & SLOTS
}

/// The slots whose tag is `tag`.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn matches(group: &Group, tag: u8) -> u32 {
    portable(group, tag)
}

/// The same a word at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable(group: &Group, tag: u8) -> u32 {
    const SEVENS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let (words, _) = group.as_chunks::<8>();
    let bits = words.iter().rev().fold(0u64, |bits, word| {
        let differ = u64::from_le_bytes(*word) ^ (u64::from(tag) * 0x0101_0101_0101_0101);
        // The highest bit of each byte that is 0, and of no other.
        let zero = !(((differ & SEVENS) + SEVENS) | differ | SEVENS);
        // The eight bits come together in the highest byte.
        bits << 8 | (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    });
    bits as u32 & SLOTS
}

/// Has the cache line of the byte at `at` fetched, if there is such a byte. It says nothing and
/// waits for nothing.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], at: usize) {
    let Some(byte) = bytes.get(at) else { return };
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing that the program could see, and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: as above; it changes no register and no flag.
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{0}]",
                in(reg) std::ptr::from_ref(byte),
                options(nostack, readonly, preserves_flags)
            );
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = byte;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_found_where_they_are(
            group in prop::array::uniform16(0..4u8),
            tag in 0..4u8,
            high: u8,
        ) {
            // Bytes that differ in their highest bits too.
            let group = group.map(|byte| if byte == 3 { high } else { byte });
            let tag = if tag == 3 { high } else { tag };
            let slow = (0..15).filter(|at| group[*at] == tag).fold(0, |bits, at| bits | 1u32 << at);
            prop_assert_eq!(matches(&group, tag), slow);
            prop_assert_eq!(portable(&group, tag), slow);
        }
    }
}
