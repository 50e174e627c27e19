//! What a host answers besides its events: its accounts, their repositories, itself.

use std::sync::{Arc, PoisonError};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::host::{Account, Host, Summary};
use crate::serve::Peer;
use crate::subscribe::{Hub, subscribe};

/// An XRPC error.
pub struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl Refusal {
    /// A request that does not say what it must.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidRequest", message)
    }

    fn new(error: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, message: message.into() }
    }

    fn no_repo(did: &str) -> Self {
        Self::new("RepoNotFound", format!("Could not find repo for DID: {did}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

/// The router of all hosts.
pub fn hosts(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/xrpc/com.atproto.sync.subscribeRepos", get(subscribe))
        .route("/xrpc/com.atproto.sync.listRepos", get(list_repos))
        .route("/xrpc/com.atproto.sync.getRepo", get(get_repo))
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(get_repo_status))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(get_latest_commit))
        .route("/xrpc/com.atproto.server.describeServer", get(describe_server))
        .route("/xrpc/_health", get(health))
        .fallback(unknown)
        .with_state(hub)
}

/// The router of a relay that knows these hosts.
pub fn relay(hosts: Vec<Arc<Host>>) -> Router {
    let named = |response: Response| async {
        let mut response = response;
        let name = header::HeaderValue::from_static("atproto-relay");
        response.headers_mut().insert(header::SERVER, name);
        response
    };
    Router::new()
        .route("/xrpc/com.atproto.sync.listHosts", get(list_hosts))
        .route("/xrpc/_health", get(health))
        .fallback(unknown)
        .with_state(Arc::new(hosts))
        .layer(axum::middleware::map_response(named))
}

async fn unknown() -> Refusal {
    Refusal {
        status: StatusCode::NOT_IMPLEMENTED,
        error: "MethodNotImplemented",
        message: "Method Not Implemented".to_owned(),
    }
}

async fn health() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

async fn describe_server(Extension(peer): Extension<Peer>) -> Json<Value> {
    let name = peer.host.name.replace(':', "%3A");
    Json(json!({
        "did": format!("did:web:{name}"),
        "availableUserDomains": [".test"],
        "inviteCodeRequired": false,
        "links": {},
        "contact": {},
    }))
}

#[derive(Deserialize)]
struct DidParams {
    did: String,
}

type Did = Result<Query<DidParams>, QueryRejection>;

/// The account that a request names.
fn named(peer: &Peer, params: Did) -> Result<(String, Account), Refusal> {
    let Query(params) =
        params.map_err(|_| Refusal::invalid("Error: Params must have the property \"did\""))?;
    let account = peer.host.account(&params.did).ok_or_else(|| Refusal::no_repo(&params.did))?;
    Ok((params.did, account))
}

/// Refuses what is asked of an account that is not served.
fn served(did: &str, summary: &Summary) -> Result<(), Refusal> {
    match summary.status.as_deref() {
        _ if summary.active => Ok(()),
        Some("deactivated") => {
            Err(Refusal::new("RepoDeactivated", format!("Repo has been deactivated: {did}")))
        }
        Some("takendown") => {
            Err(Refusal::new("RepoTakendown", format!("Repo has been takendown: {did}")))
        }
        Some("suspended") => {
            Err(Refusal::new("RepoSuspended", format!("Repo has been suspended: {did}")))
        }
        _ => Err(Refusal::no_repo(did)),
    }
}

async fn get_repo(Extension(peer): Extension<Peer>, params: Did) -> Result<Response, Refusal> {
    let (did, account) = named(&peer, params)?;
    served(&did, &account.summary())?;
    let car = account.car().and_then(Result::ok).ok_or_else(|| Refusal::no_repo(&did))?;
    Ok(([(header::CONTENT_TYPE, "application/vnd.ipld.car")], car).into_response())
}

async fn get_repo_status(
    Extension(peer): Extension<Peer>,
    params: Did,
) -> Result<Json<Value>, Refusal> {
    let (did, account) = named(&peer, params)?;
    let summary = account.summary();
    let mut answer = Map::new();
    answer.insert("did".to_owned(), did.into());
    answer.insert("active".to_owned(), summary.active.into());
    if let Some(status) = summary.status {
        answer.insert("status".to_owned(), status.into());
    }
    if summary.active {
        answer.insert("rev".to_owned(), summary.rev.into());
    }
    Ok(Json(answer.into()))
}

async fn get_latest_commit(
    Extension(peer): Extension<Peer>,
    params: Did,
) -> Result<Json<Value>, Refusal> {
    let (did, account) = named(&peer, params)?;
    let summary = account.summary();
    served(&did, &summary)?;
    Ok(Json(json!({ "cid": summary.head, "rev": summary.rev })))
}

#[derive(Deserialize)]
struct PageParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

type Page = Result<Query<PageParams>, QueryRejection>;

/// The limit and the cursor of a page.
fn page(params: Page, usual: usize) -> Result<(usize, Option<String>), Refusal> {
    let wrong = || Refusal::invalid("Error: limit must be an integer from 1 to 1000");
    let Query(params) = params.map_err(|_| wrong())?;
    match params.limit.unwrap_or(usual) {
        limit @ 1..=1000 => Ok((limit, params.cursor)),
        _ => Err(wrong()),
    }
}

async fn list_repos(
    Extension(peer): Extension<Peer>,
    params: Page,
) -> Result<Json<Value>, Refusal> {
    let (limit, cursor) = page(params, 500)?;
    let accounts = peer.host.accounts.read().unwrap_or_else(PoisonError::into_inner);
    let from = cursor.unwrap_or_default();
    let after = (std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded);
    let mut repos: Vec<Value> = Vec::new();
    let mut last = None;
    for (did, account) in accounts.range(after).take(limit) {
        last = Some(did.clone());
        let summary = account.summary();
        let mut repo = Map::new();
        repo.insert("did".to_owned(), did.as_str().into());
        repo.insert("head".to_owned(), summary.head.into());
        repo.insert("rev".to_owned(), summary.rev.into());
        repo.insert("active".to_owned(), summary.active.into());
        if let Some(status) = summary.status {
            repo.insert("status".to_owned(), status.into());
        }
        repos.push(repo.into());
    }
    let full = repos.len() == limit;
    let mut answer = json!({ "repos": repos });
    if let (Some(last), true) = (last, full) {
        answer["cursor"] = last.into();
    }
    Ok(Json(answer))
}

async fn list_hosts(
    State(hosts): State<Arc<Vec<Arc<Host>>>>,
    params: Page,
) -> Result<Json<Value>, Refusal> {
    let (limit, cursor) = page(params, 200)?;
    let from: usize = match cursor {
        Some(cursor) => cursor.parse().map_err(|_| Refusal::invalid("Error: bad cursor"))?,
        None => 0,
    };
    let list: Vec<Value> = hosts
        .iter()
        .skip(from)
        .take(limit)
        .map(|host| {
            let accounts = host.accounts.read().unwrap_or_else(PoisonError::into_inner).len();
            json!({
                "hostname": host.name,
                "seq": host.log.last_seq(),
                "accountCount": accounts,
                "status": "active",
            })
        })
        .collect();
    let next = from + list.len();
    let mut answer = json!({ "hosts": list });
    if next < hosts.len() {
        answer["cursor"] = next.to_string().into();
    }
    Ok(Json(answer))
}
