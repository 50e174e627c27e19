//! `k256` and `p256`: no C, and the second opinion where there is some.

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::elliptic_curve::sec1::ToSec1Point;

use crate::public_key::POINT_BYTES;
use crate::{Curve, PublicKey};

pub(super) enum Parsed {
    K256(k256::ecdsa::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

pub(super) fn parse(key: &PublicKey) -> Option<Parsed> {
    let point = key.compressed();
    match key.curve() {
        Curve::K256 => k256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Parsed::K256),
        Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Parsed::P256),
    }
    .ok()
}

pub(super) fn compress(curve: Curve, point: &[u8]) -> Option<[u8; POINT_BYTES]> {
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

/// `signature` has a low S.
pub(super) fn verify(key: &Parsed, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    match key {
        Parsed::K256(key) => k256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        Parsed::P256(key) => p256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
    }
}
