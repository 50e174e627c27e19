//! The verdict section: what `sig-verify` found out about an event.
//!
//! | offset | size | field  | meaning                                                          |
//! |-------:|-----:|--------|------------------------------------------------------------------|
//! |      0 |    1 | status | 1 ok, 2 refused, 3 unchecked                                     |
//! |      1 |    1 | zero   |                                                                  |
//! |      2 |    2 | rule   | [`Rule`] that decided; 0 when the status is ok                   |
//! |      4 |    4 | notes  | [`notes`] bits; bits that are not known are kept                 |
//! |      8 |   34 | key    | what proved it: curve (1 K-256, 2 P-256) and the compressed point; all zero when no key did |
//!
//! A longer section is read as far as this table goes, so that fields can be added.

use crate::{Error, Frame, Tag};

/// The length of the section.
pub const VERDICT_BYTES: usize = 42;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Every rule holds.
    Ok = 1,
    /// A rule does not hold, and that is certain.
    Refused = 2,
    /// It could not be decided.
    Unchecked = 3,
}

impl Status {
    /// `ok`, `refused` or `unchecked`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Refused => "refused",
            Status::Unchecked => "unchecked",
        }
    }
}

/// The rule that decided, by number: a stream may hold rules that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule(pub u16);

macro_rules! rules {
    ($($(#[doc = $doc:literal])* $rule:ident = $number:literal, $name:literal;)*) => {
        impl Rule {
            $($(#[doc = $doc])* pub const $rule: Rule = Rule($number);)*

            /// All rules that are known, in the order of their numbers.
            pub const ALL: &'static [Rule] = &[$(Rule::$rule),*];

            /// The rule's name as every tool shows it; `None` for a number that is not known.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

rules! {
    /// The envelope cannot be read: not two strict DAG-CBOR objects of the event's form.
    BAD_FRAME = 1, "bad-frame";
    /// The event is over 5,000,000 bytes.
    EVENT_TOO_BIG = 2, "event-too-big";
    /// The blocks are over 2,000,000 bytes (10,000 for `#sync`).
    BLOCKS_TOO_BIG = 3, "blocks-too-big";
    /// A record is over 1,000,000 bytes.
    RECORD_TOO_BIG = 4, "record-too-big";
    /// There are more than 200 ops.
    TOO_MANY_OPS = 5, "too-many-ops";
    /// The DID does not have the form of one.
    BAD_DID = 6, "bad-did";
    /// The rev is not a TID.
    BAD_REV = 7, "bad-rev";
    /// The rev is more than 5 minutes later than the event's receive time.
    FUTURE_REV = 8, "future-rev";
    /// The blocks are not a CAR.
    BAD_CAR = 9, "bad-car";
    /// A block does not hash to its CID.
    BAD_CID = 10, "bad-cid";
    /// The CAR's root is not the event's commit.
    ROOT_NOT_COMMIT = 11, "root-not-commit";
    /// The commit, or the record of a create or update, is not among the blocks.
    MISSING_BLOCK = 12, "missing-block";
    /// The commit block is not a strict version 3 commit.
    BAD_COMMIT = 13, "bad-commit";
    /// The commit is another account's.
    DID_MISMATCH = 14, "did-mismatch";
    /// The commit's rev is not the event's.
    REV_MISMATCH = 15, "rev-mismatch";
    /// The directory does not know the DID.
    NO_IDENTITY = 16, "no-identity";
    /// The directory names no signing key.
    NO_KEY = 17, "no-key";
    /// The signing key is of a curve that atproto does not have.
    UNKNOWN_KEY_TYPE = 18, "unknown-key-type";
    /// The directory's entry is a tombstone.
    TOMBSTONED = 19, "tombstoned";
    /// The signature does not hold under any key that counts.
    BAD_SIGNATURE = 20, "bad-signature";
    /// The signature holds, but its S is high: another could have made it from the true one.
    HIGH_S = 21, "high-s";
    /// An op's path is not `collection/rkey`.
    BAD_PATH = 22, "bad-path";
    /// Two ops have the same path.
    DUPLICATE_PATH = 23, "duplicate-path";
    /// An op does not say what the tree says under its path, or contradicts itself.
    BAD_OP = 24, "bad-op";
    /// A node of the tree cannot be read.
    BAD_NODE = 25, "bad-node";
    /// A type of event that atproto does not have (any more).
    UNKNOWN_TYPE = 26, "unknown-type";
    /// The directory gave no answer.
    NO_ANSWER = 27, "no-answer";
    /// An unsigned event from a PDS that is not the account's.
    WRONG_HOST = 28, "wrong-host";
    /// An unsigned event that a relay passed on.
    HEARSAY = 29, "hearsay";
    /// The directory names no PDS for the account that an unsigned event speaks of.
    NO_PDS = 30, "no-pds";
    /// A record is not CBOR.
    BAD_RECORD = 31, "bad-record";
    /// Undoing the ops on the tree does not give `prevData`.
    BAD_INVERSION = 32, "bad-inversion";
    /// `prevData` or an op's `prev` is missing, and such commits are not wanted.
    LEGACY = 33, "legacy";
    /// The account's head once more: a copy, and no error.
    REPEAT = 34, "repeat";
    /// The rev is earlier than the account's last, or is its last with another commit.
    STALE_REV = 35, "stale-rev";
    /// The account is not active, as its host said and, where that could be asked, says still.
    INACTIVE = 36, "inactive";
    /// A signed event from a PDS that is not the account's, and such are not wanted.
    FOREIGN = 37, "foreign";
    /// It does not continue what the account did last, and what is missing could not be fetched yet.
    GAP = 38, "gap";
    /// A `repo` frame whose records are not those of the tree that its commit names.
    BAD_REPO = 39, "bad-repo";
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "rule-{}", self.0),
        }
    }
}

/// What else was seen. Notes decide nothing.
pub mod notes {
    /// It came from a PDS that is not the account's.
    pub const FOREIGN: u32 = 1 << 0;
    /// It was proved by a former key, the one that was valid at its rev.
    pub const FORMER_KEY: u32 = 1 << 1;
    /// A record is not strict DAG-CBOR.
    pub const ODD_RECORD: u32 = 1 << 2;
    /// It lacks `prevData` or an op's `prev`, as hosts from before Sync 1.1 do.
    pub const LEGACY: u32 = 1 << 3;
    /// Nothing was known of what the account did before.
    pub const FIRST: u32 = 1 << 4;
    /// It does not continue what the account did last.
    pub const GAP: u32 = 1 << 5;

    /// It was redacted and has nothing of its tree left: its signature was proved, and no more.
    pub const NO_TREE: u32 = 1 << 6;

    /// Bits and the names that every tool shows.
    pub const NAMES: [(u32, &str); 7] = [
        (FOREIGN, "foreign"),
        (FORMER_KEY, "former-key"),
        (ODD_RECORD, "odd-record"),
        (LEGACY, "legacy"),
        (FIRST, "first"),
        (GAP, "gap"),
        (NO_TREE, "no-tree"),
    ];
}

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub status: Status,
    /// The rule that decided; `None` when the status is ok.
    pub rule: Option<Rule>,
    /// See [`notes`].
    pub notes: u32,
    /// The key that proved it: curve (1 K-256, 2 P-256), then the compressed point.
    pub key: Option<[u8; 34]>,
}

impl Verdict {
    /// Proved by `key`, or without a signature where there is none to prove.
    #[must_use]
    pub fn ok(key: Option<[u8; 34]>) -> Verdict {
        Verdict { status: Status::Ok, rule: None, notes: 0, key }
    }

    /// Refused under `rule`.
    #[must_use]
    pub fn refused(rule: Rule) -> Verdict {
        Verdict { status: Status::Refused, rule: Some(rule), notes: 0, key: None }
    }

    /// Not decided, because of `rule`.
    #[must_use]
    pub fn unchecked(rule: Rule) -> Verdict {
        Verdict { status: Status::Unchecked, rule: Some(rule), notes: 0, key: None }
    }

    /// The section's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; VERDICT_BYTES] {
        let [r0, r1] = self.rule.map_or(0, |rule| rule.0).to_le_bytes();
        let [n0, n1, n2, n3] = self.notes.to_le_bytes();
        let head = [self.status as u8, 0, r0, r1, n0, n1, n2, n3];
        let mut bytes = [0; VERDICT_BYTES];
        let key = self.key.unwrap_or([0; 34]);
        for (slot, byte) in bytes.iter_mut().zip(head.iter().chain(&key)) {
            *slot = *byte;
        }
        bytes
    }

    /// Reads a section's bytes.
    ///
    /// # Errors
    /// [`Error::SectionBody`] if they are too short or name a status that does not exist.
    pub fn from_bytes(bytes: &[u8]) -> Result<Verdict, Error> {
        let wrong = Error::SectionBody { tag: "verdict", bytes: bytes.len() };
        let Some(([status, 0, r0, r1, n0, n1, n2, n3], rest)) = bytes.split_first_chunk::<8>()
        else {
            return Err(wrong);
        };
        let status = match status {
            1 => Status::Ok,
            2 => Status::Refused,
            3 => Status::Unchecked,
            _ => return Err(wrong),
        };
        let rule = u16::from_le_bytes([*r0, *r1]);
        let key = *rest.first_chunk::<34>().ok_or(wrong)?;
        Ok(Verdict {
            status,
            rule: (rule != 0).then_some(Rule(rule)),
            notes: u32::from_le_bytes([*n0, *n1, *n2, *n3]),
            key: (key != [0; 34]).then_some(key),
        })
    }
}

/// Reads the verdict of a frame; `None` if it has none.
///
/// # Errors
/// [`Error::SectionBody`] if the section does not have the form above.
pub fn read(frame: &Frame<'_>) -> Result<Option<Verdict>, Error> {
    frame.section(Tag::VERDICT).map(Verdict::from_bytes).transpose()
}
