//! The syntax of names: DID, handle, TID, NSID, record key and repository path.
//!
//! As the AT Protocol specifications write them (`/specs/did`, `/specs/handle`,
//! `/specs/tid`, `/specs/nsid`, `/specs/record-key`, `/specs/repository`). A name is checked
//! where it comes in; nothing here allocates.

use std::fmt;
use std::str::FromStr;

/// Longest DID, in bytes (`/specs/did`).
pub const DID_BYTES_MAX: usize = 2048;
/// Longest handle, in bytes (`/specs/handle`).
pub const HANDLE_BYTES_MAX: usize = 253;
/// Longest NSID, in bytes (`/specs/nsid`: a domain of 253, a dot, a name of 63).
pub const NSID_BYTES_MAX: usize = 317;
/// Longest record key, in bytes (`/specs/record-key`).
pub const RKEY_BYTES_MAX: usize = 512;

/// Whether this is a DID: `did:`, a lower-case method, and an identifier that
/// does not end in `:` or `%`. Escapes are not looked into, as the
/// specification has it.
pub fn is_did(text: &str) -> bool {
    if text.len() > DID_BYTES_MAX {
        return false;
    }
    let Some((method, id)) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_lowercase())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:%-".contains(&b))
        && id.bytes().next_back().is_some_and(|b| b != b':' && b != b'%')
}

/// Whether this is a handle: at least two labels of a domain name, the last of which does not
/// begin with a digit. In any case; reserved domains are handles by their syntax.
pub fn is_handle(text: &str) -> bool {
    let top = text.rsplit_once('.').map(|(_, top)| top.as_bytes());
    text.len() <= HANDLE_BYTES_MAX
        && matches!(top, Some([b'a'..=b'z' | b'A'..=b'Z', ..]))
        && text.split('.').all(is_label)
}

/// Whether this is an NSID: at least three segments, a domain name backwards
/// and a name of letters and digits that begins with a letter. Only the whole is
/// bounded in length, as the network's own vectors have it.
pub fn is_nsid(text: &str) -> bool {
    if text.len() > NSID_BYTES_MAX {
        return false;
    }
    let Some((authority, name)) = text.rsplit_once('.') else {
        return false;
    };
    let named = name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    named
        && authority.contains('.')
        && authority.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && authority.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether this is a record key: 1 to 512 of the letters `A-Za-z0-9_~.:-`, and
/// neither `.` nor `..`.
pub fn is_rkey(text: &str) -> bool {
    (1..=RKEY_BYTES_MAX).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_~.:-".contains(&b))
}

/// Whether this is a TID.
pub fn is_tid(text: &str) -> bool {
    text.parse::<Tid>().is_ok()
}

/// Whether this is a path in a repository: `collection/rkey`.
pub fn is_path(text: &str) -> bool {
    split_path(text).is_some()
}

/// The collection and the record key of a path, if both are well formed.
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    path.split_once('/').filter(|(collection, rkey)| is_nsid(collection) && is_rkey(rkey))
}

/// A timestamp identifier: 53 bits of microseconds since 1970, 10 bits that
/// tell clocks apart. Revs are TIDs; their order as numbers is their order as
/// text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u64);

/// The text is no TID: not 13 characters of `234567a-z`, or the first is
/// beyond `j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a TID")]
pub struct NotTid;

const SORTABLE: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// What each character counts in a TID; 128 for one that TIDs do not have.
#[expect(clippy::indexing_slicing, reason = "an index that is too large does not compile")]
const DIGITS: [u8; 256] = {
    let mut digits = [128; 256];
    let mut digit = 0;
    while digit < SORTABLE.len() {
        digits[SORTABLE[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

fn digit(letter: u8) -> u8 {
    DIGITS.get(usize::from(letter)).copied().unwrap_or(128)
}

impl Tid {
    /// Characters of a TID.
    pub const CHARS: usize = 13;

    /// The TID of a moment and a clock (0 to 1023).
    pub fn new(micros: u64, clock: u16) -> Tid {
        Tid(((micros & ((1 << 53) - 1)) << 10) | u64::from(clock & 0x3ff))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> u64 {
        self.0 >> 10
    }

    /// Which clock made it.
    pub fn clock(self) -> u16 {
        (self.0 & 0x3ff) as u16
    }

    /// The TID that has this text.
    #[inline]
    pub fn of(text: &[u8]) -> Option<Tid> {
        let text: &[u8; Tid::CHARS] = text.try_into().ok()?;
        let (mut value, mut wrong) = (0u64, 0);
        for letter in text {
            let digit = digit(*letter);
            wrong |= digit;
            value = (value << 5) | u64::from(digit & 31);
        }
        // 13 letters are 65 bits, and the highest has no place in 64.
        let [first, ..] = text;
        (wrong < 32 && digit(*first) < 16).then_some(Tid(value))
    }

    /// Its text.
    #[inline]
    pub fn chars(self) -> [u8; Tid::CHARS] {
        let mut text = [b'2'; Tid::CHARS];
        for (at, letter) in text.iter_mut().rev().enumerate() {
            *letter = Tid(self.0 >> (5 * at)).last_char();
        }
        text
    }

    /// The last character of its text, which tells the lowest five bits of its clock.
    #[inline]
    pub fn last_char(self) -> u8 {
        SORTABLE.get((self.0 & 31) as usize).copied().unwrap_or(b'2')
    }
}

impl FromStr for Tid {
    type Err = NotTid;

    fn from_str(text: &str) -> Result<Tid, NotTid> {
        Tid::of(text.as_bytes()).ok_or(NotTid)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.chars()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tids_go_both_ways_and_keep_their_order() {
        for text in ["2222222222222", "3jzfcijpj2z2a", "7777777777777", "jzzzzzzzzzzzz"] {
            assert_eq!(text.parse::<Tid>().unwrap().to_string(), text);
        }
        let (early, late) = ("3jzfcijpj2z2a", "3jzfcijpj2z2b");
        assert!(early.parse::<Tid>().unwrap() < late.parse::<Tid>().unwrap());
        let tid = Tid::new(1_750_000_000_000_000, 5);
        assert_eq!((tid.micros(), tid.clock()), (1_750_000_000_000_000, 5));
        assert_eq!(tid.to_string().parse(), Ok(tid));
    }

    #[test]
    fn a_path_is_a_collection_and_a_key() {
        assert_eq!(split_path("app.bsky.feed.post/3k"), Some(("app.bsky.feed.post", "3k")));
        for bad in ["", "/", "app.bsky.feed.post", "app.bsky.feed.post/", "/3k", "a.b.c/.", "a.b/x"]
        {
            assert_eq!(split_path(bad), None, "{bad}");
        }
        assert_eq!(split_path("a.b.c/x/y"), None);
    }
}
