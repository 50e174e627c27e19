//! One connection: a request, an answer, the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::request::{self, HEAD_BYTES_MAX, Request};

/// What is sent back.
pub(super) struct Answer {
    head: Vec<u8>,
    body: Rc<[u8]>,
    sent: usize,
}

impl Answer {
    pub(super) fn of(status: u16, kind: &str, body: impl AsRef<[u8]> + Into<Body>) -> Self {
        let Body(body) = body.into();
        let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        // The page is one file and loads nothing from anywhere but its own numbers.
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: default-src 'none'; connect-src 'self'; \
             script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
             Connection: close\r\n\r\n",
            super::reason(status),
            body.len()
        );
        Self { head: head.into_bytes(), body, sent: 0 }
    }

    /// For HEAD.
    pub(super) fn leave_out_body(&mut self) {
        self.body = Rc::default();
    }

    /// What is left to send.
    fn rest(&self) -> &[u8] {
        match self.head.get(self.sent..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => self.body.get(self.sent - self.head.len()..).unwrap_or_default(),
        }
    }
}

/// A body, owned or shared.
pub(super) struct Body(Rc<[u8]>);

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Rc<[u8]>> for Body {
    fn from(bytes: Rc<[u8]>) -> Self {
        Self(bytes)
    }
}

enum State {
    Asking(Vec<u8>),
    Answering(Answer),
    /// All is sent. What the peer still sends is read and dropped: a socket that is closed with
    /// bytes unread takes the answer away from a peer that has not read it yet.
    Leaving,
}

/// A peer.
pub(super) struct Connection {
    stream: TcpStream,
    state: State,
    began: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, state: State::Asking(Vec::new()), began: Instant::now() })
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn wants_write(&self) -> bool {
        matches!(self.state, State::Answering(_))
    }

    /// Goes on as far as the socket allows; whether the connection is to be kept.
    pub(super) fn on_ready(
        &mut self,
        answer: impl FnOnce(Result<Request<'_>, u16>) -> Answer,
    ) -> bool {
        match &mut self.state {
            State::Asking(asked) => {
                let mut bytes = [0; HEAD_BYTES_MAX];
                let room = HEAD_BYTES_MAX - asked.len().min(HEAD_BYTES_MAX - 1);
                let Some(came) = read(&mut self.stream, &mut bytes[..room]) else { return false };
                asked.extend_from_slice(bytes.get(..came).unwrap_or_default());
                if let Some(request) = request::read(asked) {
                    self.state = State::Answering(answer(request));
                    return self.send();
                }
                true
            }
            State::Answering(_) => self.send(),
            State::Leaving => read(&mut self.stream, &mut [0; HEAD_BYTES_MAX]).is_some(),
        }
    }

    fn send(&mut self) -> bool {
        let State::Answering(answer) = &mut self.state else { return true };
        while !answer.rest().is_empty() {
            match self.stream.write(answer.rest()) {
                Ok(0) => return false,
                Ok(sent) => answer.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.state = State::Leaving;
        self.stream.shutdown(Shutdown::Write).is_ok()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Reads once; how much came, `None` when the peer has gone.
fn read(stream: &mut TcpStream, bytes: &mut [u8]) -> Option<usize> {
    match stream.read(bytes) {
        Ok(0) => None,
        Ok(came) => Some(came),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Some(0)
        }
        Err(_) => None,
    }
}
