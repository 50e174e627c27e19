//! base58btc behind a `z`, and the multicodec number before a key, without taking memory.

use crate::{Error, base58};

/// The longest text that is decoded. Base58 costs the square of its length, and the longest key
/// in use (65 bytes, uncompressed) has 89 characters.
const TEXT_BYTES_MAX: usize = 128;

/// Room for what `TEXT_BYTES_MAX` characters decode to.
pub(crate) const RAW_BYTES_MAX: usize = 128;

/// Decodes `text` into `room` and gives what was decoded.
pub(crate) fn decode<'a>(text: &str, room: &'a mut [u8; RAW_BYTES_MAX]) -> Result<&'a [u8], Error> {
    let bad = Error::NotMultibase { limit: TEXT_BYTES_MAX };
    let digits = text.strip_prefix('z').ok_or(bad)?;
    if digits.len() > TEXT_BYTES_MAX {
        return Err(bad);
    }
    if let Some(key) = base58::key(digits.as_bytes()) {
        let place = room.first_chunk_mut().ok_or(bad)?;
        *place = key;
        return Ok(place);
    }
    let len = bs58::decode(digits.as_bytes()).onto(&mut room[..]).map_err(|_| bad)?;
    room.get(..len).ok_or(bad)
}

/// Encodes `raw` as base58btc behind a `z`.
pub(crate) fn encode(raw: &[u8], out: &mut String) {
    // Base58 needs at most 138 characters for 100 bytes; a key has 35.
    let mut room = [0u8; 2 * RAW_BYTES_MAX];
    if let Ok(len) = bs58::encode(raw).onto(&mut room[..]) {
        out.push('z');
        out.extend(room.iter().take(len).map(|&digit| char::from(digit)));
    }
}

/// Splits the unsigned varint of a multicodec from what follows it.
pub(crate) fn split_multicodec(raw: &[u8]) -> Result<(u64, &[u8]), Error> {
    let mut code = 0u64;
    // Nine groups of seven bits are the longest varint that multiformats allow.
    for (at, &byte) in raw.iter().take(9).enumerate() {
        code |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((code, raw.get(at + 1..).unwrap_or_default()));
        }
    }
    Err(Error::Length { bytes: raw.len() })
}
