//! A hash table that lies in a file and is looked up where it lies.
//!
//! The directory's identities do not fit in the memory of every tool that asks for one of them,
//! so the table is built once, in a mapping of the file itself, and mapped by its readers: the
//! kernel keeps one copy for all. A look-up allocates nothing and makes no system call.
//!
//! The room knows about keys and values of fixed size and nothing about what they mean. It has
//! three parts: [`Table`] reads, [`Fill`] builds (both on any run of bytes, so that one file can
//! hold a table among other things), and [`mod@file`] makes, publishes and maps files. Only the
//! mapping itself is `unsafe`, in [`map`]. The bytes are described in [`header`].
//!
//! ```
//! use table::{Fill, Table, Seed};
//!
//! let slots = table::slots_for(2);
//! let mut area = vec![0; table::bytes(slots, 3, 2)? as usize];
//! let mut fill = Fill::<_, 3, 2>::new(&mut area, slots, Seed::random()?)?;
//! fill.insert(b"one", b"01")?;
//! fill.insert(b"two", b"02")?;
//! fill.finish();
//!
//! let table = Table::<_, 3, 2>::open(&area)?;
//! assert_eq!(table.get(b"two"), Some(b"02"));
//! assert_eq!(table.get(b"six"), None);
//! # Ok::<(), table::Error>(())
//! ```
#![warn(clippy::indexing_slicing)]

pub mod file;
pub mod header;
pub mod map;

mod error;
mod fill;
mod hash;
mod probe;
mod read;

pub use error::Error;
pub use file::NewFile;
pub use fill::Fill;
pub use hash::Seed;
pub use header::{bytes, slots_for};
pub use map::{Map, MapMut};
pub use read::Table;
