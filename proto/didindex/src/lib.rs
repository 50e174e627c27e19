//! `did.idx`: for each did:plc its signing key, its PDS and its former keys, in one mapped file.
//!
//! Every proof of a commit asks for a key, so the directory lies where all processes read it at
//! memory speed: [`DidIndex`] maps the file and answers without allocating. The file is built by
//! [`Builder`] out of what the directory's operations say, and is never changed afterwards. What
//! has changed since lies beside it in two files that one process keeps: a log of operations
//! ([`log`]) and, made from it, a small mapped delta that readers ask first ([`delta`]).
//!
//! The room knows which keys count at a time ([`keys_at`]). It does not know operations (`plc`
//! does), curves or sockets; did:web has no directory and is not in here.
//!
//! The bytes of the file are described in [`layout`], those beside it in [`log`] and [`delta`].
//!
//! ```
//! use didindex::{Builder, Change, Cursor, DidIndex, Key, Status};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("did.idx");
//! let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse()?;
//! let mut builder = Builder::create(&path, 1, false)?;
//! let key = Key::Known([1, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
//!                       7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
//! builder.add(&did, &[Change { from_ms: 0, key, pds: Some("pds.example.com") }])?;
//! builder.finish(Cursor { created_ms: 0, operations: 1 })?;
//!
//! let index = DidIndex::open(&path)?;
//! let entry = index.get("did:plc:ewvi7nxzyoun6zhxrhs64oiz").ok_or("not there")?;
//! assert_eq!(entry.status(), Status::Active);
//! assert_eq!(entry.pds(), Some("pds.example.com"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(clippy::indexing_slicing)]

pub mod layout;

pub mod beside;
pub mod delta;
pub mod log;

mod builder;
mod entry;
mod error;
mod history;
mod hosts;
mod index;
mod key;
mod live;
mod packed;
mod past;
mod section;
mod spool;

pub use atproto::PlcDid;
pub use beside::lock;
pub use builder::{Builder, Change, Sealed, Summary};
pub use delta::{DeltaWriter, Room};
pub use entry::Entry;
pub use error::Error;
pub use history::{History, KEY_EARLY_MS, Period, keys_at};
pub use hosts::{HOST_BYTES_MAX, Host};
pub use index::{DidIndex, Info, fuzz_open};
pub use key::{KEY_BYTES, Key, Status};
pub use layout::Cursor;
pub use live::DeltaInfo;
pub use log::{LogWriter, Record, Records};
pub use table::Seed;
