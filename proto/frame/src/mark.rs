//! `mark` frames: for each host that moved, the point up to which everything has been handed on.
//!
//! A mark is a barrier. A stage passes it on only when every frame before it, of any host, has
//! been sent on, dropped on purpose or refused for good. The archive makes what came before a
//! mark durable, and then the mark: that is the cursor from which `pds-tap --resume` goes on.
//!
//! The body is a list of 16-byte entries; the header's `time_ns` is when the mark was made.
//!
//! | offset | size | field | meaning                                              |
//! |-------:|-----:|-------|------------------------------------------------------|
//! |      0 |    4 | host  | the host's id                                        |
//! |      4 |    4 | epoch | the host's epoch                                     |
//! |      8 |    8 | seq   | everything up to this seq of this epoch was handed on|

use crate::{Error, Frame, Header, HostId, Kind, put as put_frame};

/// The length of one entry.
pub const MARK_BYTES: usize = 16;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The host.
    pub host: HostId,
    /// Its epoch.
    pub epoch: u32,
    /// Up to where everything has been handed on.
    pub seq: u64,
}

/// Appends a `mark` frame. `scratch` is where its body is laid out (kept by the caller, so that
/// nothing is allocated once it has grown).
///
/// # Errors
/// [`Error::TooLong`] for more than half a million entries.
pub fn put(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    time_ns: u64,
    marks: impl IntoIterator<Item = Mark>,
) -> Result<(), Error> {
    scratch.clear();
    for mark in marks {
        scratch.extend_from_slice(&mark.host.0.to_le_bytes());
        scratch.extend_from_slice(&mark.epoch.to_le_bytes());
        scratch.extend_from_slice(&mark.seq.to_le_bytes());
    }
    put_frame(out, &Header::new(Kind::MARK, time_ns), scratch)
}

/// Reads the entries of a `mark` frame.
///
/// # Errors
/// [`Error::Body`] if the body is not whole entries.
pub fn read<'a>(frame: &Frame<'a>) -> Result<impl Iterator<Item = Mark> + Clone + use<'a>, Error> {
    let (entries, rest) = frame.body().as_chunks::<MARK_BYTES>();
    if !rest.is_empty() {
        return Err(Error::Body { kind: "mark", bytes: frame.body().len() });
    }
    Ok(entries.iter().map(|entry| {
        let [h0, h1, h2, h3, e0, e1, e2, e3, seq @ ..] = *entry;
        Mark {
            host: HostId(u32::from_le_bytes([h0, h1, h2, h3])),
            epoch: u32::from_le_bytes([e0, e1, e2, e3]),
            seq: u64::from_le_bytes(seq),
        }
    }))
}
