//! zstd frames, each only when it is whole.
//!
//! A killed plc-fetch leaves a torn frame at the end of its last file. What a frame holds is
//! believed when its end and its checksum have been seen, so frames are unpacked as a whole before
//! they are handed on. A dump may be one frame of many gigabytes, though: from a limit on a
//! frame is handed on as it comes.

use std::io::{self, BufRead};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// Up to this much a frame is held back until it is whole.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Unpacked in one step.
const STEP_BYTES: usize = 128 << 10;

/// Unpacks frames.
pub(crate) struct Whole<R> {
    inner: R,
    decoder: Decoder<'static>,
    out: Vec<u8>,
    at: usize,
    step: Vec<u8>,
    /// Within a frame, and so not at a place where the input may end.
    inside: bool,
    /// More than the limit of this frame has been handed on.
    long: bool,
}

impl<R: BufRead> Whole<R> {
    pub(crate) fn new(inner: R) -> io::Result<Self> {
        let step = vec![0; STEP_BYTES];
        let decoder = Decoder::new()?;
        Ok(Self { inner, decoder, out: Vec::new(), at: 0, step, inside: false, long: false })
    }

    /// The bytes to be read next, none at the end.
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
            self.unpack()?;
        }
        Ok(self.out.get(self.at..).unwrap_or_default())
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.out.len());
    }

    /// Unpacks up to the end of a frame that holds something, or to the limit.
    fn unpack(&mut self) -> io::Result<()> {
        loop {
            let packed = self.inner.fill_buf()?;
            if packed.is_empty() {
                if !self.inside {
                    return Ok(());
                }
                if !self.long {
                    self.out.clear();
                }
                self.inside = false;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut input = InBuffer::around(packed);
            let mut output = OutBuffer::around(self.step.as_mut_slice());
            let left = self.decoder.run(&mut input, &mut output)?;
            let used = input.pos();
            self.out.extend_from_slice(output.as_slice());
            self.inner.consume(used);
            self.inside = left != 0;
            if self.inside && self.out.len() >= HELD_BYTES_MAX {
                self.long = true;
                return Ok(());
            }
            if !self.inside {
                self.long = false;
                if !self.out.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}
