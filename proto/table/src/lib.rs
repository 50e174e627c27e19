//! A hash table that lies in a file and is looked up where it lies.
//!
//! The directory's identities do not fit in the memory of every tool that asks for one of them,
//! so the table is built once and mapped by its readers: the kernel keeps one copy for all. A
//! look-up allocates nothing and makes no system call.
//!
//! The room knows about keys and values of fixed size and nothing about what they mean. It has
//! five parts: [`Table`] reads, [`Pack`] writes (both any run of bytes, so that one file can hold
//! a table among other things), [`mod@file`] makes, publishes and maps files, [`live`] is the
//! file that grows under its readers, and [`words`] one of words that are set under them. Only mapping
//! and prefetching are `unsafe`, in [`map`], [`live`], [`words`] and `machine`. The bytes are described
//! in [`header`], [`live`] and [`words`].
//!
//! ```
//! use table::{Pack, Seed, Table, header};
//!
//! let seed = Seed::random()?;
//! let mut entries = [(b"one", b"01"), (b"two", b"02")];
//! entries.sort_by_key(|(key, _)| seed.hash(*key));
//! let homes = table::homes_for(2);
//! let mut pack = Pack::<_, _, (), 3, 2>::new(Vec::new(), Vec::new(), homes, seed)?;
//! for (key, value) in entries {
//!     pack.push(key, value, None)?;
//! }
//! let packed = pack.finish()?;
//!
//! let mut area = [&packed.header[..], &packed.groups].concat();
//! area.resize(header::slots_at(homes) as usize, 0);
//! area.extend(packed.slots);
//! let table = Table::<_, 3, 2>::open(&area)?;
//! assert_eq!(table.get(b"two"), Some(b"02"));
//! assert_eq!(table.get(b"six"), None);
//! # Ok::<(), table::Error>(())
//! ```
#![warn(clippy::indexing_slicing)]

pub mod file;
pub mod header;
pub mod live;
pub mod map;
pub mod words;

mod error;
mod group;
mod hash;
mod machine;
mod pack;
mod read;

pub use error::Error;
pub use file::NewFile;
pub use hash::Seed;
pub use header::{bytes, homes_for};
pub use live::{Live, LiveMut};
pub use map::{Map, Use};
pub use pack::{Pack, Packed};
pub use read::Table;
pub use words::{Words, WordsMut};
