//! The number section: the event's number in the archive it was read from, one u64.

use crate::{Frame, Tag};

/// Reads the number of an event; `None` if it has none or one of another length.
#[must_use]
pub fn read(frame: &Frame<'_>) -> Option<u64> {
    frame.section(Tag::NUMBER)?.try_into().ok().map(u64::from_le_bytes)
}

/// The section's bytes.
#[must_use]
pub fn bytes(n: u64) -> [u8; 8] {
    n.to_le_bytes()
}
