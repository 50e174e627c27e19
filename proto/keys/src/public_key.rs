//! A public key as 34 bytes, and the forms in which documents write one.
//!
//! | offset | size | field | meaning                                                   |
//! |-------:|-----:|-------|-----------------------------------------------------------|
//! |      0 |    1 | curve | 1 = K-256 (secp256k1), 2 = P-256 (secp256r1)              |
//! |      1 |    1 | sign  | 2 or 3: whether the point's y is even or odd (SEC 1)      |
//! |      2 |   32 | x     | the point's x, big-endian                                 |
//!
//! Bytes 1 to 33 are the compressed point of SEC 1. The forms that are read:
//!
//! * `did:key:z...`, and the Multikey `z...` alone: base58btc of the multicodec (0xe7 for
//!   K-256, 0x1200 for P-256, as varints) and the compressed point;
//! * the two older verification methods of DID documents, whose type names the curve and whose
//!   text is base58btc of the point, uncompressed as a rule.

use std::fmt;
use std::str::FromStr;

use crate::{Error, backend, multibase};

/// The length of a key's bytes.
pub const KEY_BYTES: usize = 34;

/// The length of a compressed point.
pub(crate) const POINT_BYTES: usize = 33;

/// The two curves that commits and directory operations are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(clippy::exhaustive_enums, reason = "a third curve would change every match on purpose")]
pub enum Curve {
    /// secp256k1.
    K256 = 1,
    /// secp256r1, also called NIST P-256.
    P256 = 2,
}

impl Curve {
    /// The multicodec of a compressed public key of this curve.
    #[must_use]
    pub fn multicodec(self) -> u64 {
        match self {
            Curve::K256 => 0xe7,
            Curve::P256 => 0x1200,
        }
    }

    fn multicodec_varint(self) -> [u8; 2] {
        match self {
            Curve::K256 => [0xe7, 0x01],
            Curve::P256 => [0x80, 0x24],
        }
    }

    fn from_byte(byte: u8) -> Option<Curve> {
        match byte {
            1 => Some(Curve::K256),
            2 => Some(Curve::P256),
            _ => None,
        }
    }
}

/// A public key: a curve and a compressed point, well-formed but not proved to lie on the curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    bytes: [u8; KEY_BYTES],
}

impl PublicKey {
    /// Reads `did:key:z...`.
    ///
    /// # Errors
    /// As [`from_multibase`](Self::from_multibase), and [`Error::NotDidKey`].
    pub fn from_did_key(text: &str) -> Result<PublicKey, Error> {
        Self::from_multibase(text.strip_prefix("did:key:").ok_or(Error::NotDidKey)?)
    }

    /// Reads a Multikey, `z...`.
    ///
    /// # Errors
    /// [`Error::NotMultibase`], [`Error::UnknownCurve`] for a key of another kind,
    /// [`Error::Length`] and [`Error::NotAPoint`] for what cannot be a compressed point.
    pub fn from_multibase(text: &str) -> Result<PublicKey, Error> {
        let mut room = [0; multibase::RAW_BYTES_MAX];
        let (code, point) = multibase::split_multicodec(multibase::decode(text, &mut room)?)?;
        let curve = [Curve::K256, Curve::P256]
            .into_iter()
            .find(|curve| curve.multicodec() == code)
            .ok_or(Error::UnknownCurve { code })?;
        Self::from_compressed(curve, point)
    }

    /// Reads the key of a DID document's verification method: its `type` and its
    /// `publicKeyMultibase`. The types are `Multikey`, `EcdsaSecp256k1VerificationKey2019` and
    /// `EcdsaSecp256r1VerificationKey2019`.
    ///
    /// # Errors
    /// [`Error::UnknownMethod`] for another type, else as
    /// [`from_multibase`](Self::from_multibase).
    pub fn from_verification_method(kind: &str, text: &str) -> Result<PublicKey, Error> {
        let curve = match kind {
            "Multikey" => return Self::from_multibase(text),
            "EcdsaSecp256k1VerificationKey2019" => Curve::K256,
            "EcdsaSecp256r1VerificationKey2019" => Curve::P256,
            _ => return Err(Error::UnknownMethod),
        };
        let mut room = [0; multibase::RAW_BYTES_MAX];
        let point = multibase::decode(text, &mut room)?;
        match point.len() {
            POINT_BYTES => Self::from_compressed(curve, point),
            65 => {
                let point = backend::compress(curve, point).ok_or(Error::NotAPoint)?;
                Self::from_compressed(curve, &point)
            }
            bytes => Err(Error::Length { bytes }),
        }
    }

    /// Takes a compressed point (SEC 1) of `curve`.
    ///
    /// # Errors
    /// [`Error::Length`], or [`Error::NotAPoint`] where the first byte is neither 2 nor 3.
    pub fn from_compressed(curve: Curve, point: &[u8]) -> Result<PublicKey, Error> {
        let point: &[u8; POINT_BYTES] =
            point.try_into().map_err(|_| Error::Length { bytes: point.len() })?;
        if !matches!(point, [2 | 3, ..]) {
            return Err(Error::NotAPoint);
        }
        let mut bytes = [0; KEY_BYTES];
        for (to, from) in bytes.iter_mut().zip(std::iter::once(&(curve as u8)).chain(point)) {
            *to = *from;
        }
        Ok(PublicKey { bytes })
    }

    /// Reads the 34 bytes that [`to_bytes`](Self::to_bytes) gives.
    ///
    /// # Errors
    /// [`Error::UnknownCurve`] for a curve byte that is not known, [`Error::NotAPoint`].
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<PublicKey, Error> {
        let [curve, point @ ..] = bytes;
        let curve =
            Curve::from_byte(*curve).ok_or(Error::UnknownCurve { code: u64::from(*curve) })?;
        Self::from_compressed(curve, point)
    }

    /// The key as 34 bytes; the table stands at the head of this module.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; KEY_BYTES] {
        self.bytes
    }

    /// The key's curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        let [curve, ..] = self.bytes;
        if curve == Curve::P256 as u8 { Curve::P256 } else { Curve::K256 }
    }

    /// The compressed point (SEC 1).
    #[must_use]
    pub fn compressed(&self) -> &[u8; POINT_BYTES] {
        let [_, point @ ..] = &self.bytes;
        point
    }

    /// The key as a Multikey, `z...`.
    #[must_use]
    pub fn to_multibase(&self) -> String {
        let mut text = String::with_capacity(64);
        self.put_multibase(&mut text);
        text
    }

    /// The key as `did:key:z...`.
    #[must_use]
    pub fn to_did_key(&self) -> String {
        let mut text = String::with_capacity(64);
        text.push_str("did:key:");
        self.put_multibase(&mut text);
        text
    }

    fn put_multibase(&self, text: &mut String) {
        let mut raw = [0u8; 2 + POINT_BYTES];
        let from = self.curve().multicodec_varint().into_iter().chain(*self.compressed());
        for (to, from) in raw.iter_mut().zip(from) {
            *to = from;
        }
        multibase::encode(&raw, text);
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<PublicKey, Error> {
        Self::from_did_key(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_did_key())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Reads `data` as every form of a key; what is read must come back as it was written.
pub fn fuzz_did_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for kind in ["EcdsaSecp256k1VerificationKey2019", "EcdsaSecp256r1VerificationKey2019"] {
        let _ = PublicKey::from_verification_method(kind, text);
    }
    if let Ok(key) = PublicKey::from_did_key(text) {
        assert_eq!(PublicKey::from_did_key(&key.to_did_key()), Ok(key));
        assert_eq!(PublicKey::from_bytes(&key.to_bytes()), Ok(key));
    }
}
