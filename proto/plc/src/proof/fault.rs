//! What is wrong with an operation.

use atproto::{Cid, PlcDid};
use keys::Reject;

/// A rule that an operation breaks. Its name ([`Fault::rule`]) is for programs and stays; its text
/// is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is not of the form of an operation.
    #[error("{0}")]
    Schema(#[source] serde_json::Error),
    /// A field that an operation of its type has is missing.
    #[error("missing field `{0}`")]
    FieldMissing(&'static str),
    /// A field that an operation of its type does not have is there.
    #[error("a field of another type of operation")]
    FieldForeign,
    /// Its type is none.
    #[error("the operation is of an unknown type")]
    Type,
    /// What it follows is no CID in its one form.
    #[error("the cid in prev is none")]
    PrevForm,
    /// A first operation of the old form follows another.
    #[error("a create that follows an operation")]
    CreateFollows,
    /// The directory's name for it is no CID.
    #[error("the cid is none")]
    CidForm,
    /// The directory's time is none.
    #[error("createdAt is no time")]
    Time,
    /// It stands in another account's log.
    #[error("an operation of {did}")]
    OtherDid {
        /// Whose it is.
        did: PlcDid,
    },
    /// The directory's name for it is another's.
    #[error("its bytes are those of {cid}")]
    CidMismatch {
        /// Its own name.
        cid: Cid,
    },
    /// It begins another account.
    #[error("the hash of the first operation gives {did}")]
    GenesisHash {
        /// The account that it begins.
        did: PlcDid,
    },
    /// It begins the account again.
    #[error("a first operation of an account that has one")]
    SecondGenesis,
    /// What it follows is not there.
    #[error("the operation that it follows is not there")]
    PrevMissing,
    /// What it follows came after it.
    #[error("the operation that it follows came later")]
    PrevLater,
    /// What it follows fails.
    #[error("the operation that it follows is not valid itself")]
    PrevInvalid,
    /// What it follows did not count any more.
    #[error("the operation that it follows had been nullified")]
    PrevNullified,
    /// What it follows ended the account.
    #[error("nothing follows a tombstone")]
    AfterTombstone,
    /// Its signature is not written as it has to be.
    #[error("the signature is not canonical base64url without padding")]
    SigEncoding,
    /// Its signature is of another form.
    #[error("the signature is not of the 64 bytes of the compact form")]
    SigForm,
    /// Its signature is the second form of one that holds.
    #[error("the signature holds in its high-S form only")]
    HighS,
    /// Its signature is by none of the keys that may sign it.
    #[error("the signature is by no rotation key that may sign it")]
    BadSignature,
    /// Two implementations of the curve do not agree on its signature.
    #[error("two implementations of the curve disagree on the signature")]
    Disagreement,
    /// What it follows has no keys.
    #[error("the operation that it follows has no rotation keys")]
    NoRotationKey,
    /// A key that is asked before the one that signed cannot be read.
    #[error("rotation key {at} is neither a K-256 nor a P-256 key")]
    RotationKey {
        /// Its place in the list.
        at: usize,
    },
    /// It nullifies what a key of the same or a higher rank signed.
    #[error(
        "signed by a key that does not stand before rotation key {first}, whose operation it nullifies"
    )]
    RecoveryKeyRank {
        /// The place of the key that signed the first operation it nullifies.
        first: usize,
    },
    /// It nullifies what was too old.
    #[error("it nullifies an operation that is {late_ms} ms old, over 72 hours")]
    RecoveryTooLate {
        /// The age of the first operation it nullifies.
        late_ms: u64,
    },
}

impl Fault {
    /// The name of the rule.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Schema(_)
            | Self::FieldMissing(_)
            | Self::FieldForeign
            | Self::Type
            | Self::PrevForm
            | Self::CreateFollows
            | Self::CidForm
            | Self::Time => "schema",
            Self::OtherDid { .. } => "other-did",
            Self::CidMismatch { .. } => "cid-mismatch",
            Self::GenesisHash { .. } => "genesis-hash",
            Self::SecondGenesis => "second-genesis",
            Self::PrevMissing => "prev-missing",
            Self::PrevLater => "prev-later",
            Self::PrevInvalid => "prev-invalid",
            Self::PrevNullified => "prev-nullified",
            Self::AfterTombstone => "after-tombstone",
            Self::SigEncoding => "sig-encoding",
            Self::SigForm => "sig-form",
            Self::HighS => "high-s",
            Self::BadSignature => "bad-signature",
            Self::Disagreement => "disagreement",
            Self::NoRotationKey => "no-rotation-key",
            Self::RotationKey { .. } => "rotation-key",
            Self::RecoveryKeyRank { .. } => "recovery-key-rank",
            Self::RecoveryTooLate { .. } => "recovery-too-late",
        }
    }
}

impl From<Reject> for Fault {
    fn from(reject: Reject) -> Self {
        match reject {
            Reject::HighS => Self::HighS,
            Reject::Malformed => Self::SigForm,
            Reject::Disagreement => Self::Disagreement,
            _ => Self::BadSignature,
        }
    }
}
