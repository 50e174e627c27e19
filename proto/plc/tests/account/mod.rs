//! Operations made and signed for tests, with other implementations of DAG-CBOR and signatures
//! than those under test.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use ipld_core::ipld::Ipld;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::elliptic_curve::sec1::ToSec1Point;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub enum Key {
    K256(k256::ecdsa::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl Key {
    pub fn k256(seed: u8) -> Self {
        Self::K256(k256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    pub fn p256(seed: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    pub fn did(&self) -> String {
        let (curve, point) = match self {
            Self::K256(key) => {
                let point = k256::PublicKey::from(key.verifying_key()).to_sec1_point(true);
                (keys::Curve::K256, point.as_bytes().to_vec())
            }
            Self::P256(key) => {
                let point = p256::PublicKey::from(key.verifying_key()).to_sec1_point(true);
                (keys::Curve::P256, point.as_bytes().to_vec())
            }
        };
        keys::PublicKey::from_compressed(curve, &point).unwrap().to_did_key()
    }

    /// A low-S signature, and the same with the other S.
    pub fn signatures(&self, bytes: &[u8]) -> [[u8; 64]; 2] {
        let digest = Sha256::digest(bytes);
        match self {
            Self::K256(key) => {
                let signature: k256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                let low = signature.normalize_s();
                let high = k256::ecdsa::Signature::from_scalars(low.r(), -*low.s()).unwrap();
                [low.to_bytes().into(), high.to_bytes().into()]
            }
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                let low = signature.normalize_s();
                let high = p256::ecdsa::Signature::from_scalars(low.r(), -*low.s()).unwrap();
                [low.to_bytes().into(), high.to_bytes().into()]
            }
        }
    }
}

pub fn dag_cbor(value: &Value) -> Vec<u8> {
    let value: Ipld = serde_json::from_value(value.clone()).unwrap();
    serde_ipld_dagcbor::to_vec(&value).unwrap()
}

/// An operation with a signature of these bytes.
pub fn with_sig(mut operation: Value, sig: &str) -> Value {
    operation["sig"] = sig.into();
    operation
}

pub fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

pub fn sign(operation: Value, key: &Key) -> Value {
    let [low, _] = key.signatures(&dag_cbor(&operation));
    with_sig(operation, &base64(&low))
}

pub fn cid(operation: &Value) -> String {
    atproto::Cid::dag_cbor(&dag_cbor(operation)).to_string()
}

pub fn did(genesis: &Value) -> String {
    let hash: [u8; 32] = Sha256::digest(dag_cbor(genesis)).into();
    atproto::PlcDid::from_bytes(*hash.first_chunk().unwrap()).to_string()
}

/// What an operation says, without a signature.
pub fn says(prev: Option<&Value>, keys: &[&Key]) -> Value {
    json!({
        "type": "plc_operation",
        "prev": prev.map(cid),
        "rotationKeys": keys.iter().map(|key| key.did()).collect::<Vec<_>>(),
        "alsoKnownAs": ["at://a.example"],
        "verificationMethods": { "atproto": Key::k256(99).did() },
        "services": { "atproto_pds": {
            "type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example",
        } },
    })
}

pub fn genesis(keys: &[&Key], signer: &Key) -> Value {
    sign(says(None, keys), signer)
}

pub fn update(prev: &Value, keys: &[&Key], signer: &Key) -> Value {
    sign(says(Some(prev), keys), signer)
}

pub fn tombstone(prev: &Value, signer: &Key) -> Value {
    sign(json!({ "type": "plc_tombstone", "prev": cid(prev) }), signer)
}

pub fn create(signing: &Key, recovery: &Key, signer: &Key) -> Value {
    let operation = json!({
        "type": "create",
        "prev": null,
        "signingKey": signing.did(),
        "recoveryKey": recovery.did(),
        "handle": "a.example",
        "service": "https://pds.example",
    });
    sign(operation, signer)
}

/// A line for each operation, an hour after the one before.
pub fn log(operations: &[&Value]) -> Vec<Value> {
    let did = did(operations[0]);
    let line = |(at, operation): (usize, &&Value)| {
        let (day, hour) = (1 + at / 24, at % 24);
        json!({
            "did": did, "operation": operation, "cid": cid(operation), "nullified": false,
            "createdAt": format!("2024-03-{day:02}T{hour:02}:00:00.000Z"),
        })
    };
    operations.iter().enumerate().map(line).collect()
}
