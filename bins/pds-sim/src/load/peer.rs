//! A connection to a host: TLS, a request, then events to the subscriber and little from it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ServerConfig, ServerConnection};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::events;

/// The most that a client says before it is answered, in bytes.
const INPUT_BYTES_MAX: usize = 16 << 10;
const SUBSCRIBE: &str = "/xrpc/com.atproto.sync.subscribeRepos";
const DESCRIBE: &str = "/xrpc/com.atproto.server.describeServer";

/// The connection is over.
#[derive(Debug)]
pub struct Gone;

impl<E: std::error::Error> From<E> for Gone {
    fn from(_: E) -> Self {
        Self
    }
}

/// What a client wants.
pub enum Wish {
    /// Nothing yet.
    Nothing,
    /// The events behind this cursor.
    Events(Option<u64>),
}

/// A connection.
pub struct Peer {
    tcp: TcpStream,
    tls: ServerConnection,
    /// The host that it is to.
    pub host: usize,
    /// What has come and not been understood.
    input: Vec<u8>,
    /// The position of the next event, once it has subscribed.
    pub position: Option<u64>,
    /// Events sent over it.
    pub sent: u64,
    /// The socket takes no more for the moment.
    pub is_blocked: bool,
    /// It is watched for being writable.
    pub is_watched_for_room: bool,
    /// When it was last told something.
    pub told: Instant,
}

impl Peer {
    /// A connection that has just been accepted.
    pub fn new(tcp: TcpStream, config: Arc<ServerConfig>, host: usize) -> Result<Self, Gone> {
        tcp.set_nonblocking(true)?;
        // Without it a short event waits for the acknowledgement of the one before.
        tcp.set_nodelay(true)?;
        let mut tls = ServerConnection::new(config)?;
        // What is given to TLS is bounded here, by asking whether the socket is blocked.
        tls.set_buffer_limit(None);
        Ok(Self {
            tcp,
            tls,
            host,
            input: Vec::new(),
            position: None,
            sent: 0,
            is_blocked: false,
            is_watched_for_room: false,
            told: Instant::now(),
        })
    }

