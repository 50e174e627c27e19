//! Names of accounts, and what stands behind them: handles, did:web, DID documents.
//!
//! A handle is a domain that names a DID; a DID has a document, which names the account's key, its
//! server and its handle. Only where both directions agree is a handle an account's. The room reads
//! what a name server, a host and a directory answer with, and says where to ask; it opens no
//! socket and believes nobody: whoever asks (`did-lookup`, `sig-verify`) does so through `net`.
//!
//! * [`Handle`]: its syntax, the domains that no handle may have, where its DID is to be found, and
//!   what was found there (atproto, "Handle").
//! * [`web`]: which did:web there can be, and where its document lies (atproto, "DID").
//! * [`Document`]: key, server and handle.
//!
//! ```
//! let handle = diddoc::Handle::parse("@Alice.Example.com")?;
//! assert_eq!(handle.as_str(), "alice.example.com");
//! assert_eq!(handle.txt_name().as_deref(), Some("_atproto.alice.example.com"));
//! # Ok::<(), diddoc::NotHandle>(())
//! ```
#![warn(clippy::indexing_slicing)]

mod document;
mod domain;
mod handle;
pub mod web;

pub use document::{Document, Error, SigningKey, fuzz_document};
pub use handle::{Found, Handle, NotFound, NotHandle, did_in_body, did_in_records, fuzz_handle};
