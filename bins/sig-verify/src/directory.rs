//! What directories answer with: DID documents and audit logs, as bytes.

use atproto::syntax;
use didindex::{Key, Period, PlcDid};
use keys::PublicKey;
use plc::{Operation, chain};
use serde_json::Value;

use crate::identity::Identity;

/// How many keys of an account are remembered; of more, the latest.
const PERIODS_MAX: usize = 64;

/// Reads the DID document of `did`; `None` if it is none, or another's.
///
/// Taken are the first verification method `#atproto` (as a full or a relative id) of the three
/// types in use, and the first service `#atproto_pds` of its type.
pub(crate) fn document(did: &str, body: &[u8]) -> Option<Identity> {
    let document: Value = serde_json::from_slice(body).ok()?;
    if document.get("id")?.as_str()? != did {
        return None;
    }
    let method = find(&document, did, "verificationMethod", "#atproto");
    let service = find(&document, did, "service", "#atproto_pds");
    let text = |value: Option<&Value>, name: &str| -> Option<String> {
        value?.get(name)?.as_str().map(str::to_owned)
    };
    let key = match (method, text(method, "type"), text(method, "publicKeyMultibase")) {
        (None, ..) => Key::Missing,
        (_, Some(kind), Some(multibase)) => {
            key_of(PublicKey::from_verification_method(&kind, &multibase))
        }
        _ => Key::UnknownType,
    };
    let endpoint = text(service, "serviceEndpoint")
        .filter(|_| text(service, "type").as_deref() == Some("AtprotoPersonalDataServer"));
    Some(Identity { key, pds: endpoint.as_deref().and_then(pds_of), periods: Vec::new() })
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

/// Where the document of a did:web lies: a host name and nothing else. With `allow_private`,
/// `localhost%3APORT` too, without TLS, as other implementations have it for tests.
pub(crate) fn web_url(did: &str, allow_private: bool) -> Option<String> {
    let name = did.strip_prefix("did:web:").filter(|_| syntax::is_did(did))?;
    let (scheme, host) = match name.strip_prefix("localhost%3A") {
        Some(port) if allow_private => ("http", format!("localhost:{}", port.parse::<u16>().ok()?)),
        _ if name.contains('.') => ("https", name.to_owned()),
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    if !host.bytes().all(plain) || (scheme == "https" && host.contains(':')) {
        return None;
    }
    Some(format!("{scheme}://{host}/.well-known/did.json"))
}

fn find<'a>(document: &'a Value, did: &str, list: &str, id: &str) -> Option<&'a Value> {
    document.get(list)?.as_array()?.iter().find(|entry| {
        let named = entry.get("id").and_then(Value::as_str).unwrap_or_default();
        named.strip_prefix(did).unwrap_or(named) == id
    })
}

fn key(operation: &Operation<'_>) -> Key {
    match &operation.key {
        _ if operation.tombstone => Key::Tombstone,
        None => Key::Missing,
        Some(text) => key_of(PublicKey::from_did_key(text)),
    }
}

fn key_of(key: Result<PublicKey, keys::Error>) -> Key {
    key.map_or(Key::UnknownType, |key| Key::Known(key.to_bytes()))
}

fn pds_of(endpoint: &str) -> Option<Box<str>> {
    net::canonical_host(endpoint).ok().map(Box::from)
}

#[cfg(test)]
mod tests;
