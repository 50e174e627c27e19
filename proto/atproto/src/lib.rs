//! AT Protocol data as bytes: what an event, a CAR, a commit and a tree node
//! are, read in place.
//!
//! Every byte that comes in here was chosen by a stranger. The parsers copy
//! nothing, allocate nothing and end in a typed error that names the offset;
//! the time they take is bounded by the length of what they are given. This
//! room knows nothing of frames, keys, sockets or files.
//!
//! Reading order: [`cid`] and [`syntax`] (names), [`cbor`] (the walker
//! everything else stands on), [`event`] (the envelope), [`car`] and
//! [`blocks`] (what an envelope carries), [`commit`] and [`mst`] (what the
//! blocks say), [`repo`] (all of them), [`spans`] (the block table that a stage appends) and
//! [`identity`] (what a duplicate is).

#![warn(clippy::indexing_slicing)]

pub mod cid;
pub mod datetime;
pub mod syntax;

pub mod cbor;
pub mod loose;

pub mod event;
pub mod limits;

pub mod blocks;
pub mod car;
pub mod commit;
pub mod mst;
pub mod repo;
pub mod spans;

pub mod identity;

mod base32;
mod plc_did;

pub use cid::Cid;
pub use plc_did::{NotPlcDid, PlcDid};
pub use syntax::Tid;

#[cfg(test)]
mod testing;
