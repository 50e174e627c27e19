//! From the bytes of a WebSocket stream to messages (RFC 6455, section 5), without any I/O.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Limits;

/// The longest payload of a ping, pong or close.
const CONTROL_BYTES_MAX: usize = 125;

/// A frame up to this length gets its memory at once; that of a longer one grows as it comes,
/// because its length is only a claim.
const RESERVED_BYTES_MAX: usize = 64 << 10;

/// So much is kept of the beginning of a message that is read past.
const BEGINNING_BYTES_MAX: usize = 64 << 10;

/// What the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A binary message, whole.
    Binary(&'a [u8]),
    /// A text message, whole. It has not been checked for being UTF-8.
    Text(&'a [u8]),
    /// A message over the limit was read past.
    TooLong {
        /// Its length.
        bytes: u64,
        /// How it begins: as much as is kept, which may be enough to know what it was.
        beginning: &'a [u8],
    },
    /// Is anybody there? [`Connection::next`](super::Connection::next) answers it by itself.
    Ping(&'a [u8]),
    /// Somebody is.
    Pong,
    /// The peer says goodbye; nothing comes after it.
    Close {
        /// The status (RFC 6455, 7.4), if it gave one.
        code: Option<u16>,
        /// The reason, perhaps not UTF-8.
        reason: &'a [u8],
    },
}

/// How a peer broke the WebSocket protocol. The connection can't go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A frame with a reserved opcode.
    #[error("a frame with the reserved opcode {0}")]
    Opcode(u8),
    /// A frame with a reserved bit: compression, which was not asked for.
    #[error("a frame with reserved bits, such as a compressed one, which was not agreed on")]
    Reserved,
    /// A server must not mask.
    #[error("a masked frame from a server")]
    Masked,
    /// A ping, pong or close that is fragmented or too long.
    #[error("a control frame that is fragmented or longer than 125 bytes")]
    Control,
    /// A continuation without a beginning.
    #[error("a continuation of no message")]
    Continuation,
    /// A message began within another.
    #[error("a message within another")]
    Interleaved,
    /// A message that is too long even to be read past.
    #[error("a message of {bytes} bytes or more, which is too long even to be read past")]
    Endless {
        /// How much it claims so far.
        bytes: u64,
    },
}

/// Where in the stream the decoder is.
#[derive(Debug)]
enum Place {
    /// In a frame header.
    Header,
    /// In the payload of a piece of a message.
    Data { left: u64, last: bool },
    /// In the payload of a control frame.
    Control { left: usize, kind: Control },
}

/// What was gathered and handed out, and can go when the next message is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    Nothing,
    Message,
    Control,
}

/// Turns bytes into messages. Holds no more than an unfinished message within the limit.
#[derive(Debug)]
pub(super) struct Decoder {
    limits: Limits,
    place: Place,
    /// The beginning of a header that was cut in two by the end of the input.
    header: Vec<u8>,
    /// The beginning of a message that was, or its pieces so far.
    message: Vec<u8>,
    /// The beginning of a control frame's payload that was.
    control: Vec<u8>,
    /// A message has begun: the next piece is a continuation.
    begun: bool,
    /// Of that message: is it text, how long is it so far, is it only read past.
    text: bool,
    bytes: u64,
    skip: bool,
    handed: Handed,
}

