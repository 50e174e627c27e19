//! The commonest kept sections of an event: the verdict `ok` with the key that proved it, alone.

use frame::Tag;
use frame::verdict::VERDICT_BYTES;

use super::streams::{In, Out, Stream};

/// Tag, length, status and rule.
const HEAD: [u8; 6] = [Tag::VERDICT.0 as u8, VERDICT_BYTES as u8, 1, 0, 0, 0];
const BYTES: usize = 2 + VERDICT_BYTES;
/// What a compressed point begins with, for an even second coordinate; one more for an odd one.
const EVEN: u8 = 2;

/// Sections that are that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proved {
    notes: u32,
    curve: u8,
    is_odd: bool,
    x: [u8; 32],
}

impl Proved {
    /// What these sections are, if [`Proved::bytes`] gives them back.
    pub(crate) fn of(sections: &[u8]) -> Option<Proved> {
        let (notes, key) = sections.strip_prefix(&HEAD)?.split_first_chunk()?;
        let [curve, sign, x @ ..] = key else { return None };
        let is_odd = match sign.checked_sub(EVEN)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let notes = u32::from_le_bytes(*notes);
        Some(Proved { notes, curve: *curve, is_odd, x: x.try_into().ok()? })
    }

    pub(crate) fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let fields: [&[u8]; 4] = [
            &HEAD,
            &self.notes.to_le_bytes(),
            &[self.curve, EVEN + u8::from(self.is_odd)],
            &self.x,
        ];
        for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *place = *byte;
        }
        bytes
    }

    pub(crate) fn put(&self, out: &mut Out) {
        out.byte(Stream::Form, self.curve);
        out.varint(Stream::Form, u64::from(self.notes));
        out.low_bits(u64::from(self.is_odd), 1);
        out.bytes(Stream::Point, &self.x);
    }

    pub(crate) fn take(input: &mut In<'_>) -> Option<Proved> {
        let curve = input.byte(Stream::Form)?;
        let notes = u32::try_from(input.varint(Stream::Form)?).ok()?;
        let is_odd = input.low_bits(1)? == 1;
        Some(Proved { notes, curve, is_odd, x: input.array(Stream::Point)? })
    }
}
