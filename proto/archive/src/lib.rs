//! The archive: every event once, exactly as it came, found by number and by account.
//!
//! This room writes files below one folder and nothing else. It does not judge events (what is
//! worth keeping is its caller's to say) and it opens no socket.
//!
//! Events go to a log in the order in which they come, in batches that are believed whole or not
//! at all (`batch`). Marks lie in the same log behind their events, so a durable mark is the
//! proof that everything before it is durable. A log that is full becomes a segment, in which the
//! events lie by account and compressed (`segment`), while the next log takes events. A segment
//! gets its name when it has given every event back byte for byte, and only then its log goes.
//!
//! What holds after a kill at any moment, a torn write or a full disk: nothing behind a durable
//! mark is lost, and nothing is stored twice, because the newest events are known by identity and
//! what comes again is dropped. After a loss of power the same holds under [`Fsync::Mark`].
//!
//! Reading order: `folder`, `batch`, `log`, `image` (the way in), `segment`, `codec`, `group`,
//! `crew`, `ends`, `seal` (the way to rest), `recover`, `writer`, and `reader`, `scan`, `replay`,
//! `follow` (the way back), `derived` and `heads` (what finds one thing without the rest),
//! `lattice`, `forgotten` and `redact` (what is not to come back).
//!
//! ```
//! # fn main() -> Result<(), archive::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path();
//! use frame::{Frame, Header, HostId, Item, Kind};
//!
//! let mut stream = Vec::new();
//! frame::put_magic(&mut stream);
//! frame::host::put(&mut stream, HostId(1), frame::host::Role::Pds, "pds.example.com")?;
//! let header = Header { host: HostId(1), seq: 7, ..Header::new(Kind::EVENT, 0) };
//! frame::put(&mut stream, &header, b"an event")?;
//!
//! let mut writer = archive::Writer::open(dir, archive::Options::default())?;
//! let mut decoder = frame::Decoder::default();
//! let mut rest = &stream[..];
//! while let Some((item, used)) = decoder.next(rest)? {
//!     if let Item::Frame(frame) = item {
//!         writer.put(&frame)?;
//!     }
//!     rest = &rest[used..];
//! }
//! writer.finish(false)?;
//!
//! let mut reader = archive::Reader::open(dir)?;
//! let mut scan = reader.scan(archive::Query::default());
//! match scan.next()? {
//!     Some(archive::Found::Event(event)) => assert_eq!(event.body, b"an event"),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
#![warn(clippy::indexing_slicing)]

mod folder;
mod head;
mod lock;
mod manifest;

mod batch;
mod image;
mod log;

mod codec;
mod crew;
mod ends;
mod group;
mod seal;
mod sealer;
mod segment;

mod recover;
mod retain;
mod syncer;
mod window;
mod worker;
mod writer;

mod derived;
mod heads;

mod follow;
mod marks;
mod newest;
mod parts;
mod reader;
mod replay;
mod scan;
mod seek;
mod usage;

mod compact;
mod forgotten;
mod lattice;
mod redact;

mod bytes;
mod content;
mod disk;
mod error;
mod hosts;
mod prefix;
mod stored;

pub use compact::{Compacted, Gone, compact, unforgotten};
pub use derived::account::{Head, Status, host_key};
pub use error::{Cause, Damage, Error, Holder, Numbers};
pub use follow::Follower;
pub use forgotten::{Forgotten, Target};
pub use heads::{Account, Heads, heads};
pub use hosts::{Host, HostMark, HostNo};
pub use lattice::{Fate, Lattice, differences};
pub use marks::marks;
pub use newest::newest;
pub use parts::{Part, Parts, parts};
pub use reader::{Query, Reader};
pub use recover::repair;
pub use redact::{Left, redact, redact_all};
pub use scan::{Found, Scan};
pub use stored::{Event, Note};
pub use usage::{Usage, usage};
pub use writer::{Fsync, Options, Outcome, Totals, Writer};

#[cfg(test)]
mod tests;
