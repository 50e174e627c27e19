//! What is derived of the events, so that one is found without reading the others: leaves, the last
//! leaf of each path, and what is known of each account. All of it can be made again from the
//! segments; a reader that finds none, or a damaged one, reads the events themselves.
//!
//! A log's part is made while it is written, held in memory ([`live`]), and has its names before the
//! segment has its own. Leaves stay as they are for ever. Paths and accounts are sorted tables, one a segment; four of one
//! level that lie side by side become one of the next ([`levels`]), so that a look-up goes through at
//! most three tables a level. Tables of accounts stay when their segments are dropped.
//!
//! Reading order: [`run`] (a file of records), [`leaf`] and [`account`] (the records), [`draft`] (making
//! them of events), [`levels`] (which files cover which segments), [`make`] (writing and merging),
//! [`earlier`] and [`leaves`] (what is looked up in them while more are made), [`live`] (the open log),
//! [`find`] (finding events by them), [`kept`] (what outlives dropped segments), [`whole`] (what is
//! missing or damaged).

pub(crate) mod account;
pub(crate) mod draft;
pub(crate) mod earlier;
pub(crate) mod find;
pub(crate) mod kept;
pub(crate) mod leaf;
pub(crate) mod leaves;
pub(crate) mod levels;
pub(crate) mod live;
pub(crate) mod make;
pub(crate) mod run;
pub(crate) mod whole;

/// What an account, or a path of one, is called in these files: the first half of SHA-256 over the
/// archive's key, the DID, a zero byte and the path (nothing for an account). The key is nobody's to
/// know, so nobody can have two of one name.
pub(crate) type Name = [u8; 16];

pub(crate) fn name(key: &[u8; 32], did: &str, path: &str) -> Name {
    let whole = [&key[..], did.as_bytes(), &[0], path.as_bytes()].concat();
    atproto::Cid::raw(&whole).digest().first_chunk().copied().unwrap_or_default()
}
