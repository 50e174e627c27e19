//! The directory's HTTP: export and look-ups, a limit on requests, and outages.

use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::clock::parse_iso;
use crate::host::lock;
use crate::plc::{Directory, Known, data, document};
use crate::stats::Stats;

/// The most lines of one page.
const PAGE_MAX: u64 = 1000;

/// So many requests in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    requests: u64,
    window: Duration,
}

/// A time in which the directory answers nothing, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    from: Duration,
    to: Duration,
}

/// What is wrong with a limit or an outage.
#[derive(Debug)]
pub enum SwitchError {
    /// Not `N/WINDOW`.
    Limit,
    /// Not `START-END`.
    Outage,
}

impl std::fmt::Display for SwitchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Limit => "a limit is REQUESTS/WINDOW, such as 500/300s",
            Self::Outage => "an outage is START-END, such as 5s-12s",
        })
    }
}

impl std::error::Error for SwitchError {}

fn span(text: &str) -> Option<Duration> {
    text.parse::<cli::units::Span>().ok().map(|span| span.0)
}

impl FromStr for Limit {
    type Err = SwitchError;

    fn from_str(text: &str) -> Result<Self, SwitchError> {
        let parts = || {
            let (requests, window) = text.split_once('/')?;
            let limit = Self { requests: requests.parse().ok()?, window: span(window)? };
            (limit.requests > 0 && !limit.window.is_zero()).then_some(limit)
        };
        parts().ok_or(SwitchError::Limit)
    }
}

impl FromStr for Outage {
    type Err = SwitchError;

    fn from_str(text: &str) -> Result<Self, SwitchError> {
        let parts = || {
            let (from, to) = text.split_once('-')?;
            let outage = Self { from: span(from)?, to: span(to)? };
            (outage.from < outage.to).then_some(outage)
        };
        parts().ok_or(SwitchError::Outage)
    }
}

/// A directory that is served.
pub struct Served {
    /// What it knows.
    pub directory: Arc<Directory>,
    /// How many requests it bears.
    pub limit: Option<Limit>,
    /// When it is away.
    pub outage: Option<Outage>,
    /// Counts.
    pub stats: Arc<Stats>,
    started: Instant,
    window: Mutex<(Instant, u64)>,
}

impl Served {
    /// A directory that begins to be served.
    pub fn new(
        directory: Arc<Directory>,
        limit: Option<Limit>,
        outage: Option<Outage>,
        stats: Arc<Stats>,
    ) -> Self {
        let started = Instant::now();
        Self { directory, limit, outage, stats, started, window: Mutex::new((started, 0)) }
    }

    /// Counts a request. How long to wait, if it is one too many.
    fn is_too_much(&self) -> Option<Duration> {
        let limit = self.limit?;
        let mut window = lock(&self.window);
        let (start, count) = &mut *window;
        let now = Instant::now();
        if now.duration_since(*start) >= limit.window {
            (*start, *count) = (now, 0);
        }
        *count += 1;
        (*count > limit.requests).then(|| limit.window - now.duration_since(*start))
    }
}

/// The directory's router.
pub fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/_health", get(health))
        .route("/export", get(export))
        .route("/{did}", get(did_document))
        .route("/{did}/data", get(did_data))
        .route("/{did}/log", get(log))
        .route("/{did}/log/audit", get(audit))
        .route("/{did}/log/last", get(last))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&served), guard))
        .with_state(served)
}

/// Refuses what comes in an outage or above the limit.
async fn guard(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    served.stats.plc_requests.add(1);
    let age = served.started.elapsed();
    if served.outage.is_some_and(|outage| (outage.from..outage.to).contains(&age)) {
        served.stats.plc_outages.add(1);
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    }
    if let Some(wait) = served.is_too_much() {
        served.stats.plc_limited.add(1);
        let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
        let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, "Rate Limit Exceeded");
        if let Ok(seconds) = seconds.parse() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        return response;
    }
    next.run(request).await
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

fn unregistered(did: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("DID not registered: {did}"))
}

async fn health() -> Response {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") })).into_response()
}

#[derive(Deserialize)]
struct ExportParams {
    count: Option<u64>,
    after: Option<String>,
}

async fn export(
    State(served): State<Arc<Served>>,
    params: Result<Query<ExportParams>, QueryRejection>,
) -> Response {
    let wrong = |name| refusal(StatusCode::BAD_REQUEST, &format!("Invalid {name} parameter"));
    let Ok(Query(params)) = params else { return wrong("count") };
    let count = match params.count.unwrap_or(PAGE_MAX) {
        0 => return wrong("count"),
        count => count.min(PAGE_MAX) as usize,
    };
    let after_ms = match params.after.as_deref() {
        None | Some("") => None,
        Some(text) => match parse_iso(text) {
            Some(us) => Some(us / 1000),
            None => return wrong("after"),
        },
    };
    let lines = served.directory.export(after_ms, count);
    ([(header::CONTENT_TYPE, "application/jsonlines")], lines).into_response()
}

async fn did_document(State(served): State<Arc<Served>>, Path(did): Path<String>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/did+ld+json")];
    known(&served, &did, |state| (kind, document(&did, &state).to_string()).into_response())
}

async fn did_data(State(served): State<Arc<Served>>, Path(did): Path<String>) -> Response {
    known(&served, &did, |state| Json(data(&did, &state)).into_response())
}

fn known(
    served: &Served,
    did: &str,
    answer: impl FnOnce(crate::operation::State) -> Response,
) -> Response {
    match served.directory.known(did) {
        Ok(Known::State(state)) => answer(*state),
        Ok(Known::Tombstoned) => refusal(StatusCode::GONE, &format!("DID not available: {did}")),
        Ok(Known::Nothing) => unregistered(did),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

async fn log(State(served): State<Arc<Served>>, Path(did): Path<String>) -> Response {
    json_or_404(served.directory.operations(&did), &did)
}

async fn audit(State(served): State<Arc<Served>>, Path(did): Path<String>) -> Response {
    json_or_404(served.directory.audit(&did), &did)
}

async fn last(State(served): State<Arc<Served>>, Path(did): Path<String>) -> Response {
    json_or_404(served.directory.last(&did), &did)
}

fn json_or_404(body: Option<String>, did: &str) -> Response {
    match body {
        Some(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        None => unregistered(did),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_outages_are_read_with_their_units() {
        let limit = Limit { requests: 500, window: Duration::from_secs(300) };
        assert_eq!("500/300s".parse::<Limit>().unwrap(), limit);
        assert_eq!("500/5m".parse::<Limit>().unwrap(), limit);
        let outage = Outage { from: Duration::from_millis(500), to: Duration::from_secs(2) };
        assert_eq!("500ms-2s".parse::<Outage>().unwrap(), outage);
        for wrong in ["", "5", "0/1s", "5/0s", "x/1s", "5/1y"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
        for wrong in ["", "5", "2s-1s", "1-1", "a-b"] {
            assert!(wrong.parse::<Outage>().is_err(), "{wrong}");
        }
    }
}
