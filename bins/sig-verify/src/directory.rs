//! What directories answer with: DID documents and audit logs, as bytes.

use diddoc::{Document, SigningKey};
use didindex::{Key, Period, PlcDid};
use keys::PublicKey;
use plc::{Operation, chain};

use crate::identity::Identity;

/// How many keys of an account are remembered; of more, the latest.
const PERIODS_MAX: usize = 64;

/// Reads the DID document of `did`; `None` if it is none, or another's.
pub(crate) fn document(did: &str, body: &[u8]) -> Option<Identity> {
    let document = Document::read(did, body).ok()?;
    let key = match document.key {
        SigningKey::Known(key) => Key::Known(key.to_bytes()),
        SigningKey::Unknown => Key::UnknownType,
        SigningKey::Missing => Key::Missing,
    };
    Some(Identity { key, pds: document.pds.as_deref().and_then(pds_of), periods: Vec::new() })
}

/// Whether this is a document that says whose it is, and it is another's.
pub(crate) fn is_anothers(did: &str, body: &[u8]) -> bool {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    document.is_some_and(|it| it.get("id").and_then(|id| id.as_str()).is_some_and(|id| id != did))
}

/// Reads an audit log of `did`, as `/DID/log/audit` gives it; `None` if it is none, or another's.
pub(crate) fn log(did: &str, body: &[u8]) -> Option<Identity> {
    let did = PlcDid::parse(did)?;
    let operations = Operation::parse_log(body).ok()?;
    if operations.iter().any(|operation| operation.did != did) {
        return None;
    }
    let valid = chain::valid(&operations).valid;
    let mut valid = valid.iter().filter_map(|place| operations.get(*place));
    let mut periods: Vec<Period> =
        valid.clone().map(|operation| Period::new(operation.created_ms, key(operation))).collect();
    periods.dedup_by(|next, before| (next.key, next.status) == (before.key, before.status));
    periods.drain(..periods.len().saturating_sub(PERIODS_MAX));
    let last = valid.next_back()?;
    let pds = if last.tombstone { None } else { last.pds.as_deref().and_then(pds_of) };
    Some(Identity { key: key(last), pds, periods })
}

/// What a tombstone leaves.
pub(crate) fn tombstone() -> Identity {
    Identity { key: Key::Tombstone, pds: None, periods: Vec::new() }
}

fn key(operation: &Operation<'_>) -> Key {
    match &operation.key {
        _ if operation.tombstone => Key::Tombstone,
        None => Key::Missing,
        Some(text) => match PublicKey::from_did_key(text) {
            Ok(key) => Key::Known(key.to_bytes()),
            Err(_) => Key::UnknownType,
        },
    }
}

fn pds_of(endpoint: &str) -> Option<Box<str>> {
    net::canonical_host(endpoint).ok().map(Box::from)
}

#[cfg(test)]
mod tests;
