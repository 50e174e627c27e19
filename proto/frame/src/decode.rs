//! Reading: bytes in, items out, nothing copied.

use crate::header::{
    BODY_LEN_AT, CRC_AT, EPOCH_AT, FLAGS_AT, Frame, HEADER_BYTES, HOST_AT, Header, HostId, KIND_AT,
    Kind, PAYLOAD_LEN_AT, RESERVED_AT, SEQ_AT, TIME_AT, flags,
};
use crate::{Error, Found, MAGIC, PAYLOAD_BYTES_MAX, section};

/// What a stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A magic: host ids begin anew.
    Start,
    /// A whole frame.
    Frame(Frame<'a>),
}

/// An item that was found at the beginning of a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    /// Header and length of the body; `None` for a magic.
    frame: Option<(Header, usize)>,
    /// How many bytes it takes.
    pub len: usize,
}

impl Located {
    /// The item, borrowed from the buffer that it was located in.
    #[must_use]
    pub fn item<'a>(&self, input: &'a [u8]) -> Item<'a> {
        let Some((header, body_len)) = self.frame else { return Item::Start };
        let bytes = input.get(..self.len).unwrap_or_default();
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let (body, sections) = payload.split_at_checked(body_len).unwrap_or_default();
        Item::Frame(Frame { header, bytes, body, sections })
    }
}

/// Finds items in a stream that arrives in pieces. It holds no bytes: the caller keeps a buffer,
/// shows it, and lets go of what was consumed.
///
/// ```
/// let mut stream = Vec::new();
/// frame::put_magic(&mut stream);
/// let header = frame::Header::new(frame::Kind::END, 0);
/// frame::put(&mut stream, &header, b"").unwrap();
///
/// let mut decoder = frame::Decoder::default();
/// let (item, magic) = decoder.next(&stream).unwrap().unwrap();
/// assert_eq!(item, frame::Item::Start);
/// let (item, _) = decoder.next(&stream[magic..]).unwrap().unwrap();
/// assert!(matches!(item, frame::Item::Frame(end) if end.header == header));
/// ```
#[derive(Debug, Default, Clone)]
pub struct Decoder {
    offset: u64,
    started: bool,
    ended: bool,
}

impl Decoder {
    /// The next item of `input` and how many bytes it takes; `None` if more bytes are needed.
    ///
    /// # Errors
    /// When `input` cannot be a frame stream. There is no way on behind an error.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Item<'a>, usize)>, Error> {
        Ok(self.locate(input)?.map(|located| (located.item(input), located.len)))
    }

    /// Like [`Decoder::next`] without borrowing the input, for a reader that fills its buffer
    /// between finding an item and handing it out.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn locate(&mut self, input: &[u8]) -> Result<Option<Located>, Error> {
        let Some(start) = input.first_chunk::<8>() else {
            return Ok(None);
        };
        if *start == MAGIC {
            self.offset += MAGIC.len() as u64;
            self.started = true;
            self.ended = false;
            return Ok(Some(Located { frame: None, len: MAGIC.len() }));
        }
        if start.starts_with(b"SVRNfrm") {
            let found = String::from_utf8_lossy(start.get(7..).unwrap_or_default()).into_owned();
            return Err(Error::Version { offset: self.offset, found });
        }
        if !self.started || self.ended {
            return Err(Error::NotFrames { offset: self.offset, found: Found::of(*start) });
        }
        let Some(head) = input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (header, payload_len, body_len) = self.header(head)?;
        let len = HEADER_BYTES + payload_len;
        let Some(sections) = input.get(HEADER_BYTES + body_len..len) else {
            return Ok(None);
        };
        if !section::well_formed(sections) {
            return Err(Error::Section { offset: self.offset });
        }
        self.offset += len as u64;
        self.ended = header.kind == Kind::END;
        Ok(Some(Located { frame: Some((header, body_len)), len }))
    }

    /// Where the next item begins, counted from the beginning of the input.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the last item was an `end` frame: if the input stops here, it stopped cleanly.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// How many bytes the item at the beginning of `input` takes as far as can be told, so that
    /// a reader can make room for it: at least 8, at most a header and a payload at its limit.
    #[must_use]
    pub fn wants(input: &[u8]) -> usize {
        match input.first_chunk::<HEADER_BYTES>() {
            Some(head) if !head.starts_with(&MAGIC) => HEADER_BYTES
                .saturating_add(u32_at(head, PAYLOAD_LEN_AT) as usize)
                .min(HEADER_BYTES + PAYLOAD_BYTES_MAX),
            _ => HEADER_BYTES,
        }
    }

    /// Header, payload length and body length, checked.
    fn header(&self, head: &[u8; HEADER_BYTES]) -> Result<(Header, usize, usize), Error> {
        let offset = self.offset;
        let checked = head.first_chunk::<CRC_AT>().map_or(0, |covered| crc32c::crc32c(covered));
        if checked != u32_at(head, CRC_AT) {
            return Err(Error::HeaderChecksum { offset });
        }
        let payload_len = u32_at(head, PAYLOAD_LEN_AT) as usize;
        let body_len = u32_at(head, BODY_LEN_AT) as usize;
        if payload_len > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLong {
                offset,
                bytes: payload_len as u64,
                limit: PAYLOAD_BYTES_MAX as u64,
            });
        }
        if body_len > payload_len || array::<2>(head, RESERVED_AT) != [0, 0] {
            return Err(Error::Header { offset });
        }
        let [flag_bits] = array::<1>(head, FLAGS_AT);
        if flag_bits & flags::CRITICAL != 0 {
            return Err(Error::CriticalFlag { offset, flag: flag_bits & flags::CRITICAL });
        }
        let [kind] = array::<1>(head, KIND_AT);
        let header = Header {
            kind: Kind(kind),
            flags: flag_bits,
            host: HostId(u32_at(head, HOST_AT)),
            epoch: u32_at(head, EPOCH_AT),
            seq: u64::from_le_bytes(array(head, SEQ_AT)),
            time_ns: u64::from_le_bytes(array(head, TIME_AT)),
        };
        Ok((header, payload_len, body_len))
    }
}

/// `N` bytes of a header. The offsets are constants within the header, so the zeros of the other
/// branch are never seen.
fn array<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    head.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

fn u32_at(head: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(array(head, at))
}

/// Feeds any bytes to the decoder: it must not panic, and what it takes must encode again to the
/// same bytes.
///
/// # Panics
/// If what was decoded does not encode to what was read.
#[expect(clippy::panic, reason = "the assertion of a fuzz target")]
pub fn fuzz_decoder(data: &[u8]) {
    let mut decoder = Decoder::default();
    let mut rest = data;
    while let Ok(Some((item, used))) = decoder.next(rest) {
        if let Item::Frame(frame) = item {
            let mut again = Vec::new();
            let encoded = crate::encode::put_sections(
                &mut again,
                &frame.header,
                frame.body(),
                frame.sections(),
            );
            if encoded.is_err() || again != frame.bytes() {
                panic!("a frame does not encode to the bytes that it was read from");
            }
        }
        rest = rest.get(used..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