impl Decoder {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            place: Place::Header,
            header: Vec::new(),
            message: Vec::new(),
            control: Vec::new(),
            begun: false,
            text: false,
            bytes: 0,
            skip: false,
            handed: Handed::Nothing,
        }
    }

    /// Memory held for a message that is not complete.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Whether a message or a frame has begun and not ended.
    pub(super) fn is_within_message(&self) -> bool {
        self.begun || !matches!(self.place, Place::Header) || !self.header.is_empty()
    }

    /// The next message, or `None` when the input is used up.
    pub(super) fn next<'m, 'i: 'm>(
        &'m mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Message<'m>>, Breach> {
        // Memory is given back rather than kept: most connections are silent most of the time.
        match std::mem::replace(&mut self.handed, Handed::Nothing) {
            Handed::Nothing => {}
            Handed::Message => self.message = Vec::new(),
            Handed::Control => self.control = Vec::new(),
        }
        loop {
            match self.place {
                Place::Header => {
                    let Some((header, length)) = self.header(input)? else { return Ok(None) };
                    self.begin(&header, length)?;
                }
                Place::Data { left, last } => {
                    let piece = take(input, left);
                    let left = left - piece.len() as u64;
                    let whole = left == 0 && last;
                    if whole && self.message.is_empty() && !self.skip {
                        self.end();
                        return Ok(Some(of_text(self.text, piece)));
                    }
                    match self.skip {
                        true => self.keep_beginning(piece),
                        false => self.gather(piece, left),
                    }
                    if left != 0 {
                        self.place = Place::Data { left, last };
                        return Ok(None);
                    }
                    self.place = Place::Header;
                    if whole {
                        return Ok(Some(self.whole()));
                    }
                }
                Place::Control { left, kind } => {
                    let piece = take(input, left as u64);
                    let left = left - piece.len();
                    if left == 0 {
                        self.place = Place::Header;
                        if self.control.is_empty() {
                            return Ok(Some(of_control(kind, piece)));
                        }
                    }
                    self.control.extend_from_slice(piece);
                    if left != 0 {
                        self.place = Place::Control { left, kind };
                        return Ok(None);
                    }
                    self.handed = Handed::Control;
                    return Ok(Some(of_control(kind, &self.control)));
                }
            }
        }
    }

    /// A frame header, which may have come in pieces, taken off the input.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<(FrameHeader, u64)>, Breach> {
        if self.header.is_empty() {
            let (parsed, used) = parse(input)?;
            if parsed.is_some() {
                *input = input.get(used..).unwrap_or_default();
                return Ok(parsed);
            }
        }
        // Byte by byte, so that nothing behind the header is taken.
        while let Some((first, rest)) = input.split_first() {
            self.header.push(*first);
            *input = rest;
            let (parsed, _) = parse(&self.header)?;
            if parsed.is_some() {
                self.header = Vec::new();
                return Ok(parsed);
            }
        }
        Ok(None)
    }

    /// A frame begins: checks it against the rules and the limits, before memory is taken.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<(), Breach> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Breach::Reserved);
        }
        if header.mask.is_some() {
            return Err(Breach::Masked);
        }
        let data = match header.opcode {
            OpCode::Data(data) => data,
            OpCode::Control(kind) => {
                let left = usize::try_from(length).unwrap_or(usize::MAX);
                if !header.is_final || left > CONTROL_BYTES_MAX {
                    return Err(Breach::Control);
                }
                self.place = Place::Control { left, kind };
                return Ok(());
            }
        };
        match (data, self.begun) {
            (Data::Continue, true) => {}
            (Data::Continue, false) => return Err(Breach::Continuation),
            (_, true) => return Err(Breach::Interleaved),
            (_, false) => {
                self.begun = true;
                self.text = data == Data::Text;
                self.bytes = 0;
                self.skip = false;
            }
        }
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > self.limits.read_past_bytes_max {
            return Err(Breach::Endless { bytes: self.bytes });
        }
        if self.bytes > self.limits.message_bytes_max as u64 {
            self.skip = true;
            self.message.truncate(BEGINNING_BYTES_MAX);
            self.message.shrink_to_fit();
        }
        self.place = Place::Data { left: length, last: header.is_final };
        Ok(())
    }

    fn gather(&mut self, piece: &[u8], left: u64) {
        let frame = piece.len() as u64 + left;
        if frame <= RESERVED_BYTES_MAX as u64 {
            self.message.reserve_exact(usize::try_from(frame).unwrap_or(0));
        }
        self.message.extend_from_slice(piece);
    }

    fn keep_beginning(&mut self, piece: &[u8]) {
        let most = BEGINNING_BYTES_MAX.min(self.limits.message_bytes_max);
        let room = most.saturating_sub(self.message.len()).min(piece.len());
        self.message.reserve_exact(room);
        self.message.extend_from_slice(piece.get(..room).unwrap_or_default());
    }

    /// The last piece has come: the gathered message, or word of what was read past.
    fn whole(&mut self) -> Message<'_> {
        self.end();
        self.handed = Handed::Message;
        if self.skip {
            return Message::TooLong { bytes: self.bytes, beginning: &self.message };
        }
        of_text(self.text, &self.message)
    }

    fn end(&mut self) {
        self.begun = false;
        self.place = Place::Header;
    }
}

/// A header at the beginning of the input, and how many bytes it takes.
fn parse(input: &[u8]) -> Result<(Option<(FrameHeader, u64)>, usize), Breach> {
    let mut cursor = Cursor::new(input);
    match FrameHeader::parse(&mut cursor) {
        Ok(parsed) => Ok((parsed, usize::try_from(cursor.position()).unwrap_or(0))),
        // Reading from memory can't fail, so it can only be the opcode.
        Err(_) => Err(Breach::Opcode(input.first().map_or(0, |byte| byte & 0x0f))),
    }
}

/// Up to `count` bytes off the front of the input.
fn take<'a>(input: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(input.len());
    let (piece, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
    *input = rest;
    piece
}

fn of_text(text: bool, bytes: &[u8]) -> Message<'_> {
    if text { Message::Text(bytes) } else { Message::Binary(bytes) }
}

fn of_control(kind: Control, payload: &[u8]) -> Message<'_> {
    match kind {
        Control::Ping => Message::Ping(payload),
        Control::Pong => Message::Pong,
        // A reserved one is refused with its header.
        Control::Close | Control::Reserved(_) => match payload.split_first_chunk() {
            Some((code, reason)) => {
                Message::Close { code: Some(u16::from_be_bytes(*code)), reason }
            }
            None => Message::Close { code: None, reason: &[] },
        },
    }
}

/// Decodes the input in pieces of all sizes: whatever it is, the decoder must not panic, must not
/// hold more than its limit, and must hand out the same messages however the input is cut.
pub fn fuzz_decoder(data: &[u8]) {
    let limits = Limits { message_bytes_max: 1000, read_past_bytes_max: 100_000 };
    let whole = decode_in_pieces(data, data.len().max(1), limits);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(decode_in_pieces(data, size, limits), whole, "pieces of {size}");
    }
}

fn decode_in_pieces(data: &[u8], size: usize, limits: Limits) -> (Vec<String>, Option<Breach>) {
    let mut decoder = Decoder::new(limits);
    let mut messages = Vec::new();
    for mut piece in data.chunks(size) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(message)) => messages.push(format!("{message:?}")),
                Ok(None) => break,
                Err(breach) => return (messages, Some(breach)),
            }
        }
        assert!(decoder.unfinished_bytes() <= 2 * RESERVED_BYTES_MAX);
    }
    (messages, None)
}

#[cfg(test)]
mod tests;
