//! One account as a line of JSON.

use didindex::{DidIndex, Period};
use keys::PublicKey;
use serde::Serialize;

use cli::Text;
use lines::rfc3339_ms;

/// What the index says about an account.
#[derive(Serialize)]
struct Answer<'a> {
    did: &'a str,
    status: &'static str,
    /// The present signing key, a did:key.
    key: Option<String>,
    /// Canonical host name.
    pds: Option<&'a str>,
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

#[derive(Serialize)]
struct Unknown<'a> {
    did: &'a str,
    status: &'static str,
}

/// Prints what the index says about a DID, and says whether that was anything.
pub(crate) fn put(index: &DidIndex, did: &str, out: &mut Text<'_>) -> anyhow::Result<bool> {
    let Some(entry) = index.get(did) else {
        out.object(&Unknown { did, status: "unknown" })?;
        return Ok(false);
    };
    out.object(&Answer {
        did,
        status: entry.status().name(),
        key: key(entry.key()),
        pds: entry.pds(),
        history: entry.history().map(period).collect(),
    })?;
    Ok(true)
}

fn period(period: Period) -> Key {
    let from = if period.from_ms == 0 { None } else { rfc3339_ms(period.from_ms) };
    let status = period.key.is_none().then(|| period.status.name());
    Key { from, key: key(period.key), status }
}

fn key(bytes: Option<[u8; keys::KEY_BYTES]>) -> Option<String> {
    PublicKey::from_bytes(&bytes?).ok().map(|key| key.to_did_key())
}
