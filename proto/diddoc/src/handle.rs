//! Handles: domain names that name accounts.
//!
//! A handle's DID is found in a TXT record (`did=...`) at `_atproto.` and the handle, or as the
//! text at `/.well-known/atproto-did` of the host of that name; where both answer, the record
//! counts. What is found is a claim of the domain's owner about somebody's account, and worth
//! nothing until the account's document names the handle.

use std::fmt;

use atproto::syntax;

use crate::domain;

/// Longest name that a name server can be asked for.
const NAME_BYTES_MAX: usize = 253;

/// A handle that can be asked about, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle(Box<str>);

/// Why a text is no handle to ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotHandle {
    /// Not the name of a domain, with a dot in it.
    #[error("not the syntax of a handle")]
    Syntax,
    /// Of a domain that is not of the public network.
    #[error("no handle ends in .{0}")]
    Reserved(&'static str),
}

/// Whom the owner of a handle's domain names: a DID that can be looked up.
pub type Found = Result<Option<String>, NotFound>;

/// Why an answer names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFound {
    /// More than one DID: then none of them counts.
    #[error("it names both {first} and {second}")]
    Several {
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// What should be a DID is none.
    #[error("what it names is no DID")]
    NotDid,
    /// A DID of a method that accounts do not have.
    #[error("{did} is neither did:plc nor did:web")]
    Method {
        /// The DID.
        did: String,
    },
}

impl Handle {
    /// Reads a handle, as people write it: with or without `@` or `at://`, in any case.
    ///
    /// # Errors
    /// [`NotHandle`].
    pub fn parse(text: &str) -> Result<Handle, NotHandle> {
        let text = text.strip_prefix("at://").or_else(|| text.strip_prefix('@')).unwrap_or(text);
        if !syntax::is_handle(text) {
            return Err(NotHandle::Syntax);
        }
        match domain::reserved(text) {
            Some(top) => Err(NotHandle::Reserved(top)),
            None => Ok(Handle(text.to_ascii_lowercase().into())),
        }
    }

    /// The handle.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is of a test network: in the public one nobody has it.
    #[must_use]
    pub fn is_test(&self) -> bool {
        domain::is_test(&self.0)
    }

    /// The name whose TXT records to ask for; nothing for a handle so long that there is none.
    #[must_use]
    pub fn txt_name(&self) -> Option<String> {
        Some(format!("_atproto.{}", self.0)).filter(|name| name.len() <= NAME_BYTES_MAX)
    }

    /// Where the host of this name says whom it names.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}/.well-known/atproto-did", self.0)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom TXT records name. Records that do not begin with `did=` are of no concern here; without
/// any other there is nobody.
///
/// # Errors
/// [`NotFound`]: several DIDs, or none that is one.
pub fn did_in_records<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let mut found: Found = Ok(None);
    for record in records {
        let Some(value) = record.strip_prefix(b"did=") else { continue };
        found = match (found, did(value)) {
            (Ok(None), Ok(did)) | (Err(_), Ok(did)) => Ok(Some(did)),
            (Ok(Some(first)), Ok(second)) if first != second => {
                return Err(NotFound::Several { first, second });
            }
            // Only valid records count, so a bad one beside a good one is nothing.
            (Ok(None), Err(error)) => Err(error),
            (found, _) => found,
        };
    }
    found
}

/// Whom the text at [`Handle::url`] names.
///
/// # Errors
/// [`NotFound`]: it is no DID.
pub fn did_in_body(body: &[u8]) -> Result<String, NotFound> {
    did(body.trim_ascii())
}

fn did(text: &[u8]) -> Result<String, NotFound> {
    let text = std::str::from_utf8(text).ok().filter(|text| syntax::is_did(text));
    let did = text.ok_or(NotFound::NotDid)?.to_owned();
    if did.starts_with("did:plc:") || crate::web::is_web(&did) {
        Ok(did)
    } else {
        Err(NotFound::Method { did })
    }
}

/// Reads `data` as a handle and as what a name server or a host answers about one.
pub fn fuzz_handle(data: &[u8]) {
    let _ = (did_in_body(data), did_in_records(data.split(|byte| *byte == b'\n')));
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(handle) = Handle::parse(text)
    {
        assert_eq!(Handle::parse(handle.as_str()).as_ref(), Ok(&handle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    const B: &str = "did:web:b.example.com";

    #[test]
    fn a_handle_is_read_as_people_write_it() {
        for text in ["alice.example.com", "@alice.Example.COM", "at://ALICE.example.com"] {
            assert_eq!(Handle::parse(text).unwrap().as_str(), "alice.example.com", "{text}");
        }
        let handle = Handle::parse("a.co").unwrap();
        assert_eq!(handle.txt_name().as_deref(), Some("_atproto.a.co"));
        assert_eq!(handle.url(), "https://a.co/.well-known/atproto-did");
        assert!(!handle.is_test() && Handle::parse("a.TEST").unwrap().is_test());
    }

    #[test]
    fn what_nobody_can_own_is_no_handle() {
        for text in ["", "@", "alice", "alice.example.com.", "1.2.3.4", "@@a.co", "a..co", A] {
            assert_eq!(Handle::parse(text), Err(NotHandle::Syntax), "{text}");
        }
        for (text, top) in
            [("laptop.local", "local"), ("a.INVALID", "invalid"), ("a.onion", "onion")]
        {
            assert_eq!(Handle::parse(text), Err(NotHandle::Reserved(top)));
        }
    }

    #[test]
    fn a_handle_too_long_for_a_record_is_asked_about_at_its_host_alone() {
        let long = format!("{}.co", ["a".repeat(60).as_str(); 4].join("."));
        let handle = Handle::parse(&long).unwrap();
        assert_eq!(handle.txt_name(), None);
    }

    #[test]
    fn records_name_one_did_or_nobody() {
        let read = |records: &[&str]| did_in_records(records.iter().map(|it| it.as_bytes()));
        let (a, b) = (format!("did={A}"), format!("did={B}"));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["v=spf1 -all", "DID=x", &A[1..]]), Ok(None));
        assert_eq!(read(&["v=spf1 -all", &a]), Ok(Some(A.into())));
        assert_eq!(read(&[&a, &a]), Ok(Some(A.into())), "the same twice is one");
        assert_eq!(read(&[&a, &b]), Err(NotFound::Several { first: A.into(), second: B.into() }));
        assert_eq!(read(&["did=", &a]), Ok(Some(A.into())), "one that is valid");
        assert_eq!(read(&[&a, "did=nonsense"]), Ok(Some(A.into())));
        assert_eq!(read(&["did=nonsense"]), Err(NotFound::NotDid));
        assert_eq!(read(&["did= did:plc:x"]), Err(NotFound::NotDid));
        let method = NotFound::Method { did: "did:key:x".into() };
        assert_eq!(read(&["did=did:key:x"]), Err(method));
        assert_eq!(did_in_records([&b"did=\xff"[..]]), Err(NotFound::NotDid));
    }

    #[test]
    fn a_host_names_one_did_in_plain_text() {
        assert_eq!(did_in_body(format!(" {A}\r\n").as_bytes()).as_deref(), Ok(A));
        for body in ["", "<html>", &format!("{A}\n{B}"), "\"did:plc:x\""] {
            assert_eq!(did_in_body(body.as_bytes()), Err(NotFound::NotDid), "{body}");
        }
    }
}
