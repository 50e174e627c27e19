//! Lower-case base32 (RFC 4648), eight characters at a time.
//!
//! A directory of 100 million operations holds some 300 million identifiers in base32, and a look
//! at each character by itself was most of what reading them took.

/// One byte in each lane.
const ONES: u64 = 0x0101_0101_0101_0101;

/// Eight characters of `a` to `z` and `2` to `7` as the 40 bits that they stand for.
#[inline]
pub(crate) fn eight(chars: &[u8; 8]) -> Option<u64> {
    // The first character has to end up in the highest bits.
    let chars = u64::from_be_bytes(*chars);
    // 1 where the character has bit 0x40, which letters have and digits have not.
    let letters = (chars >> 6) & ONES;
    // 'a' is 0 and '2' is 26. The high bit is lent to each lane, so none borrows of its neighbour.
    let lent = (chars | (0x80 * ONES)) - (0x18 * ONES + letters * 0x49);
    let values = lent & (0x7f * ONES);
    let from_26 = ((values + 0x06 * ONES) >> 5) & ONES;
    let good = chars & (0x80 * ONES) == 0
        && lent & (0x80 * ONES) == 0x80 * ONES
        && values & (0x60 * ONES) == 0
        && from_26 ^ letters == ONES;
    let pairs = (values & 0x001f_001f_001f_001f) | (values & 0x1f00_1f00_1f00_1f00) >> 3;
    let fours = (pairs & 0x0000_03ff_0000_03ff) | (pairs & 0x03ff_0000_03ff_0000) >> 6;
    good.then_some((fours & 0xf_ffff) | (fours >> 12 & 0xf_ffff << 20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plainly(chars: &[u8; 8]) -> Option<u64> {
        let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
        chars.iter().try_fold(0, |word, char| {
            let value = alphabet.iter().position(|letter| letter == char)?;
            Some(word << 5 | value as u64)
        })
    }

    #[test]
    fn every_byte_in_every_place() {
        for place in 0..8 {
            for byte in 0..=255 {
                for around in [b'a', b'z', b'2', b'7', b'm'] {
                    let mut chars = [around; 8];
                    chars[place] = byte;
                    assert_eq!(eight(&chars), plainly(&chars), "{chars:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn as_one_by_one(chars: [u8; 8], letters in "[a-z2-7]{8}") {
            prop_assert_eq!(eight(&chars), plainly(&chars));
            let chars = letters.as_bytes().try_into().unwrap();
            prop_assert_eq!(eight(&chars), plainly(&chars));
        }
    }
}
