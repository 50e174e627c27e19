//! A repository: records, their tree, and the head that was last signed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::block::{Block, car};
use crate::commit::Commit;
use crate::events::{Draft, Op};
use crate::host::Summary;
use crate::key::Key;
use crate::mst::Tree;

/// A change of one record.
pub enum Write {
    /// A record where there was none, or another in the place of the one that was there.
    Put(String, Block),
    /// The record goes.
    Delete(String),
}

/// The repository of an account, with what the host knows of the account.
pub struct Repo {
    /// The account.
    pub did: String,
    /// Its present handle.
    pub handle: String,
    /// The key that the host signs with.
    pub key: Arc<Key>,
    /// Whether the account is served.
    pub active: bool,
    /// Why not.
    pub status: Option<&'static str>,
    tree: Tree,
    records: HashMap<String, Block>,
    /// The keys of `records` in an order that the seed alone decides.
    paths: Vec<String>,
    head: Option<Commit>,
}

impl Repo {
    /// A repository without records and without a commit.
    pub fn new(did: String, handle: String, key: Arc<Key>) -> Self {
        Self {
            did,
            handle,
            key,
            active: true,
            status: None,
            tree: Tree::new(),
            records: HashMap::new(),
            paths: Vec::new(),
            head: None,
        }
    }

    /// A path that has a record, by a number from anywhere.
    pub fn path(&self, number: usize) -> Option<&str> {
        let place = number.checked_rem(self.paths.len())?;
        self.paths.get(place).map(String::as_str)
    }

    /// The last commit.
    pub fn head(&self) -> Option<&Commit> {
        self.head.as_ref()
    }

    /// Makes the changes (each of another path) and signs them. The event carries the tree nodes
    /// with which the changes can be undone: those on the way to each changed key and to the
    /// places beside it, as they are after the change.
    pub fn write(&mut self, rev: String, writes: Vec<Write>) -> Result<Draft> {
        let mut ops = Vec::with_capacity(writes.len());
        // By CID, so that each block is there once.
        let mut blocks = BTreeMap::new();
        for write in writes {
            ops.push(match write {
                Write::Put(path, record) => {
                    let cid = record.cid;
                    blocks.insert(cid, record.clone());
                    self.records.insert(path.clone(), record);
                    let prev = self.tree.insert(&path, cid);
                    if prev.is_none() {
                        self.paths.push(path.clone());
                    }
                    let action = if prev.is_some() { "update" } else { "create" };
                    Op { cid: Some(cid), path, prev, action }
                }
                Write::Delete(path) => {
                    let prev = self.tree.remove(&path);
                    prev.with_context(|| format!("{}: no record to delete", self.did))?;
                    self.records.remove(&path);
                    self.paths.retain(|other| *other != path);
                    Op { cid: None, path, prev, action: "delete" }
                }
            });
        }
        let mut fresh = Vec::new();
        let data = self.tree.root(&mut fresh)?;
        blocks.extend(fresh.into_iter().map(|block| (block.cid, block)));
        self.tree.proof_of_root(&mut blocks);
        for op in &ops {
            self.tree.proof(&op.path, &mut blocks);
        }
        let blocks = blocks.into_values().collect();
        let commit = Commit::sign(&self.did, rev, data, &self.key)?;
        let before = self.head.replace(commit.clone());
        let prev_data = before.as_ref().map(|head| head.data);
        Ok(Draft::Commit { commit, since: before.map(|head| head.rev), prev_data, ops, blocks })
    }

    /// Whether the head is signed by a key that the host has given up.
    pub fn head_is_of_an_old_key(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.signed_by != *self.key.did_key())
    }

    /// Signs the same records anew and says so with the head alone.
    pub fn sync(&mut self, rev: String) -> Result<Draft> {
        let data = self.tree.root(&mut Vec::new())?;
        let commit = Commit::sign(&self.did, rev, data, &self.key)?;
        self.head = Some(commit.clone());
        Ok(Draft::Sync { commit })
    }

    /// What the host says of the account.
    pub fn summary(&self) -> Summary {
        let head = self.head.as_ref();
        let cid = head.and_then(|head| head.block().ok()).map(|block| block.cid.to_string());
        Summary {
            head: cid.unwrap_or_default(),
            rev: head.map(|head| head.rev.clone()).unwrap_or_default(),
            active: self.active,
            status: self.status.map(str::to_owned),
        }
    }

    /// The whole repository: commit, tree, records.
    pub fn car(&self) -> Result<Vec<u8>> {
        let head = self.head.as_ref().context("the repository has no commit yet")?.block()?;
        let mut blocks = vec![&head];
        self.tree.blocks(&mut blocks);
        blocks.extend(self.paths.iter().filter_map(|path| self.records.get(path)));
        car(head.cid, blocks.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::read;
    use crate::key::Curve;

    fn record(text: &str) -> Block {
        Block::of(&BTreeMap::from([("text", text)])).unwrap()
    }

    #[test]
    fn an_event_carries_what_undoes_it() {
        let key = Arc::new(Key::from_seed(Curve::K256, 1, "k").unwrap());
        let mut repo = Repo::new("did:plc:a".to_owned(), "a.test".to_owned(), key);
        repo.write("2222222222222".to_owned(), Vec::new()).unwrap();
        let puts = (0..300).map(|n| Write::Put(format!("c/{n}"), record(&n.to_string())));
        repo.write("2222222222223".to_owned(), puts.collect()).unwrap();
        let before = repo.head().unwrap().data;

        let writes = vec![
            Write::Put("c/1000".to_owned(), record("new")),
            Write::Put("c/7".to_owned(), record("other")),
            Write::Delete("c/200".to_owned()),
        ];
        let draft = repo.write("2222222222224".to_owned(), writes).unwrap();
        let Draft::Commit { commit, since, prev_data, ops, blocks } = draft else { panic!() };
        assert_eq!((since.as_deref(), prev_data), (Some("2222222222223"), Some(before)));
        let actions: Vec<_> = ops.iter().map(|op| op.action).collect();
        assert_eq!(actions, ["create", "update", "delete"]);
        assert_eq!(ops[1].prev, Some(record("7").cid));
        for op in &ops {
            assert_eq!(repo.records.get(&op.path).map(|block| block.cid), op.cid);
            assert!(op.cid.is_none_or(|cid| blocks.iter().any(|block| block.cid == cid)));
        }
        assert!(blocks.iter().any(|block| block.cid == commit.data));
        // Undone, the tree is the one before.
        repo.tree.remove("c/1000");
        repo.tree.insert("c/7", record("7").cid);
        repo.tree.insert("c/200", record("200").cid);
        assert_eq!(repo.tree.root(&mut Vec::new()).unwrap(), before);
    }

    #[test]
    fn the_export_holds_the_head_and_each_record_once() {
        let key = Arc::new(Key::from_seed(Curve::P256, 1, "k").unwrap());
        let mut repo = Repo::new("did:plc:a".to_owned(), "a.test".to_owned(), key);
        let puts = (0..50).map(|n| Write::Put(format!("c/{n}"), record(&(n / 2).to_string())));
        repo.write("2222222222222".to_owned(), puts.collect()).unwrap();
        let (root, blocks) = read::car(&repo.car().unwrap());
        assert_eq!(blocks[0].cid, root);
        assert_eq!(repo.summary().head, root.to_string());
        for block in &blocks {
            assert_eq!(crate::block::cid_of(&block.bytes).unwrap(), block.cid);
        }
        for n in 0..25 {
            let cid = record(&n.to_string()).cid;
            assert_eq!(blocks.iter().filter(|block| block.cid == cid).count(), 1);
        }
    }
}
