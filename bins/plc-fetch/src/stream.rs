//! The streaming export: `/export/stream?cursor=N` over a WebSocket, one operation a message.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::ws::{Connection, Limits, Message, Progress, Scratch};
use net::{Endpoint, Error};
use nix::poll::PollFlags;
use rustls::ClientConfig;

use crate::ask::Asker;
use crate::wait::{Wait, Woke};

/// Longest operation that is taken; the directory allows some thousand bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A connection that is silent so long is asked whether it is alive, and given up after that time
/// again.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// As much as is handed on at a time.
const BATCH_BYTES: usize = 1 << 20;

/// Why a stream came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// A signal came.
    Stopped,
    /// The cursor is further back than the stream reaches.
    Outdated,
    /// The directory has no such number yet.
    Future,
    /// There is no such stream.
    Missing,
    /// It broke, is away, or had enough of us; with a time to come again if one was named.
    Broken(anyhow::Error, Option<Duration>),
}

/// Where the stream is.
pub(crate) struct Source {
    endpoint: Endpoint,
    /// Path of the directory, without a slash at its end.
    base: String,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Source {
    /// The stream of the directory of this URL.
    pub(crate) fn new(url: &str, tls: Arc<ClientConfig>, timeout: Duration) -> Result<Self, Error> {
        let authority = url.find("://").map_or(0, |at| at + 3);
        let rest = url.get(authority..).unwrap_or_default();
        let end = authority + rest.find('/').unwrap_or(rest.len());
        let (host, base) = url.split_at_checked(end).unwrap_or((url, ""));
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { endpoint: host.parse()?, base, tls, timeout })
    }

    /// Takes operations behind a number until the stream ends. They are handed on as lines, some
    /// at a time: what has come is handed on before anything is waited for.
    pub(crate) fn run(
        &self,
        cursor: u64,
        asker: &mut Asker,
        wait: Wait<'_>,
        mut hand_on: impl FnMut(Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<End> {
        let addresses = match asker.resolve(&self.endpoint, wait)? {
            None => return Ok(End::Stopped),
            Some(Err(error)) => return broken(error),
            Some(Ok(addresses)) => addresses,
        };
        let Some(address) = addresses.first() else { return broken(Error::Cut) };
        let path = format!("{}/export/stream?cursor={cursor}", self.base);
        let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() };
        let mut connection =
            match Connection::start(&self.endpoint, *address, &path, &self.tls, limits) {
                Ok(connection) => connection,
                Err(error) => return broken(error),
            };
        let mut scratch = Scratch::new();
        let mut batch = Vec::new();
        let mut heard = Instant::now();
        let mut pinged = false;
        loop {
            if !connection.holds_data() {
                if !batch.is_empty() {
                    hand_on(std::mem::take(&mut batch))?;
                }
                let open = connection.is_open();
                let silence = if open { SILENCE_MAX } else { self.timeout };
                let until = heard + if pinged { silence * 2 } else { silence };
                let mut flags = PollFlags::empty();
                let interest = connection.interest();
                flags.set(PollFlags::POLLIN, interest.read);
                flags.set(PollFlags::POLLOUT, interest.write);
                match wait.until(Some((connection.as_fd(), flags)), Some(until))? {
                    Woke::Ready => {}
                    Woke::Late if open && !pinged => {
                        connection.ping();
                        pinged = true;
                        continue;
                    }
                    Woke::Late => return broken(Error::Timeout),
                    Woke::Stopped => {
                        connection.close();
                        return Ok(End::Stopped);
                    }
                }
            }
            let count = match connection.on_ready(&mut scratch) {
                Ok(Progress::Waiting) => continue,
                Ok(Progress::Opened(count) | Progress::Read(count)) => count,
                Err(error) => {
                    hand_on(batch)?;
                    return broken(error);
                }
            };
            (heard, pinged) = (Instant::now(), false);
            let mut input = scratch.bytes(count);
            let ended = loop {
                match connection.next(&mut input) {
                    Ok(None) => break None,
                    Ok(Some(Message::Text(line) | Message::Binary(line))) => {
                        batch.extend_from_slice(line);
                        batch.push(b'\n');
                    }
                    Ok(Some(Message::TooLong { bytes, .. })) => {
                        let error = anyhow::anyhow!("an operation of {bytes} bytes");
                        break Some(End::Broken(error, None));
                    }
                    Ok(Some(Message::Close { reason, .. })) => break Some(closed(reason)),
                    Ok(Some(_)) => {}
                    Err(error) => break Some(End::Broken(error.into(), None)),
                }
            };
            if let Some(ended) = ended {
                hand_on(batch)?;
                return Ok(ended);
            }
            if batch.len() > BATCH_BYTES {
                hand_on(std::mem::take(&mut batch))?;
            }
        }
    }
}

fn closed(reason: &[u8]) -> End {
    match reason {
        b"OutdatedCursor" => End::Outdated,
        b"FutureCursor" => End::Future,
        // `ConsumerTooSlow`, a restart, a balancer: all the same from here.
        reason => {
            let reason: String = String::from_utf8_lossy(reason).chars().take(100).collect();
            End::Broken(anyhow::anyhow!("the stream was closed: {reason:?}"), None)
        }
    }
}

fn broken(error: Error) -> anyhow::Result<End> {
    Ok(match error {
        Error::Status { status: 429, retry_after, .. } => {
            End::Broken(anyhow::anyhow!("status 429"), retry_after)
        }
        Error::Status { status: 400..=499 | 501, .. } | Error::Upgrade(_) => End::Missing,
        Error::Status { retry_after, .. } => End::Broken(error.into(), retry_after),
        // A certificate that is no good stays so.
        Error::Private { .. } | Error::ServerName { .. } => return Err(error.into()),
        error => End::Broken(error.into(), None),
    })
}
