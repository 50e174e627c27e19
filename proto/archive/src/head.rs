//! What logs and segments begin with.
//!
//! | offset | size | field    | meaning                                                   |
//! |-------:|-----:|----------|-----------------------------------------------------------|
//! |      0 |    8 | magic    | `SVRNlog1` or `SVRNseg1`; the last byte is the version    |
//! |      8 |    4 | number   | of the log, and of the segment made of it                 |
//! |     12 |    4 | reserved | zero                                                      |
//! |     16 |    8 | first    | the number of its first event                             |
//! |     24 |    8 | salt     | random; what each batch of a log begins with (in a segment that of its log) |
//! |     32 |   32 | key      | the archive's identity key, so that a lost manifest can be made again |
//! |     64 |    8 | time_ns  | when the log was begun, nanoseconds since 1970            |
//! |     72 |    4 | reserved | zero                                                      |
//! |     76 |    4 | crc32c   | of bytes 0 to 76                                          |
//!
//! It stands there twice, one behind the other, so that one flipped bit costs nothing.

use crate::bytes::{Take, covered};
use crate::error::Cause;

pub(crate) const LOG_MAGIC: [u8; 8] = *b"SVRNlog1";
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"SVRNseg1";

/// The length of one copy.
const COPY_BYTES: usize = 80;
/// The length of both copies: where the rest of the file begins.
pub(crate) const HEAD_BYTES: usize = 2 * COPY_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u32,
    pub(crate) first: u64,
    pub(crate) salt: [u8; 8],
    pub(crate) key: [u8; 32],
    pub(crate) time_ns: u64,
}

impl Head {
    pub(crate) fn to_bytes(self, magic: [u8; 8]) -> [u8; HEAD_BYTES] {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        copy.extend_from_slice(&magic);
        copy.extend_from_slice(&self.number.to_le_bytes());
        copy.extend_from_slice(&[0; 4]);
        copy.extend_from_slice(&self.first.to_le_bytes());
        copy.extend_from_slice(&self.salt);
        copy.extend_from_slice(&self.key);
        copy.extend_from_slice(&self.time_ns.to_le_bytes());
        copy.extend_from_slice(&[0; 4]);
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        let mut bytes = [0; HEAD_BYTES];
        for (slot, byte) in bytes.iter_mut().zip(copy.iter().chain(&copy)) {
            *slot = *byte;
        }
        bytes
    }

    /// Reads whichever copy holds.
    pub(crate) fn read(bytes: &[u8], magic: [u8; 8]) -> Result<Head, Cause> {
        let mut copies = bytes.chunks_exact(COPY_BYTES).take(2);
        let first = copies.next().ok_or(Cause::Truncated)?;
        Head::read_copy(first, magic).or_else(|cause| {
            copies.next().and_then(|second| Head::read_copy(second, magic).ok()).ok_or(cause)
        })
    }

    fn read_copy(copy: &[u8], magic: [u8; 8]) -> Result<Head, Cause> {
        let mut take = Take::new(covered(copy, magic)?);
        let mut fields = || {
            take.u64()?;
            let number = take.u32()?;
            take.u32()?;
            let first = take.u64()?;
            let salt = take.array()?;
            let key = take.array()?;
            Some(Head { number, first, salt, key, time_ns: take.u64()? })
        };
        fields().ok_or(Cause::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_damaged_copy_costs_nothing_and_two_are_an_error() {
        let head = Head { number: 7, first: 99, salt: [1; 8], key: [2; 32], time_ns: 5 };
        let bytes = head.to_bytes(LOG_MAGIC);
        for at in 0..HEAD_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 4;
            assert_eq!(Head::read(&flipped, LOG_MAGIC), Ok(head), "byte {at}");
            flipped[(at + COPY_BYTES) % HEAD_BYTES] ^= 4;
            assert!(Head::read(&flipped, LOG_MAGIC).is_err(), "byte {at}");
        }
        assert_eq!(Head::read(&bytes, SEGMENT_MAGIC), Err(Cause::Magic));
        assert_eq!(Head::read(&bytes[..COPY_BYTES - 1], LOG_MAGIC), Err(Cause::Truncated));
    }
}
