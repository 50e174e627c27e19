//! The small HTTP server of `--listen`: one thread, one wait, everything bounded.
//!
//! | path | what |
//! |---|---|
//! | `/` | a page for people, with curves |
//! | `/status.json` | what that page draws |
//! | `/metrics` | for Prometheus |
//! | `/healthz` | 200 or 503, and the reason |
//!
//! It reads and tells, and takes no orders. What comes from outside is one request head of at most
//! 8 KiB; a connection is served once and closed; a connection that takes too long, or the oldest
//! one where there are too many, is cut off.

mod connection;
mod request;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::connection::{Answer, Connection};
use self::request::{Method, Request};

/// Connections at one time.
const CONNECTIONS_MAX: usize = 64;
/// Connections taken before those that are there have their turn.
const ACCEPTS_MAX: usize = 16;
/// From connect to the last byte of the answer taken.
const TIME_MAX: Duration = Duration::from_secs(20);

const STATUS_PAGE: &str = include_str!("serve/status.html");

const TEXT: &str = "text/plain; charset=utf-8";

/// What is told, made when it is first asked for after a look.
pub(crate) trait Told {
    /// Text for Prometheus.
    fn metrics(&self) -> String;
    /// JSON for the page.
    fn status(&self) -> anyhow::Result<Vec<u8>>;
    /// Whether all is well, and why.
    fn health(&self) -> (bool, String);
}

/// The server.
pub(crate) struct Server {
    listener: TcpListener,
    connections: Vec<Connection>,
    metrics: Option<Rc<[u8]>>,
    status: Option<Rc<[u8]>>,
}

impl Server {
    /// Listens there.
    pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("{address}: name another address with --listen"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connections: Vec::new(), metrics: None, status: None })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until that time; `true` when a signal asked for the end.
    pub(crate) fn serve(
        &mut self,
        told: &impl Told,
        until: Instant,
        stop: BorrowedFd<'_>,
    ) -> io::Result<bool> {
        (self.metrics, self.status) = (None, None);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let ready = self.wait(left, stop)?;
            if ready.stop {
                return Ok(true);
            }
            let mut connections = std::mem::take(&mut self.connections);
            let mut ready_now = ready.connections.into_iter();
            connections.retain_mut(|connection| {
                let is_ready = ready_now.next().unwrap_or(false);
                let goes_on =
                    !is_ready || connection.on_ready(|request| self.answer(told, request));
                goes_on && connection.age() < TIME_MAX
            });
            self.connections = connections;
            if ready.listener {
                self.accept();
            }
        }
    }

    fn wait(&self, time: Duration, stop: BorrowedFd<'_>) -> io::Result<Ready> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(stop, PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        fds.extend(self.connections.iter().map(|connection| {
            let flags = if connection.wants_write() { PollFlags::OUT } else { PollFlags::IN };
            PollFd::from_borrowed_fd(connection.as_fd(), flags)
        }));
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&time)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            stop: ready.next().unwrap_or(false),
            listener: ready.next().unwrap_or(false),
            connections: ready.collect(),
        })
    }

    /// Takes new connections. Where there are too many, the oldest makes room.
    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if self.connections.len() >= CONNECTIONS_MAX {
                        self.connections.remove(0);
                    }
                    self.connections.extend(Connection::new(stream).ok());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Without descriptors for it, it would be ready for ever.
                    if error.kind() != ErrorKind::WouldBlock && !self.connections.is_empty() {
                        self.connections.remove(0);
                    }
                    return;
                }
            }
        }
    }

    fn answer(&mut self, told: &impl Told, request: Result<Request<'_>, u16>) -> Answer {
        let request = match request {
            Ok(request) => request,
            Err(status) => return Answer::of(status, TEXT, format!("{}\n", reason(status))),
        };
        let mut answer = match request.path {
            "/" => Answer::of(200, "text/html; charset=utf-8", STATUS_PAGE),
            "/status.json" => match self.status(told) {
                Some(body) => Answer::of(200, "application/json", body),
                None => Answer::of(500, TEXT, "no status can be told\n"),
            },
            "/metrics" => {
                let metrics =
                    self.metrics.get_or_insert_with(|| told.metrics().into_bytes().into());
                Answer::of(200, "text/plain; version=0.0.4; charset=utf-8", Rc::clone(metrics))
            }
            "/healthz" => {
                let (is_well, why) = told.health();
                Answer::of(if is_well { 200 } else { 503 }, TEXT, format!("{why}\n"))
            }
            _ => Answer::of(404, TEXT, "there are /, /status.json, /metrics and /healthz\n"),
        };
        if request.method == Method::Head {
            answer.leave_out_body();
        }
        answer
    }

    fn status(&mut self, told: &impl Told) -> Option<Rc<[u8]>> {
        if self.status.is_none() {
            self.status = Some(told.status().ok()?.into());
        }
        self.status.clone()
    }
}

/// What there is to do.
#[derive(Default)]
struct Ready {
    stop: bool,
    listener: bool,
    connections: Vec<bool>,
}

/// A status in words (RFC 9110).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}
