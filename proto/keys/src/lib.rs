//! Public keys and signatures of accounts: did:key, Multikey, ECDSA over K-256 and P-256.
//!
//! This is the only room that knows a curve. It turns what a DID document or a directory
//! operation writes into a [`PublicKey`] of 34 bytes, and says with a [`Verifier`] whether a
//! signature over a digest is that key's. It does not know what was signed: whoever calls it
//! brings the SHA-256 digest.
//!
//! * [`PublicKey`] is a value to copy, compare and store. That its bytes have the form of a
//!   point is all it promises; whether the point lies on the curve is found out by the
//!   [`Verifier`] that meets it first, since a directory holds millions of keys and most of
//!   them are never asked for.
//! * [`Verifier`] keeps keys in parsed form, in a fixed amount of memory, by key bytes.
//!
//! Rules of the network that are enforced here (atproto, "Cryptography"): the two curves, the
//! compact 64-byte form of a signature, and `S` in the lower half of the group's order.
//!
//! ```
//! let key: keys::PublicKey =
//!     "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc".parse()?;
//! assert_eq!(key.curve(), keys::Curve::K256);
//! let mut verifier = keys::Verifier::new(1024);
//! assert_eq!(verifier.verify(&key, &[0; 32], &[1; 64]), Err(keys::Reject::BadSignature));
//! # Ok::<(), keys::Error>(())
//! ```
#![warn(clippy::indexing_slicing)]

mod backend;
mod base58;
mod error;
mod multibase;
mod public_key;
mod verifier;

pub use error::{Error, Reject};
pub use public_key::{Curve, KEY_BYTES, PublicKey, fuzz_did_key};
pub use verifier::Verifier;
