//! What can be wrong with a value.

use super::DEPTH_MAX;
use crate::cid;

/// What was wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {cause}")]
pub struct Error {
    /// Offset of the value in the slice that the reader was made of.
    pub offset: usize,
    /// What was wrong there.
    pub cause: Cause,
}

/// What was wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The input ends inside a value.
    #[error("input ends inside a value")]
    Truncated,
    /// Bytes after the last value.
    #[error("bytes after the end")]
    Trailing,
    /// Another kind of value than the one asked for.
    #[error("{found} instead of {wanted}")]
    Kind {
        /// What the place has to hold.
        wanted: Kind,
        /// What is there.
        found: Kind,
    },
    /// An integer or a length in a longer form than it needs.
    #[error("number not in its shortest form")]
    LongForm,
    /// Reserved additional information, or a break outside of its string.
    #[error("byte 0x{0:02x} begins no value")]
    Reserved(u8),
    /// An indefinite length.
    #[error("indefinite length")]
    Indefinite,
    /// An integer that does not fit the place.
    #[error("integer out of range")]
    Range,
    /// A tag other than 42.
    #[error("tag {0} instead of 42")]
    Tag(u64),
    /// A tag 42 around something that is no CID.
    #[error("link without a CID in it")]
    Link,
    /// A CID of another form than this network uses.
    #[error(transparent)]
    Cid(#[from] cid::Error),
    /// A float of 16 or 32 bits.
    #[error("float of less than 64 bits")]
    ShortFloat,
    /// NaN or an infinity.
    #[error("float that is not finite")]
    NotFinite,
    /// `undefined` or another simple value.
    #[error("simple value {0}")]
    Simple(u8),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A map key that is not text.
    #[error("map key is not text")]
    KeyKind,
    /// A map key that sorts before the one in front of it.
    #[error("map keys out of order")]
    KeyOrder,
    /// A map key that came before.
    #[error("map key twice")]
    KeyTwice,
    /// More than [`DEPTH_MAX`] levels.
    #[error("more than {DEPTH_MAX} levels")]
    Depth,
}

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Zero or more.
    Uint,
    /// Less than zero.
    Nint,
    /// A byte string.
    Bytes,
    /// A text string.
    Text,
    /// An array.
    Array,
    /// A map.
    Map,
    /// A tag: in DAG-CBOR a link.
    Link,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// A float.
    Float,
    /// Another simple value.
    Simple,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Uint => "integer",
            Kind::Nint => "negative integer",
            Kind::Bytes => "bytes",
            Kind::Text => "text",
            Kind::Array => "array",
            Kind::Map => "map",
            Kind::Link => "link",
            Kind::Bool => "boolean",
            Kind::Null => "null",
            Kind::Float => "float",
            Kind::Simple => "simple value",
        })
    }
}
