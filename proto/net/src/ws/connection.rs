//! One connection: TCP, TLS, the request for a WebSocket, then messages.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::ClientConfig;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, OpCode};

use super::decoder::{Decoder, Message};
use super::stream::Stream;
use super::upgrade::Upgrade;
use crate::{Endpoint, Error};

/// How much is read before another connection has its turn.
const SCRATCH_BYTES: usize = 64 << 10;

/// How long messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A longer message is read past, not kept.
    pub message_bytes_max: usize,
    /// A longer one is [`Breach::Endless`](super::Breach::Endless).
    pub read_past_bytes_max: u64,
}

impl Default for Limits {
    /// 5,000,000 bytes, the longest event of the AT Protocol, and 1 GiB.
    fn default() -> Self {
        Self { message_bytes_max: 5_000_000, read_past_bytes_max: 1 << 30 }
    }
}

/// The memory that all connections read into, one after the other.
#[derive(Debug)]
pub struct Scratch(Box<[u8]>);

impl Scratch {
    /// Takes the memory: 64 KiB.
    pub fn new() -> Self {
        Self(vec![0; SCRATCH_BYTES].into())
    }

    /// The first `count` bytes, those that [`Connection::on_ready`] brought.
    pub fn bytes(&self, count: usize) -> &[u8] {
        self.0.get(..count).unwrap_or(&self.0)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`Connection::on_ready`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do until the socket is ready again.
    Waiting,
    /// The WebSocket is open, and so many bytes of it have come with that.
    Opened(usize),
    /// So many bytes have come.
    Read(usize),
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The socket being readable.
    pub read: bool,
    /// The socket being writable.
    pub write: bool,
}

/// A WebSocket connection to a host. Dropping it closes the socket.
pub struct Connection {
    stream: Stream,
    state: State,
    decoder: Decoder,
    server: Option<Box<str>>,
    holds_data: bool,
}

enum State {
    Connecting(Upgrade, Vec<u8>),
    Upgrading(Upgrade),
    Open,
}

impl Connection {
    /// Begins to connect to an address of the host, which the caller has held against its
    /// [`Policy`](crate::Policy) ([`dns::resolve`](crate::dns::resolve) does), and to ask for a
    /// path there.
    ///
    /// # Errors
    /// [`Error::Connect`] when the connection fails at once, [`Error::ServerName`],
    /// [`Error::Upgrade`] for a path that can't be put into a request.
    pub fn start(
        endpoint: &Endpoint,
        address: SocketAddr,
        path: &str,
        tls: &Arc<ClientConfig>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let (upgrade, request) = Upgrade::new(endpoint, path)?;
        Ok(Self {
            stream: Stream::start(endpoint, address, tls)?,
            state: State::Connecting(upgrade, request),
            decoder: Decoder::new(limits),
            server: None,
            holds_data: false,
        })
    }

    /// What to wait for before [`Connection::on_ready`] is called again.
    pub fn interest(&self) -> Interest {
        match self.state {
            State::Connecting(..) => Interest { read: false, write: true },
            _ => Interest { read: true, write: self.stream.wants_write() },
        }
    }

    /// Whether there may be data that no readiness will tell of, because it has left the socket:
    /// [`Connection::on_ready`] wants to be called again before anything is waited for.
    pub fn holds_data(&self) -> bool {
        self.holds_data
    }

    /// Goes on as far as the socket allows, at most by one scratch full of data. All that came has
    /// to be taken with [`Connection::next`] before the next call.
    ///
    /// # Errors
    /// The connection is over: [`Error::Connect`], [`Error::Tls`], [`Error::Status`],
    /// [`Error::Upgrade`], [`Error::Cut`], [`Error::Io`]. Everything that arrived before has been
    /// handed out.
    pub fn on_ready(&mut self, scratch: &mut Scratch) -> Result<Progress, Error> {
        self.holds_data = false;
        if matches!(self.state, State::Connecting(..)) && !self.connect()? {
            return Ok(Progress::Waiting);
        }
        self.stream.flush();
        let fill = self.stream.read(&mut scratch.0)?;
        self.holds_data = fill.more;
        if fill.bytes == 0 {
            return Ok(Progress::Waiting);
        }
        let State::Upgrading(upgrade) = &mut self.state else {
            return Ok(Progress::Read(fill.bytes));
        };
        match upgrade.take(scratch.bytes(fill.bytes))? {
            None => Ok(Progress::Waiting),
            Some(opened) => {
                let begin = fill.bytes.saturating_sub(opened.tail);
                scratch.0.copy_within(begin..fill.bytes, 0);
                self.state = State::Open;
                self.server = opened.server;
                Ok(Progress::Opened(fill.bytes - begin))
            }
        }
    }

    fn connect(&mut self) -> Result<bool, Error> {
        if !self.stream.is_connected()? {
            return Ok(false);
        }
        if let State::Connecting(upgrade, request) = std::mem::replace(&mut self.state, State::Open)
        {
            if !self.stream.queue(&request) {
                return Err(Error::Upgrade("the request is too long"));
            }
            self.state = State::Upgrading(upgrade);
        }
        Ok(true)
    }

    /// The next message of what [`Connection::on_ready`] brought, or `None` when that is used up.
    /// Pings have been answered.
    ///
    /// # Errors
    /// [`Error::Breach`]: the connection can't go on.
    pub fn next<'m, 'i: 'm>(
        &'m mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Message<'m>>, Error> {
        let message = self.decoder.next(input)?;
        if let Some(Message::Ping(payload)) = message {
            // A peer that asks faster than it reads answers gets no more of them (RFC 6455, 5.5.3).
            self.stream.queue(&control(Control::Pong, payload));
            self.stream.flush();
        }
        Ok(message)
    }

    /// Whether the WebSocket is open.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// What the server calls itself, once the WebSocket is open.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Memory held for a message that is not complete.
    pub fn unfinished_bytes(&self) -> usize {
        self.decoder.unfinished_bytes()
    }

    /// Whether a message has begun and not ended.
    pub fn is_within_message(&self) -> bool {
        self.decoder.is_within_message()
    }

    /// Asks the peer whether it is there.
    pub fn ping(&mut self) {
        self.stream.queue(&control(Control::Ping, &[]));
        self.stream.flush();
    }

    /// Says goodbye, as far as the socket takes it at once. The connection is to be dropped then.
    pub fn close(&mut self) {
        if self.is_open() {
            const NORMAL: [u8; 2] = 1000u16.to_be_bytes();
            self.stream.queue(&control(Control::Close, &NORMAL));
            self.stream.flush();
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.socket().as_fd()
    }
}

/// A control frame as a client sends it: masked with four bytes that nobody can foresee (RFC 6455,
/// 5.3), so that the peer can't choose what proxies see. The standard library's hash seeds are
/// such bytes.
fn control(kind: Control, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, d, ..] = RandomState::new().hash_one(payload).to_le_bytes();
    let mask = [a, b, c, d];
    let header =
        FrameHeader { opcode: OpCode::Control(kind), mask: Some(mask), ..FrameHeader::default() };
    let mut bytes = Vec::with_capacity(header.len(payload.len() as u64) + payload.len());
    // Writing into memory can't fail.
    if header.format(payload.len() as u64, &mut bytes).is_ok() {
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    bytes
}

#[cfg(test)]
mod tests;
