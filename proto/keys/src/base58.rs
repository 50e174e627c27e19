//! base58btc of exactly one length: a compressed key behind its multicodec.
//!
//! A directory names a key in each of its operations. Base58 in general costs the square of its
//! length, a digit at a time; these 48 digits are five numbers of ten digits each, which are
//! multiplied together.

/// A multicodec of two bytes and a compressed point.
const BYTES: usize = 35;

/// 58 to the 48th is just above 256 to the 35th.
const DIGITS: usize = 48;

/// What a character that is no digit is worth.
const NONE: u8 = 0xff;

const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < alphabet.len() {
        #[allow(clippy::indexing_slicing, reason = "worked out by the compiler")]
        {
            values[alphabet[value] as usize] = value as u8;
        }
        value += 1;
    }
    values
}

/// The bytes that 48 digits stand for, if they are 35 and the first of them is not zero.
/// Everything else is left to the general way.
#[inline]
pub(crate) fn key(digits: &[u8]) -> Option<[u8; BYTES]> {
    let digits: &[u8; DIGITS] = digits.try_into().ok()?;
    let mut limbs = [0u64; 5];
    let mut seen = 0;
    let (first, rest) = digits.split_at(DIGITS % 10);
    let groups = std::iter::once(first).chain(rest.chunks_exact(10));
    for (number, group) in groups.enumerate() {
        let mut word = 0u64;
        for digit in group {
            let value = VALUES.get(usize::from(*digit)).copied().unwrap_or(NONE);
            seen |= value;
            // Of what is no digit it is known by now; below, 58^10 fits in 59 bits.
            word = word.wrapping_mul(58).wrapping_add(u64::from(value));
        }
        let mut carry = u128::from(word);
        // Each group fills one limb more.
        for limb in limbs.iter_mut().take(number + 1) {
            carry += u128::from(*limb) * const { 58u128.pow(10) };
            *limb = carry as u64;
            carry >>= 64;
        }
    }
    let [a, b, c, d, e] = limbs;
    // No digit is above 57, so their highest bit is not set; 280 bits are 24 in the last limb. A
    // leading `1` is a byte of zero before all others.
    if seen & 0x80 != 0 || e >> 24 != 0 || e >> 16 == 0 || digits.starts_with(b"1") {
        return None;
    }
    let mut bytes = [0; BYTES];
    let (head, tail) = bytes.split_at_mut(3);
    let [_, _, _, _, _, three @ ..] = e.to_be_bytes();
    head.copy_from_slice(&three);
    let (places, _) = tail.as_chunks_mut::<8>();
    for (place, limb) in places.iter_mut().zip([d, c, b, a]) {
        *place = limb.to_be_bytes();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generally(digits: &[u8]) -> Option<Vec<u8>> {
        bs58::decode(digits).into_vec().ok()
    }

    proptest! {
        #[test]
        fn as_the_general_way(text in "[1-9A-HJ-NP-Za-km-z]{48}", start in "zQ3sh|zDnae|11|1|z|2") {
            let text = format!("{start}{}", &text[start.len()..]);
            let bytes = key(text.as_bytes());
            let general = generally(text.as_bytes()).filter(|bytes| bytes.len() == BYTES);
            match bytes {
                Some(bytes) => prop_assert_eq!(general.unwrap(), bytes),
                // Only what begins with a zero byte or is of another length is left over.
                None => prop_assert!(general.is_none_or(|bytes| bytes[0] == 0), "{}", text),
            }
        }

        #[test]
        fn both_ways(mut bytes: [u8; 35]) {
            bytes[0] |= 0x80;
            let text = bs58::encode(bytes).into_string();
            prop_assert_eq!(key(text.as_bytes()), Some(bytes));
        }

        #[test]
        fn any_bytes(at in 0..48usize, byte: u8) {
            let mut text = *b"Q3shkKkAzEii6GqtYP66HNFFp9ZJSvtoNLbkyd696yaN5g9Q";
            text[at] = byte;
            let general = generally(&text).filter(|bytes| bytes.len() == BYTES && bytes[0] != 0);
            prop_assert_eq!(key(&text).map(Vec::from), general);
        }
    }

    #[test]
    fn the_edges() {
        for bytes in [[0xff; 35], [1; 35]] {
            let text = bs58::encode(bytes).into_string();
            if text.len() == DIGITS {
                assert_eq!(key(text.as_bytes()), Some(bytes));
            }
        }
        assert_eq!(key(&[b'z'; 48]), None);
        assert_eq!(key(b""), None);
    }
}
