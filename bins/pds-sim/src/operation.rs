//! Operations of the PLC directory: made, signed, named, and understood when they were made by
//! others.
//!
//! The signature (base64url without padding) is over the DAG-CBOR of the operation without `sig`;
//! the CID is of the DAG-CBOR with it; a DID is `did:plc:` and the first 24 characters of the
//! base32 of the genesis operation's SHA-256.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ipld_core::cid::Cid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::block::cid_of;
use crate::key::Key;

/// Where an account is served, or another service of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `AtprotoPersonalDataServer` for a host.
    #[serde(rename = "type")]
    pub kind: String,
    /// URL.
    pub endpoint: String,
}

/// What an operation says of a DID. Fields in the order in which the directory stores them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// `at://` and the handle.
    pub also_known_as: Vec<String>,
    /// Keys that may sign the next operation, strongest first.
    pub rotation_keys: Vec<String>,
    /// Signing keys by name.
    pub verification_methods: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Update<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<&'a str>,
    prev: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    services: &'a BTreeMap<String, Service>,
    also_known_as: &'a [String],
    rotation_keys: &'a [String],
    verification_methods: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Tombstone<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<&'a str>,
    prev: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// A signed operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The operation as JSON.
    pub json: String,
    /// Its name.
    pub cid: Cid,
}

impl Operation {
    /// An operation that sets the state of a DID; without `prev` the one that begins it.
    pub fn update(state: &State, prev: Option<Cid>, key: &Key) -> Result<Self> {
        let prev = prev.map(|cid| cid.to_string());
        let mut update = Update {
            sig: None,
            prev: prev.as_deref(),
            kind: "plc_operation",
            services: &state.services,
            also_known_as: &state.also_known_as,
            rotation_keys: &state.rotation_keys,
            verification_methods: &state.verification_methods,
        };
        let sig = BASE64URL_NOPAD.encode(&key.sign(&serde_ipld_dagcbor::to_vec(&update)?)?);
        update.sig = Some(&sig);
        Self::signed(&update)
    }

    /// An operation that ends a DID.
    pub fn tombstone(prev: Cid, key: &Key) -> Result<Self> {
        let prev = prev.to_string();
        let mut tombstone = Tombstone { sig: None, prev: &prev, kind: "plc_tombstone" };
        let sig = BASE64URL_NOPAD.encode(&key.sign(&serde_ipld_dagcbor::to_vec(&tombstone)?)?);
        tombstone.sig = Some(&sig);
        Self::signed(&tombstone)
    }

    fn signed<T: Serialize>(operation: &T) -> Result<Self> {
        let bytes = serde_ipld_dagcbor::to_vec(operation)?;
        Ok(Self { json: serde_json::to_string(operation)?, cid: cid_of(&bytes)? })
    }

    /// The DID that this operation begins.
    pub fn did(&self) -> String {
        did_of(&self.cid)
    }
}

/// The DID that begins with the operation of this CID, which holds the same hash.
pub fn did_of(genesis: &Cid) -> String {
    let base32 = BASE32_NOPAD.encode(genesis.hash().digest()).to_lowercase();
    format!("did:plc:{}", &base32[..24])
}

/// What an operation says, or nothing if it is a tombstone. The first form of genesis operations
/// (`create`) is read as what it meant.
pub fn state_of(operation: &Value) -> Result<Option<State>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Create {
        signing_key: String,
        recovery_key: String,
        handle: String,
        service: String,
    }
    match operation.get("type").and_then(Value::as_str) {
        Some("plc_tombstone") => Ok(None),
        Some("create") => {
            let old: Create = serde_json::from_value(operation.clone())?;
            let endpoint = match old.service.starts_with("http") {
                true => old.service,
                false => format!("https://{}", old.service),
            };
            let kind = "AtprotoPersonalDataServer".to_owned();
            Ok(Some(State {
                services: [("atproto_pds".to_owned(), Service { kind, endpoint })].into(),
                also_known_as: vec![format!("at://{}", old.handle)],
                rotation_keys: vec![old.recovery_key, old.signing_key.clone()],
                verification_methods: [("atproto".to_owned(), old.signing_key)].into(),
            }))
        }
        _ => {
            let state = serde_json::from_value(operation.clone());
            Ok(Some(state.context("an operation of an unknown form")?))
        }
    }
}
