//! Who is called what in the network: handles, and the documents of did:web.
//!
//! The name server and the hosts answer from it. A handle is its account's until it takes another;
//! the document of a did:web lies at the host of that name, whatever its handle is by then.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordType};
use serde_json::Value;
use tokio::net::UdpSocket;

use crate::operation::State;
use crate::plc_document::document;

/// Longest question that is read, and longest answer that a client asks for nowadays.
const MESSAGE_BYTES_MAX: usize = 1232;
/// Seconds for which an answer may be kept: this is for tests, so not at all.
const KEEP: u32 = 0;

/// All names, shared by those who give and those who serve them.
#[derive(Default)]
pub struct Names {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Handle to DID.
    handles: HashMap<String, String>,
    /// DID to handle, to find the one that is given up.
    by_did: HashMap<String, String>,
    /// Host name to the document of its did:web.
    documents: HashMap<String, Value>,
}

impl Names {
    /// An account is called by its state from here on, or is gone.
    pub fn set(&self, did: &str, state: Option<&State>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = inner.by_did.remove(did) {
            inner.handles.remove(&old);
        }
        let host = did.strip_prefix("did:web:");
        if let Some(host) = host {
            inner.documents.remove(host);
        }
        let Some(state) = state else { return };
        if let Some(host) = host {
            inner.documents.insert(host.to_owned(), document(did, state));
        }
        let handle = state.also_known_as.first().and_then(|name| name.strip_prefix("at://"));
        if let Some(handle) = handle {
            inner.handles.insert(handle.to_owned(), did.to_owned());
            inner.by_did.insert(did.to_owned(), handle.to_owned());
        }
    }

    fn did(&self, handle: &str) -> Option<String> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.handles.get(handle).cloned()
    }

    fn document(&self, host: &str) -> Option<Value> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.documents.get(host).cloned()
    }
}

/// What hosts answer about the name that they are asked by.
pub fn router(names: std::sync::Arc<Names>) -> Router {
    Router::new()
        .route("/.well-known/atproto-did", get(atproto_did))
        .route("/.well-known/did.json", get(did_json))
        .with_state(names)
}

type Known = Shared<std::sync::Arc<Names>>;

async fn atproto_did(Shared(names): Known, headers: HeaderMap) -> Response {
    match host(&headers).and_then(|host| names.did(&host)) {
        Some(did) => did.into_response(),
        None => (StatusCode::NOT_FOUND, "User not found").into_response(),
    }
}

async fn did_json(Shared(names): Known, headers: HeaderMap) -> Response {
    match host(&headers).and_then(|host| names.document(&host)) {
        Some(document) => Json(document).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The name that a request is to, without its port.
fn host(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(host.split_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase())
}

/// Answers as a name server, for ever: TXT records of handles, and nothing else.
pub async fn serve(socket: UdpSocket, names: std::sync::Arc<Names>) {
    let mut room = [0; MESSAGE_BYTES_MAX];
    loop {
        // An error is about an answer to somebody who has gone.
        let Ok((length, from)) = socket.recv_from(&mut room).await else { continue };
        if let Some(answer) = room.get(..length).and_then(|question| answer(question, &names)) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

fn answer(question: &[u8], names: &Names) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.add_queries(question.queries.clone());
    let [query] = &question.queries[..] else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer.to_vec().ok();
    };
    let name = query.name().to_ascii().to_ascii_lowercase();
    let handle = name.trim_end_matches('.').strip_prefix("_atproto.");
    match handle.and_then(|handle| names.did(handle)) {
        Some(did) if query.query_type() == RecordType::TXT => {
            let text = RData::TXT(TXT::new(vec![format!("did={did}")]));
            answer.add_answer(Record::from_rdata(query.name().clone(), KEEP, text));
        }
        Some(_) => {}
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(handle: &str) -> State {
        State {
            services: Default::default(),
            also_known_as: vec![format!("at://{handle}")],
            rotation_keys: Vec::new(),
            verification_methods: Default::default(),
        }
    }

    #[test]
    fn a_handle_that_is_given_up_names_nobody() {
        let names = Names::default();
        names.set("did:plc:a", Some(&state("a.test")));
        names.set("did:web:b.test", Some(&state("b.test")));
        assert_eq!(names.did("a.test").as_deref(), Some("did:plc:a"));
        assert_eq!(names.document("b.test").unwrap()["id"], "did:web:b.test");
        names.set("did:plc:a", Some(&state("c.test")));
        assert_eq!((names.did("a.test"), names.did("c.test").is_some()), (None, true));
        names.set("did:web:b.test", Some(&state("d.test")));
        assert!(names.did("b.test").is_none() && names.document("b.test").is_some());
        names.set("did:web:b.test", None);
        assert!(names.did("d.test").is_none() && names.document("b.test").is_none());
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let names = Names::default();
        assert_eq!(answer(b"", &names), None);
        assert_eq!(answer(&[0xff; 40], &names), None);
        let empty = Message::query().to_vec().unwrap();
        let answer = Message::from_vec(&answer(&empty, &names).unwrap()).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    }
}