    /// Whether TLS is not there yet.
    pub fn is_shaking_hands(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Takes what has come.
    pub fn hear(&mut self, scratch: &mut [u8]) -> Result<Wish, Gone> {
        let heard = self.read(scratch);
        // An alert, where the handshake has failed.
        let sent = self.flush();
        heard?;
        sent?;
        let wish = match self.position {
            None => self.request()?,
            Some(_) => self.control()?,
        };
        if self.input.is_empty() {
            // Thousands are silent: they hold no memory for what they might say.
            self.input = Vec::new();
        }
        Ok(wish)
    }

    fn read(&mut self, scratch: &mut [u8]) -> Result<(), Gone> {
        loop {
            match self.tls.read_tls(&mut self.tcp) {
                Ok(0) => return Err(Gone),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(Gone),
            }
            self.tls.process_new_packets()?;
            loop {
                match self.tls.reader().read(scratch) {
                    Ok(0) => return Err(Gone),
                    Ok(count) => self.input.extend_from_slice(&scratch[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return Err(Gone),
                }
            }
            if self.input.len() > INPUT_BYTES_MAX {
                return Err(Gone);
            }
        }
    }

    /// The request at the beginning of what has come.
    fn request(&mut self) -> Result<Wish, Gone> {
        let Some((bytes, request)) = Request::try_parse(&self.input)? else {
            return Ok(Wish::Nothing);
        };
        self.input.drain(..bytes);
        let mut answer = Vec::new();
        if request.uri().path() != SUBSCRIBE {
            let (status, body) = match request.uri().path() {
                DESCRIBE => ("200 OK", r#"{"did":"did:web:localhost","availableUserDomains":[]}"#),
                _ => ("404 Not Found", r#"{"error":"NotFound"}"#),
            };
            write!(
                answer,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n\
                 {body}",
                body.len()
            )?;
            self.tell(&answer)?;
            return Ok(Wish::Nothing);
        }
        write_response(&mut answer, &create_response(&request)?)?;
        self.tell(&answer)?;
        let query = request.uri().query().unwrap_or_default();
        let cursor = query.split('&').find_map(|part| part.strip_prefix("cursor="));
        Ok(Wish::Events(cursor.map(str::parse).transpose()?))
    }

    /// The pings, pongs and closes of a subscriber.
    fn control(&mut self) -> Result<Wish, Gone> {
        loop {
            let mut cursor = io::Cursor::new(&self.input);
            let Some((header, length)) = FrameHeader::parse(&mut cursor)? else { break };
            let (begin, length) = (cursor.position() as usize, usize::try_from(length)?);
            let Some(payload) = self.input.get(begin..begin.saturating_add(length)) else { break };
            match header.opcode {
                OpCode::Control(Control::Ping) => {
                    let mask = header.mask.unwrap_or_default();
                    let mask = mask.iter().cycle();
                    let payload: Vec<u8> =
                        payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
                    let mut pong = Vec::new();
                    put(OpCode::Control(Control::Pong), payload.len(), &mut pong)?;
                    pong.extend_from_slice(&payload);
                    self.tell(&pong)?;
                }
                OpCode::Control(Control::Pong) => {}
                // Nothing else is said by those who mean to stay.
                _ => return Err(Gone),
            }
            self.input.drain(..begin + length);
        }
        Ok(Wish::Nothing)
    }

    /// Sends bytes, as far as the socket takes them.
    pub fn tell(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.tls.writer().write_all(bytes)?;
        self.told = Instant::now();
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> Result<(), Gone> {
        self.is_blocked = false;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// Asks a subscriber whether it is there.
    pub fn ping(&mut self) -> Result<(), Gone> {
        let mut ping = Vec::new();
        put(OpCode::Control(Control::Ping), 0, &mut ping)?;
        self.tell(&ping)
    }

    /// Says that not all is there that the cursor asked for.
    pub fn tell_outdated(&mut self) -> Result<(), Gone> {
        let text = "Requested cursor exceeded limit. Possibly missing events";
        self.tell_message(&events::info("OutdatedCursor", text).map_err(|_| Gone)?)
    }

    /// Refuses a cursor. The connection is over then.
    pub fn tell_future(&mut self) -> Result<(), Gone> {
        let error = events::error("FutureCursor", "Cursor in the future.").map_err(|_| Gone)?;
        self.tell_message(&error)?;
        let mut close = Vec::new();
        put(OpCode::Control(Control::Close), 2, &mut close)?;
        close.extend_from_slice(&1008_u16.to_be_bytes());
        self.tell(&close)?;
        Err(Gone)
    }

    fn tell_message(&mut self, message: &[u8]) -> Result<(), Gone> {
        let mut bytes = Vec::new();
        put_message(message.len(), &mut bytes)?;
        bytes.extend_from_slice(message);
        self.tell(&bytes)
    }

    /// Breaks the connection: what was not sent is lost, and the other side sees a reset.
    pub fn reset(self) {
        reset(&self.tcp);
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

/// A close of this socket is a reset.
pub fn reset(tcp: &TcpStream) {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    // Where it can't be had, it is closed in order.
    let _ = setsockopt(tcp, sockopt::Linger, &at_once);
}

/// The header of a binary message of that length, whole in one frame.
pub fn put_message(bytes: usize, out: &mut Vec<u8>) -> Result<(), Gone> {
    put(OpCode::Data(Data::Binary), bytes, out)
}

fn put(opcode: OpCode, bytes: usize, out: &mut Vec<u8>) -> Result<(), Gone> {
    Ok(FrameHeader { opcode, ..FrameHeader::default() }.format(bytes as u64, out)?)
}
