//! The directory's streaming export: operations by number, one a message, over a WebSocket.
//!
//! Like the official server's it is closed with the reason `OutdatedCursor` when the cursor is
//! further back than it reaches, `FutureCursor` when there is no such number yet, and
//! `ConsumerTooSlow` when a reader that was up to date falls too far behind.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt;
use serde::Deserialize;

use crate::plc::Join;
use crate::plc_http::{Served, refusal};

/// Operations that are written between two looks at the socket.
const BATCH: usize = 256;

/// A reader that was up to date may fall so many operations behind.
const BEHIND_MAX: usize = 500;

#[derive(Deserialize)]
pub struct Params {
    cursor: Option<u64>,
}

/// Answers the request for the stream.
pub async fn export(
    State(served): State<Arc<Served>>,
    params: Result<Query<Params>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if served.manner.old {
        return refusal(StatusCode::NOT_FOUND, "DID not registered: export");
    }
    let Ok(upgrade) = upgrade else {
        return refusal(StatusCode::UPGRADE_REQUIRED, "upgrade required");
    };
    match params {
        Ok(Query(params)) => upgrade
            .on_upgrade(move |socket| async move {
                // A reader that goes is nothing to speak of.
                let _ = run(&served, params.cursor, socket).await;
            })
            .into_response(),
        Err(_) => refusal(StatusCode::BAD_REQUEST, "Invalid cursor parameter"),
    }
}

async fn run(
    served: &Served,
    cursor: Option<u64>,
    mut socket: WebSocket,
) -> Result<(), axum::Error> {
    let mut grown = served.directory.grown();
    let mut place = match served.directory.join(cursor, served.manner.window) {
        Join::At(place) => place,
        Join::Outdated => return close(socket, "OutdatedCursor").await,
        Join::Future => return close(socket, "FutureCursor").await,
    };
    served.stats.plc_streams.add(1);
    let mut caught_up = false;
    let mut left = served.manner.drop_every.unwrap_or(u64::MAX);
    loop {
        let end = *grown.borrow_and_update();
        if caught_up && end - place > BEHIND_MAX {
            return close(socket, "ConsumerTooSlow").await;
        }
        let count = BATCH.min(usize::try_from(left).unwrap_or(usize::MAX));
        let messages = served.directory.messages(place, count);
        place += messages.len();
        left -= messages.len() as u64;
        served.stats.plc_streamed.add(messages.len() as u64);
        for message in messages {
            socket.feed(Message::Text(message.into())).await?;
        }
        socket.flush().await?;
        if left == 0 {
            // Without a word.
            return Ok(());
        }
        if place < *grown.borrow() {
            continue;
        }
        caught_up = true;
        tokio::select! {
            more = grown.changed() => if more.is_err() { return Ok(()) },
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
}

async fn close(mut socket: WebSocket, reason: &'static str) -> Result<(), axum::Error> {
    let frame = CloseFrame { code: 1000, reason: reason.into() };
    socket.send(Message::Close(Some(frame))).await?;
    // Until the other side has read it.
    while let Some(Ok(_)) = socket.recv().await {}
    Ok(())
}
