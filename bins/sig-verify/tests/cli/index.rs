//! Indexes to prove by, made by the room that makes them for `index-build`.

use std::path::{Path, PathBuf};

use didindex::{Builder, Change, Cursor, Key, PlcDid};
use keys::PublicKey;

/// An account as the index is to have it: changes as (from ms, key, PDS).
pub struct Account {
    pub did: String,
    pub changes: Vec<(u64, Key, Option<&'static str>)>,
}

impl Account {
    /// One that always had this key, at `pds.example`.
    pub fn new(number: u8, key: PublicKey) -> Account {
        let did = PlcDid::from_bytes([number; 15]).to_string();
        Account { did, changes: vec![(0, Key::Known(key.to_bytes()), Some("pds.example"))] }
    }
}

pub fn build(folder: &Path, accounts: &[Account]) -> PathBuf {
    let path = folder.join("did.idx");
    let mut builder = Builder::create(&path, accounts.len() as u64, true).unwrap();
    for account in accounts {
        let changes: Vec<Change<'_>> = account
            .changes
            .iter()
            .map(|(from_ms, key, pds)| Change { from_ms: *from_ms, key: *key, pds: *pds })
            .collect();
        builder.add(&account.did.parse().unwrap(), &changes).unwrap();
    }
    builder.finish(Cursor { created_ms: 0, operations: 0 }).unwrap();
    path
}
