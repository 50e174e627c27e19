//! The curve arithmetic itself: `k256` and `p256`, and nothing else of this room knows them.
//!
//! Another implementation takes their place by offering the same three functions.

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::elliptic_curve::sec1::ToSec1Point;

use crate::public_key::POINT_BYTES;
use crate::{Curve, PublicKey, Reject};

/// A key in the form that a signature is checked with.
#[derive(Clone)]
pub(crate) enum Parsed {
    K256(k256::ecdsa::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
    /// The bytes name no point. Remembered like any other, so that finding out costs once.
    NoPoint,
}

/// Solves the curve's equation for the key's y.
pub(crate) fn parse(key: &PublicKey) -> Parsed {
    let point = key.compressed();
    match key.curve() {
        Curve::K256 => k256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Parsed::K256),
        Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Parsed::P256),
    }
    .unwrap_or(Parsed::NoPoint)
}

/// Checks that an uncompressed point lies on `curve`, and compresses it.
pub(crate) fn compress(curve: Curve, point: &[u8]) -> Option<[u8; POINT_BYTES]> {
    match curve {
        Curve::K256 => {
            let key = k256::PublicKey::from_sec1_bytes(point).ok()?;
            key.to_sec1_point(true).as_bytes().try_into().ok()
        }
        Curve::P256 => {
            let key = p256::PublicKey::from_sec1_bytes(point).ok()?;
            key.to_sec1_point(true).as_bytes().try_into().ok()
        }
    }
}

/// Checks a compact signature over `digest`.
///
/// A signature whose `S` is high is checked in its low form, so that [`Reject::HighS`] is said
/// of signatures that hold otherwise, and of no random bytes.
pub(crate) fn verify(key: &Parsed, digest: &[u8; 32], signature: &[u8]) -> Result<(), Reject> {
    let (holds, high) = match key {
        Parsed::K256(key) => {
            let given = k256::ecdsa::Signature::from_slice(signature);
            let given = given.map_err(|_| Reject::Malformed)?;
            let low = given.normalize_s();
            (key.verify_prehash(digest, &low).is_ok(), low != given)
        }
        Parsed::P256(key) => {
            let given = p256::ecdsa::Signature::from_slice(signature);
            let given = given.map_err(|_| Reject::Malformed)?;
            let low = given.normalize_s();
            (key.verify_prehash(digest, &low).is_ok(), low != given)
        }
        Parsed::NoPoint => return Err(Reject::BadKey),
    };
    match (holds, high) {
        (true, false) => Ok(()),
        (true, true) => Err(Reject::HighS),
        (false, _) => Err(Reject::BadSignature),
    }
}
