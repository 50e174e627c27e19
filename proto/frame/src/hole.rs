//! `hole` frames: a stretch of a host's sequence that was asked for and can no longer be had
//! (`OutdatedCursor` on a resume). The header has the host and its epoch.
//!
//! | offset | size | field | meaning                                       |
//! |-------:|-----:|-------|-----------------------------------------------|
//! |      0 |    8 | after | the last seq that was had                     |
//! |      8 |    8 | until | the first seq that the host could still give; 0 while it is not known |

use crate::{Error, Frame, Header, HostId, Kind, put as put_frame};

/// What a `hole` frame says: the seqs between `after` and `until`, both excluded, are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The last seq that was had.
    pub after: u64,
    /// The first seq that the host could still give; 0 while it is not known.
    pub until: u64,
}

/// Appends a `hole` frame.
///
/// # Errors
/// None that can happen: the body has a fixed length under every limit.
pub fn put(
    out: &mut Vec<u8>,
    host: HostId,
    epoch: u32,
    time_ns: u64,
    hole: Hole,
) -> Result<(), Error> {
    let mut body = [0; 16];
    let (after, until) = body.split_at_mut(8);
    after.copy_from_slice(&hole.after.to_le_bytes());
    until.copy_from_slice(&hole.until.to_le_bytes());
    let header = Header { host, epoch, seq: hole.after, ..Header::new(Kind::HOLE, time_ns) };
    put_frame(out, &header, &body)
}

/// Reads a `hole` frame.
///
/// # Errors
/// [`Error::Body`] if the body does not have the form above.
pub fn read(frame: &Frame<'_>) -> Result<Hole, Error> {
    match frame.body().as_chunks::<8>() {
        ([after, until], []) => {
            Ok(Hole { after: u64::from_le_bytes(*after), until: u64::from_le_bytes(*until) })
        }
        _ => Err(Error::Body { kind: "hole", bytes: frame.body().len() }),
    }
}
