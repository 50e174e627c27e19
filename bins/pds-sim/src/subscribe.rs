//! `com.atproto.sync.subscribeRepos`: the events of a host, from a cursor on, to one subscriber.
//!
//! A subscriber that reads slowly is waited for. Events are written in batches and flushed when
//! there are no more for the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, SinkExt};
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use crate::events;
use crate::host::Host;
use crate::log::Join;
use crate::serve::Peer;
use crate::stats::Stats;
use crate::xrpc::Refusal;

/// Most events, and about as many bytes, that are written between two looks at the socket.
const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Buffers of a connection: small, for there may be thousands of them.
const READ_BUFFER_BYTES: usize = 4 << 10;
const WRITE_BUFFER_BYTES: usize = 32 << 10;
/// Subscribers send nothing but pongs and closes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// What all subscriptions share.
pub struct Hub {
    /// Counts.
    pub stats: Arc<Stats>,
    /// Hosts that ever had a subscriber.
    pub met: watch::Sender<usize>,
    /// Told each time a subscriber goes.
    pub gone: Notify,
    /// Connections are reset after so many events.
    pub drop_every: Option<u64>,
    /// Pause between pings to a subscriber that is told nothing.
    pub ping: Option<Duration>,
    /// Number of the next subscriber.
    pub next_id: AtomicU64,
}

/// Query of the request.
#[derive(Deserialize)]
pub struct Params {
    cursor: Option<i64>,
}

/// Answers the request to subscribe.
pub async fn subscribe(
    State(hub): State<Arc<Hub>>,
    Extension(peer): Extension<Peer>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(Query(params)) = params else {
        return Refusal::invalid("Error: cursor must be an integer").into_response();
    };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| run(hub, peer, params.cursor, socket))
}

/// How a subscription ended.
enum End {
    /// The subscriber went, having been sent everything up to this position.
    Left(u64),
    /// We broke it.
    Cut,
    /// It cannot be served.
    Refused,
}

async fn run(hub: Arc<Hub>, peer: Peer, cursor: Option<i64>, mut socket: WebSocket) {
    let host = Arc::clone(&peer.host);
    let id = hub.next_id.fetch_add(1, Ordering::Relaxed);
    // Holds the window still until the position is known.
    host.subscriber(id, Some(0));
    hub.stats.subscriptions.add(1);
    let restarts = host.log.restarts();
    let join = host.log.join(cursor);
    // Only after it has joined may the events begin for which it was waited.
    if host.subscribed.fetch_add(1, Ordering::Relaxed) == 0 {
        hub.met.send_modify(|hosts| *hosts += 1);
    }
    let end = feed(&hub, &peer, id, (join, restarts), &mut socket).await;
    match end {
        Ok(End::Left(position)) => host.delivered(position),
        Ok(End::Cut) => hub.stats.resets.add(1),
        Ok(End::Refused) | Err(_) => {}
    }
    drop(socket);
    host.subscriber(id, None);
    hub.gone.notify_waiters();
}

async fn feed(
    hub: &Hub,
    peer: &Peer,
    id: u64,
    (join, restarts): (Join, u64),
    socket: &mut WebSocket,
) -> Result<End> {
    let host: &Host = &peer.host;
    let mut end = host.log.end();
    let mut position = match join {
        Join::At(position) => position,
        Join::Outdated(position) => {
            let text = "Requested cursor exceeded limit. Possibly missing events";
            socket.send(Message::Binary(events::info("OutdatedCursor", text)?)).await?;
            position
        }
        Join::Future => {
            let error = events::error("FutureCursor", "Cursor in the future.")?;
            socket.send(Message::Binary(error)).await?;
            let close = CloseFrame { code: 1008, reason: "FutureCursor".into() };
            socket.send(Message::Close(Some(close))).await?;
            return Ok(End::Refused);
        }
    };
    host.subscriber(id, Some(position));
    let mut sent = 0;
    let mut batch = Vec::with_capacity(BATCH_EVENTS);
    loop {
        end.borrow_and_update();
        if host.log.restarts() != restarts {
            peer.switch.cut();
            return Ok(End::Cut);
        }
        let left = hub.drop_every.map_or(u64::MAX, |every| every - sent);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH_EVENTS);
        position = host.log.read(position, count, BATCH_BYTES, &mut batch);
        if batch.is_empty() {
            socket.flush().await?;
            host.subscriber(id, Some(position));
            if !idle(hub, &mut end, socket).await? {
                return Ok(End::Left(position));
            }
            continue;
        }
        sent += batch.len() as u64;
        let mut bytes = 0;
        for event in batch.drain(..) {
            bytes += event.len() as u64;
            hub.stats.events_sent.add(1);
            socket.feed(Message::Binary(event)).await?;
        }
        hub.stats.bytes_sent.add(bytes);
        if hub.drop_every.is_some_and(|every| sent >= every) {
            socket.flush().await?;
            peer.switch.cut();
            return Ok(End::Cut);
        }
        let up_to_date = position == *end.borrow();
        if up_to_date {
            socket.flush().await?;
        }
        host.subscriber(id, Some(position));
        // A look at what the subscriber has to say, without waiting for it.
        while let Some(said) = socket.recv().now_or_never() {
            if has_left(said) {
                // What is written and not flushed did not arrive.
                return Ok(if up_to_date { End::Left(position) } else { End::Refused });
            }
        }
    }
}

/// Waits for events. False when the subscriber went.
async fn idle(hub: &Hub, end: &mut watch::Receiver<u64>, socket: &mut WebSocket) -> Result<bool> {
    let pause = hub.ping.unwrap_or(Duration::from_secs(3600));
    loop {
        tokio::select! {
            moved = end.changed() => return Ok(moved.is_ok()),
            said = socket.recv() => {
                if has_left(said) {
                    return Ok(false);
                }
            }
            () = tokio::time::sleep(pause), if hub.ping.is_some() => {
                socket.send(Message::Ping(Default::default())).await?;
            }
        }
    }
}

fn has_left(said: Option<Result<Message, axum::Error>>) -> bool {
    !matches!(said, Some(Ok(message)) if !matches!(message, Message::Close(_)))
}
