//! What can be wrong with a key that somebody wrote, and with a signature that somebody sent.

/// Why a text or some bytes are no key of a kind that this room knows.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The text does not begin with `did:key:`.
    #[error("a key that does not begin with did:key:")]
    NotDidKey,
    /// The text is not base58btc behind a `z`, or it is longer than any key.
    #[error("a key that is not base58btc of at most {limit} characters behind a z")]
    NotMultibase {
        /// The longest text that is looked at.
        limit: usize,
    },
    /// A well-formed key of a kind that the network's commits are not signed with.
    #[error("a key of multicodec {code:#x}, which is neither K-256 nor P-256")]
    UnknownCurve {
        /// The multicodec that stands before the key.
        code: u64,
    },
    /// A verification method of a type that is not one of the three in use.
    #[error("a verification method of unknown type")]
    UnknownMethod,
    /// The bytes of the key have the wrong length.
    #[error("a key of {bytes} bytes")]
    Length {
        /// How many bytes stand where the key should be.
        bytes: usize,
    },
    /// The bytes of the key do not have the form of a point, or not of one on its curve.
    #[error("a key that is no point of its curve")]
    NotAPoint,
}

impl Error {
    /// Whether the key may be a good one of a kind that is not known here, as against damaged.
    #[must_use]
    pub fn is_unknown_kind(&self) -> bool {
        matches!(self, Error::UnknownCurve { .. } | Error::UnknownMethod)
    }
}

/// Why a signature does not prove what it should.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// The signature is not this key's over this digest.
    #[error("the signature does not hold")]
    BadSignature,
    /// The signature holds, but its `S` is in the upper half: a second form of another
    /// signature, which anybody can make.
    #[error("the signature holds in its high-S form only")]
    HighS,
    /// Not the 64 bytes of two numbers that are within the group's order (a DER signature, for
    /// one).
    #[error("a signature that is not of the compact form")]
    Malformed,
    /// The key is no point of its curve: nothing can be proved with it.
    #[error("a key that is no point of its curve")]
    BadKey,
    /// Two implementations of the curve say different things, so one of them is wrong: a reason
    /// to stop, not to refuse.
    #[error("two implementations of the curve disagree about a signature")]
    Disagreement,
}
