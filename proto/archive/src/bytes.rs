//! Reading and writing fields: little-endian integers of fixed width, and varints (LEB128, at
//! most ten bytes) where a column of small numbers would waste them.

use crate::error::Cause;

/// Takes fields off the front of some bytes; `None` when they are not there.
#[derive(Debug, Clone)]
pub(crate) struct Take<'a> {
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Take<'a> {
        Take { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(slice)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn varint_u32(&mut self) -> Option<u32> {
        self.varint().and_then(|value| u32::try_from(value).ok())
    }

    pub(crate) fn varint_usize(&mut self) -> Option<usize> {
        self.varint().and_then(|value| usize::try_from(value).ok())
    }

    /// The value that [`put_delta`] wrote against `base`.
    pub(crate) fn delta(&mut self, base: u64) -> Option<u64> {
        let zigzag = self.varint()?;
        let step = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        Some(base.wrapping_add(step))
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] appends.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends how far `value` is from `base`, whatever the direction: small steps take one byte.
pub(crate) fn put_delta(out: &mut Vec<u8>, base: u64, value: u64) {
    let step = value.wrapping_sub(base);
    let sign = (step >> 63).wrapping_neg();
    put_varint(out, (step << 1) ^ sign);
}

/// What the CRC32C at the end of some bytes covers, if they begin with this magic and it holds.
pub(crate) fn covered(bytes: &[u8], magic: [u8; 8]) -> Result<&[u8], Cause> {
    if !bytes.starts_with(&magic) {
        return Err(Cause::Magic);
    }
    let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(Cause::Truncated)?;
    if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
        return Err(Cause::Checksum);
    }
    Ok(covered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_and_deltas_come_back(value: u64, base: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_bytes(value));
            put_delta(&mut out, base, value);
            let mut take = Take::new(&out);
            prop_assert_eq!(take.varint(), Some(value));
            prop_assert_eq!(take.delta(base), Some(value));
            prop_assert!(take.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut take = Take::new(&bytes);
            while take.varint().is_some() {}
        }
    }

    #[test]
    fn a_varint_over_64_bits_is_refused() {
        assert_eq!(Take::new(&[0xff; 10]).varint(), None);
        assert_eq!(
            Take::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).varint(),
            Some(u64::MAX)
        );
    }

    #[test]
    fn a_small_step_takes_one_byte_in_either_direction() {
        for value in [u64::MAX - 3, 0, 5] {
            let mut out = Vec::new();
            put_delta(&mut out, 0, value);
            assert_eq!(out.len(), 1, "{value}");
        }
    }
}
