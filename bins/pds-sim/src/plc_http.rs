//! The directory's HTTP: export and look-ups, a limit on requests, and outages.

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

use crate::clock::{now_us, parse_iso};
use crate::host::lock;
use crate::plc::{Directory, Known};
use crate::plc_document::{data, document};
use crate::plc_limit::{Limits, Meter, Outage, RetryAfter};
use crate::plc_stream;
use crate::stats::Stats;

/// How a directory is served.
#[derive(Clone, Debug)]
pub struct Manner {
    /// How many requests it bears.
    pub limits: Option<Limits>,
    /// How it says when to come again.
    pub retry_after: RetryAfter,
    /// It says in each answer what its limit is.
    pub headers: bool,
    /// When it is away.
    pub outage: Option<Outage>,
    /// It knows no numbers and no stream.
    pub old: bool,
    /// The most lines of one page.
    pub page: u64,
    /// How many operations the stream reaches back over.
    pub window: Option<usize>,
    /// The stream is broken after so many operations.
    pub drop_every: Option<u64>,
}

/// A directory that is served.
pub struct Served {
    /// What it knows.
    pub directory: Arc<Directory>,
    /// How it is served.
    pub manner: Manner,
    /// Counts.
    pub stats: Arc<Stats>,
    started: Instant,
    meter: Option<Mutex<Meter>>,
}

impl Served {
    /// A directory that begins to be served.
    pub fn new(directory: Arc<Directory>, manner: Manner, stats: Arc<Stats>) -> Self {
        let meter = manner.limits.clone().map(|limits| Mutex::new(Meter::new(limits)));
        Self { directory, manner, stats, started: Instant::now(), meter }
    }
}

/// The directory's router.
pub fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/_health", get(health))
        .route("/export", get(export))
        .route("/export/stream", get(plc_stream::export))
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
    if served.manner.outage.is_some_and(|outage| outage.is_at(served.started.elapsed())) {
        served.stats.plc_outages.add(1);
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    }
    let reading = served.meter.as_ref().and_then(|meter| lock(meter).count(Instant::now()));
    let refused = reading.is_some_and(|reading| reading.remaining.is_none());
    let mut response = if refused {
        served.stats.plc_limited.add(1);
        refusal(StatusCode::TOO_MANY_REQUESTS, "Rate Limit Exceeded")
    } else {
        next.run(request).await
    };
    let Some(reading) = reading else { return response };
    let seconds = reading.reset.as_millis().div_ceil(1000).max(1);
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    };
    match served.manner.retry_after {
        RetryAfter::Seconds if refused => put("retry-after", seconds.to_string()),
        RetryAfter::Date if refused => put("retry-after", http_date(reading.reset)),
        _ => {}
    }
    if served.manner.headers {
        put("ratelimit-limit", reading.limit.requests.to_string());
        put("ratelimit-remaining", reading.remaining.unwrap_or(0).to_string());
        put("ratelimit-reset", seconds.to_string());
        let window = reading.limit.window.as_secs().max(1);
        put("ratelimit-policy", format!("{};w={window}", reading.limit.requests));
    }
    response
}

/// The whole second by which a time from now is over, as HTTP writes it.
fn http_date(after: Duration) -> String {
    let at_us = now_us() + u64::try_from(after.as_micros()).unwrap_or(0);
    let seconds = i64::try_from(at_us.div_ceil(1_000_000)).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(crate) fn refusal(status: StatusCode, message: &str) -> Response {
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
    let count = match params.count {
        Some(0) => return wrong("count"),
        count => count.unwrap_or(u64::MAX).min(served.manner.page) as usize,
    };
    let after = params.after.as_deref().unwrap_or_default();
    let number = after.parse::<u64>().ok().filter(|_| after.bytes().all(|b| b.is_ascii_digit()));
    let lines = match number {
        Some(seq) if !served.manner.old => served.directory.export_numbered(seq, count),
        Some(year) => match old_date_ms(year) {
            Some(after_ms) => served.directory.export(Some(after_ms), count),
            None => return wrong("after"),
        },
        None if after.is_empty() => served.directory.export(None, count),
        None => match parse_iso(after) {
            Some(us) => served.directory.export(Some(us / 1000), count),
            None => return wrong("after"),
        },
    };
    ([(header::CONTENT_TYPE, "application/jsonlines")], lines).into_response()
}

/// What a directory that knows no numbers takes one for: JavaScript's `new Date` reads 0 as the
/// year 2000 and four digits as that year.
fn old_date_ms(number: u64) -> Option<u64> {
    let year = match number {
        0 => 2000,
        1000..=9999 => number,
        _ => return None,
    };
    Some(parse_iso(&format!("{year:04}-01-01T00:00:00Z")).unwrap_or(0) / 1000)
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
