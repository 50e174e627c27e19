//! Signing keys of both curves, made from the seed, and signatures as the protocol wants them:
//! ECDSA over the SHA-256 of the bytes, 64 bytes (r, s), s in the lower half of the order.

use std::sync::Arc;

use anyhow::Result;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use sha2::{Digest, Sha256};

/// The two curves of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256k1.
    K256,
    /// NIST P-256.
    P256,
}

#[derive(Clone)]
enum Secret {
    K256(k256::ecdsa::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

/// A key pair and its name.
#[derive(Clone)]
pub struct Key {
    secret: Secret,
    did_key: Arc<str>,
}

impl Key {
    /// The key that `name` always gives under `seed`. Not every 32 bytes are a scalar of the
    /// curve; the next hash is taken then.
    pub fn from_seed(curve: Curve, seed: u64, name: &str) -> Result<Self> {
        let mut digest = Sha256::new();
        digest.update(seed.to_le_bytes());
        digest.update(name.as_bytes());
        let mut scalar = digest.finalize();
        for _ in 0..8 {
            if let Some(key) = Self::from_scalar(curve, &scalar) {
                return Ok(key);
            }
            scalar = Sha256::digest(scalar);
        }
        anyhow::bail!("no key could be made of the seed {seed} for {name}")
    }

    fn from_scalar(curve: Curve, scalar: &[u8]) -> Option<Self> {
        let (secret, prefix, point) = match curve {
            Curve::K256 => {
                let key = k256::ecdsa::SigningKey::from_slice(scalar).ok()?;
                let point = key.verifying_key().to_sec1_point(true);
                (Secret::K256(key), [0xe7, 0x01], point.as_bytes().to_vec())
            }
            Curve::P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(scalar).ok()?;
                let point = key.verifying_key().to_sec1_point(true);
                (Secret::P256(key), [0x80, 0x24], point.as_bytes().to_vec())
            }
        };
        let named = [&prefix[..], &point].concat();
        let did_key = format!("did:key:z{}", bs58::encode(named).into_string()).into();
        Some(Self { secret, did_key })
    }

    /// The public key as `did:key`: the curve's multicodec and the compressed point, in base58.
    pub fn did_key(&self) -> &Arc<str> {
        &self.did_key
    }

    /// The signature of `bytes`, low-S.
    pub fn sign(&self, bytes: &[u8]) -> Result<[u8; 64]> {
        let digest = Sha256::digest(bytes);
        Ok(match &self.secret {
            Secret::K256(key) => {
                let signature: k256::ecdsa::Signature = key.sign_prehash(&digest)?;
                signature.normalize_s().to_bytes().into()
            }
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest)?;
                signature.normalize_s().to_bytes().into()
            }
        })
    }

    /// The same signature with s taken from the order: it fits the key and is forbidden.
    pub fn high_s(&self, signature: &[u8; 64]) -> Result<[u8; 64]> {
        Ok(match &self.secret {
            Secret::K256(_) => {
                let low = k256::ecdsa::Signature::from_slice(signature)?;
                let high = k256::ecdsa::Signature::from_scalars(low.r(), -*low.s())?;
                high.to_bytes().into()
            }
            Secret::P256(_) => {
                let low = p256::ecdsa::Signature::from_slice(signature)?;
                let high = p256::ecdsa::Signature::from_scalars(low.r(), -*low.s())?;
                high.to_bytes().into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::signature::hazmat::PrehashVerifier;

    #[test]
    fn the_same_seed_and_name_give_the_same_key_and_others_another() {
        let key = Key::from_seed(Curve::K256, 7, "a").unwrap();
        assert_eq!(key.did_key(), Key::from_seed(Curve::K256, 7, "a").unwrap().did_key());
        assert_ne!(key.did_key(), Key::from_seed(Curve::K256, 8, "a").unwrap().did_key());
        assert_ne!(key.did_key(), Key::from_seed(Curve::K256, 7, "b").unwrap().did_key());
        assert!(key.did_key().starts_with("did:key:zQ3s"));
        assert!(Key::from_seed(Curve::P256, 7, "a").unwrap().did_key().starts_with("did:key:zDna"));
    }

    #[test]
    fn signatures_are_low_s_and_the_high_twin_still_fits_the_key() {
        for number in 0..40u64 {
            let bytes = number.to_le_bytes();
            let digest = Sha256::digest(bytes);
            let key = Key::from_seed(Curve::P256, number, "p").unwrap();
            let low = key.sign(&bytes).unwrap();
            let high = key.high_s(&low).unwrap();
            let Secret::P256(secret) = &key.secret else { panic!("not P-256") };
            for (bytes, is_low) in [(low, true), (high, false)] {
                let signature = p256::ecdsa::Signature::from_slice(&bytes).unwrap();
                assert_eq!(signature.normalize_s() == signature, is_low);
                secret.verifying_key().verify_prehash(&digest, &signature).unwrap();
            }
        }
    }
}
