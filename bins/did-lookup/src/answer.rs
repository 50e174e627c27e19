//! One name as a line of JSON.

use diddoc::{Document, Handle, SigningKey};
use didindex::{DidIndex, Entry, Period, Status};
use keys::PublicKey;
use serde::Serialize;

use cli::{Cli, Text};
use lines::rfc3339_ms;

use crate::live::{How, Live, Named};

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is such an account; a handle is its own.
    Known,
    /// There is none, or the index has none.
    Unknown,
    /// A handle that names nobody or is not its account's own, or nobody could be asked.
    Unproved,
}

/// What is said about a DID.
#[derive(Serialize)]
struct OfDid<'a> {
    did: &'a str,
    #[serde(flatten)]
    facts: Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What is said about a handle.
#[derive(Serialize)]
struct OfHandle<'a> {
    handle: &'a str,
    did: Option<&'a str>,
    /// Whether the domain names the DID and the DID's document the handle.
    verified: bool,
    how: Option<How>,
    #[serde(flatten)]
    facts: Option<Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Facts {
    status: &'static str,
    #[serde(flatten)]
    account: Option<Account>,
}

/// An account that is there.
#[derive(Serialize)]
struct Account {
    /// The present signing key, a did:key.
    key: Option<String>,
    /// Canonical host name.
    pds: Option<String>,
    /// Oldest first.
    history: Vec<Key>,
}

/// A key period.
#[derive(Serialize)]
struct Key {
    /// When it began; the index keeps no time for the only key an account ever had.
    from: Option<String>,
    key: Option<String>,
    /// Why there is no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

const UNKNOWN: Facts = Facts { status: "unknown", account: None };
const NO_ANSWER: Facts = Facts { status: "no-answer", account: None };

/// Prints what the index says about a DID.
pub(crate) fn did(index: &DidIndex, did: &str, out: &mut Text<'_>) -> anyhow::Result<Outcome> {
    let facts = index.get(did).map_or(UNKNOWN, indexed);
    let outcome = outcome(&facts);
    out.object(&OfDid { did, facts, error: None })?;
    Ok(outcome)
}

/// Prints that a text names nothing.
pub(crate) fn nothing(text: &str, out: &mut Text<'_>) -> anyhow::Result<Outcome> {
    let error = Some("neither a DID nor a handle".into());
    out.object(&OfDid { did: text, facts: UNKNOWN, error })?;
    Ok(Outcome::Unknown)
}

/// Prints what its host says about a did:web.
pub(crate) fn web(live: &Live<'_>, did: &str, out: &mut Text<'_>) -> anyhow::Result<Outcome> {
    let (facts, error) = match live.document(did) {
        Ok(document) => (document.as_ref().map_or(UNKNOWN, live_facts), None),
        Err(error) => (NO_ANSWER, Some(format!("{error:#}"))),
    };
    let outcome = outcome(&facts);
    out.object(&OfDid { did, facts, error })?;
    Ok(outcome)
}

/// Prints whose a handle is, and what is said about that account.
pub(crate) fn handle(
    index: &DidIndex,
    live: &Live<'_>,
    handle: &Handle,
    cli: &Cli,
    out: &mut Text<'_>,
) -> anyhow::Result<Outcome> {
    let named = match live.resolve(handle) {
        Ok(named) => named,
        Err(error) => return unresolved(handle.as_str(), format!("{error:#}"), out),
    };
    let Named { did, how, doubt } = &named;
    if let Some(doubt) = doubt {
        cli.warn(format_args!("{handle}: {doubt}; {did} counts"));
    }
    let document = live.document(did);
    let error = match &document {
        Ok(Some(Document { handle: Some(own), .. })) if own == handle.as_str() => None,
        Ok(Some(Document { handle: Some(own), .. })) => Some(format!("{did} is at://{own}")),
        Ok(Some(_)) => Some(format!("{did} has no handle")),
        Ok(None) => Some(format!("there is no {did}")),
        Err(error) => Some(format!("{error:#}")),
    };
    let facts = match (&document, diddoc::web::is_web(did)) {
        (_, false) => index.get(did).map_or(UNKNOWN, indexed),
        (Ok(Some(document)), true) => live_facts(document),
        (Ok(None), true) => UNKNOWN,
        (Err(_), true) => NO_ANSWER,
    };
    let verified = error.is_none();
    let outcome = if verified { outcome(&facts) } else { Outcome::Unproved };
    let (did, how, facts) = (Some(did.as_str()), Some(*how), Some(facts));
    out.object(&OfHandle { handle: handle.as_str(), did, verified, how, facts, error })?;
    Ok(outcome)
}

/// Prints why a handle names nobody.
pub(crate) fn unresolved(
    handle: &str,
    error: String,
    out: &mut Text<'_>,
) -> anyhow::Result<Outcome> {
    let error = Some(error);
    let nobody = OfHandle { handle, did: None, verified: false, how: None, facts: None, error };
    out.object(&nobody)?;
    Ok(Outcome::Unproved)
}

fn outcome(facts: &Facts) -> Outcome {
    match (&facts.account, facts.status) {
        (Some(_), _) => Outcome::Known,
        (None, "unknown") => Outcome::Unknown,
        (None, _) => Outcome::Unproved,
    }
}

/// What the index says about an account.
fn indexed(entry: Entry<'_>) -> Facts {
    Facts {
        status: entry.status().name(),
        account: Some(Account {
            key: did_key(entry.key()),
            pds: entry.pds().map(str::to_owned),
            history: entry.history().map(period).collect(),
        }),
    }
}

fn period(period: Period) -> Key {
    let from = if period.from_ms == 0 { None } else { rfc3339_ms(period.from_ms) };
    let status = period.key.is_none().then(|| period.status.name());
    Key { from, key: did_key(period.key), status }
}

fn did_key(bytes: Option<[u8; keys::KEY_BYTES]>) -> Option<String> {
    PublicKey::from_bytes(&bytes?).ok().map(|key| key.to_did_key())
}

/// What a document says about an account: a did:web has only its present key.
fn live_facts(document: &Document) -> Facts {
    let pds = document.pds.as_deref().and_then(|url| net::canonical_host(url).ok());
    let (key, status) = match document.key {
        SigningKey::Known(key) if pds.is_some() => (Some(key), Status::Active),
        SigningKey::Known(key) => (Some(key), Status::NoPds),
        SigningKey::Unknown => (None, Status::UnknownKeyType),
        SigningKey::Missing => (None, Status::NoKey),
    };
    let key = key.map(|key| key.to_did_key());
    let reason = key.is_none().then(|| status.name());
    let history = vec![Key { from: None, key: key.clone(), status: reason }];
    Facts { status: status.name(), account: Some(Account { key, pds, history }) }
}
