//! The whole frames of a file of operations, and where what is not whole begins.

use std::io::{self, Read};

use zstd::zstd_safe;

/// Longest frame that is unpacked, in bytes of JSON. One page is a frame, and pages are limited.
const FRAME_BYTES_MAX: u64 = crate::ask::PAGE_BYTES_MAX + 1;

/// Unpacks frame after frame.
pub(crate) struct Frames<'a> {
    packed: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(packed: &'a [u8]) -> Self {
        Self { packed, at: 0 }
    }

    /// The next frame unpacked, if there is one that is whole and whose checksum holds.
    ///
    /// # Errors
    /// `FileTooLarge` for a frame that is whole and longer than any of ours.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let rest = self.packed.get(self.at..).unwrap_or_default();
        let Ok(bytes) = zstd_safe::find_frame_compressed_size(rest) else { return Ok(None) };
        let Some(frame) = rest.get(..bytes).filter(|frame| !frame.is_empty()) else {
            return Ok(None);
        };
        match unpack(frame) {
            Ok(text) => {
                self.at += bytes;
                Ok(Some(text))
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Where the next frame would begin.
    pub(crate) fn offset(&self) -> u64 {
        self.at as u64
    }
}

fn unpack(frame: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let decoder = zstd::Decoder::with_buffer(frame)?;
    decoder.take(FRAME_BYTES_MAX).read_to_end(&mut text)?;
    if text.len() as u64 == FRAME_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}
