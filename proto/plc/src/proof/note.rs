//! What newer servers would not take in. The limits came in September 2023 and later, and bind
//! what came in since; what is older stays valid, so this is for people to know.

/// A limit that an operation is over. Its name ([`Note::rule`]) is for programs and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// Too long.
    #[error("{bytes} bytes of DAG-CBOR, over {}", Note::BYTES_MAX)]
    Bytes {
        /// Its length.
        bytes: usize,
    },
    /// Too many names, or one too long or twice.
    #[error("alsoKnownAs has over 10 items, one over 256 bytes, or one twice")]
    AlsoKnownAs,
    /// Too many rotation keys.
    #[error("{count} rotation keys, over 5")]
    RotationKeys {
        /// How many.
        count: usize,
    },
    /// No rotation key: nothing can follow.
    #[error("no rotation key")]
    NoRotationKeys,
    /// A rotation key twice.
    #[error("a rotation key twice")]
    RotationKeyTwice,
    /// A rotation key that cannot sign.
    #[error("a rotation key that is neither a K-256 nor a P-256 key")]
    RotationKeyForm,
    /// Too many services, or one with a name, type or endpoint too long.
    #[error("services has over 10 items, or one that is too long")]
    Services,
    /// Too many verification methods, or one with a name too long.
    #[error("verificationMethods has over 10 items, or one that is too long")]
    VerificationMethods,
    /// A verification method that is no did:key.
    #[error("a verification method that is no did:key in base58btc")]
    VerificationMethodForm,
    /// Too many operations of the account in a while.
    #[error("over {count} operations of the account within {hours} hours")]
    Rate {
        /// How many there may be.
        count: usize,
        /// In how long.
        hours: u64,
    },
}

impl Note {
    pub(super) const BYTES_MAX: usize = 4000;
    pub(super) const ITEMS_MAX: usize = 10;
    pub(super) const ROTATION_KEYS_MAX: usize = 5;
    pub(super) const NAME_BYTES_MAX: usize = 32;
    pub(super) const TEXT_BYTES_MAX: usize = 256;
    pub(super) const ENDPOINT_BYTES_MAX: usize = 512;

    /// The name of the limit.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Bytes { .. } => "limit-bytes",
            Self::AlsoKnownAs => "limit-also-known-as",
            Self::RotationKeys { .. } => "limit-rotation-keys",
            Self::NoRotationKeys => "rotation-keys-empty",
            Self::RotationKeyTwice => "rotation-keys-repeated",
            Self::RotationKeyForm => "rotation-key-form",
            Self::Services => "limit-services",
            Self::VerificationMethods => "limit-verification-methods",
            Self::VerificationMethodForm => "verification-method-form",
            Self::Rate { .. } => "limit-rate",
        }
    }

    /// What is over a limit on how many operations come in a while. `times` are those of the
    /// operations before, the last one first.
    pub(super) fn of_rate(times: impl Iterator<Item = u64> + Clone, now_ms: u64) -> Option<Self> {
        let over = |count: usize, hours: u64| {
            let oldest = times.clone().nth(count - 1)?;
            let within = oldest > now_ms.saturating_sub(hours * 60 * 60 * 1000);
            within.then_some(Self::Rate { count, hours })
        };
        over(10, 1).or_else(|| over(30, 24)).or_else(|| over(100, 7 * 24))
    }
}
