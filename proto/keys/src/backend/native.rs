//! libsecp256k1 for K-256 and AWS-LC for P-256: the quickest well-kept implementations of each.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};

use crate::{Curve, PublicKey};

pub(super) enum Parsed {
    K256(secp256k1::PublicKey),
    P256(ParsedPublicKey),
}

pub(super) fn parse(key: &PublicKey) -> Option<Parsed> {
    let point = key.compressed();
    match key.curve() {
        Curve::K256 => secp256k1::PublicKey::from_slice(point).ok().map(Parsed::K256),
        Curve::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok().map(Parsed::P256),
    }
}

/// `signature` has a low S.
pub(super) fn verify(key: &Parsed, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    match key {
        Parsed::K256(key) => {
            let message = secp256k1::Message::from_digest(*digest);
            secp256k1::ecdsa::Signature::from_compact(signature)
                .is_ok_and(|signature| secp256k1::ecdsa::verify(&signature, message, key).is_ok())
        }
        Parsed::P256(key) => Digest::import_less_safe(digest, &SHA256)
            .is_ok_and(|digest| key.verify_digest_sig(&digest, signature).is_ok()),
    }
}
