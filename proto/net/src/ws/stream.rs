//! A TCP connection that never blocks, with or without TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage};
use nix::sys::socket::{connect, socket};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use crate::{Endpoint, Error};

/// What TLS may hold of what could not be sent.
const SEND_BYTES_MAX: usize = 16 << 10;

pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What could not be sent, without TLS.
    unsent: Vec<u8>,
    /// The end, or what ended it, told after everything that came before it has been read.
    failed: Option<Error>,
    /// Sending failed. What the peer said before that can still be read, and the end will follow.
    mute: bool,
}

/// What a read brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    /// Bytes at the beginning of the buffer.
    pub(super) bytes: usize,
    /// The buffer was full: there may be more, which no readiness will tell of.
    pub(super) more: bool,
}

impl Stream {
    /// Begins to connect.
    pub(super) fn start(
        endpoint: &Endpoint,
        address: SocketAddr,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, Error> {
        let tls = match endpoint.tls {
            true => Some(Box::new(client(endpoint, config)?)),
            false => None,
        };
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(family, SockType::Stream, flags, SockProtocol::Tcp)
            .map_err(|errno| Error::Connect(errno.into()))?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => {}
            Err(errno) => return Err(Error::Connect(errno.into())),
        }
        let socket = TcpStream::from(socket);
        Ok(Self { socket, tls, unsent: Vec::new(), failed: None, mute: false })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether the connection stands, asked once the socket is writable.
    pub(super) fn is_connected(&self) -> Result<bool, Error> {
        if let Some(error) = self.socket.take_error().map_err(Error::Connect)? {
            return Err(Error::Connect(error));
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                // What is sent is small and should leave at once. Without it, it leaves later.
                let _ = self.socket.set_nodelay(true);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(Error::Connect(error)),
        }
    }

    /// Whether something waits for the socket to be writable.
    pub(super) fn wants_write(&self) -> bool {
        !self.mute && self.tls.as_ref().map_or(!self.unsent.is_empty(), |tls| tls.wants_write())
    }

    /// Takes bytes to be sent. `false` when there is no room: the peer doesn't read.
    pub(super) fn queue(&mut self, bytes: &[u8]) -> bool {
        match &mut self.tls {
            // Before the handshake is over TLS holds what it is given.
            Some(tls) => tls.writer().write(bytes).is_ok_and(|count| count == bytes.len()),
            None if self.unsent.len() + bytes.len() > SEND_BYTES_MAX => false,
            None => {
                self.unsent.extend_from_slice(bytes);
                true
            }
        }
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) {
        let sent = match &mut self.tls {
            Some(tls) => send_tls(tls, &mut self.socket),
            None => send(&mut self.unsent, &mut self.socket),
        };
        self.mute |= sent.is_err();
    }

    /// Reads until the buffer is full or there is nothing more. An end or an error that comes
    /// after some bytes is told by the next call.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Fill, Error> {
        let mut bytes = 0;
        while let Some(room) = buffer.get_mut(bytes..).filter(|room| !room.is_empty()) {
            let open = self.failed.is_none();
            let count = match &mut self.tls {
                Some(tls) => read_tls(tls, &mut self.socket, open, room),
                None if open => read(&mut self.socket, room),
                None => Ok(None),
            };
            match count {
                Ok(Some(count)) => bytes += count,
                Ok(None) => {
                    return match self.failed.take() {
                        Some(error) if bytes == 0 => Err(error),
                        failed => {
                            let more = failed.is_some();
                            self.failed = failed;
                            Ok(Fill { bytes, more })
                        }
                    };
                }
                // What TLS has decrypted is still to be read.
                Err(error) => _ = self.failed.get_or_insert(error),
            }
        }
        Ok(Fill { bytes, more: true })
    }
}

fn client(endpoint: &Endpoint, config: &Arc<ClientConfig>) -> Result<ClientConnection, Error> {
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| Error::ServerName { host: endpoint.host.clone() })?;
    let mut tls = ClientConnection::new(Arc::clone(config), name)?;
    tls.set_buffer_limit(Some(SEND_BYTES_MAX));
    Ok(tls)
}

/// `None` when there is nothing to be read.
fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
    loop {
        return match socket.read(buffer) {
            Ok(0) => Err(Error::Cut),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(Error::Io(error)),
        };
    }
}

/// `None` when there is nothing to be read, neither in TLS nor (while it is `open`) from the
/// socket.
fn read_tls(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    open: bool,
    buffer: &mut [u8],
) -> Result<Option<usize>, Error> {
    loop {
        match tls.reader().read(buffer) {
            Ok(0) => return if open { Err(Error::Cut) } else { Ok(None) },
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if !open || error.kind() != ErrorKind::UnexpectedEof => return Ok(None),
            Err(_) => return Err(Error::Cut),
        }
        if !open {
            return Ok(None);
        }
        match tls.read_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Io(error)),
        }
        let processed = tls.process_new_packets();
        // Handshake, alerts, key updates. An error is told by reading.
        let _ = send_tls(tls, socket);
        processed?;
    }
}

fn send_tls(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send(unsent: &mut Vec<u8>, socket: &mut TcpStream) -> io::Result<()> {
    while !unsent.is_empty() {
        match socket.write(unsent) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => _ = unsent.drain(..count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
