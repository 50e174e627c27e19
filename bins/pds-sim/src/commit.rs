//! Commits: the signed roots of repositories, version 3.

use std::sync::Arc;

use anyhow::Result;
use ipld_core::cid::Cid;
use serde::Serialize;

use crate::block::Block;
use crate::key::Key;

/// The fields of a commit. Without `sig` its DAG-CBOR is what is signed; with it, it is the block.
#[derive(Clone, Debug, Serialize)]
pub struct Commit {
    /// The account.
    pub did: String,
    /// A TID above the one before.
    pub rev: String,
    /// The signature, once there is one.
    #[serde(with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub sig: Option<[u8; 64]>,
    /// Root of the record tree.
    pub data: Cid,
    /// Always null, a remnant of version 2.
    pub prev: Option<Cid>,
    /// Always 3.
    pub version: u8,
    /// Whose signature it is; not part of the commit.
    #[serde(skip)]
    pub signed_by: Arc<str>,
}

impl Commit {
    /// A signed commit.
    pub fn sign(did: &str, rev: String, data: Cid, key: &Key) -> Result<Self> {
        let did = did.to_owned();
        let signed_by = Arc::clone(key.did_key());
        let mut commit = Self { did, rev, sig: None, data, prev: None, version: 3, signed_by };
        commit.sign_again(key)?;
        Ok(commit)
    }

    /// Replaces the signature by that of `key`.
    pub fn sign_again(&mut self, key: &Key) -> Result<()> {
        self.sig = None;
        self.signed_by = Arc::clone(key.did_key());
        self.sig = Some(key.sign(&serde_ipld_dagcbor::to_vec(&self)?)?);
        Ok(())
    }

    /// The commit as a block of its repository.
    pub fn block(&self) -> Result<Block> {
        Block::of(self)
    }
}
