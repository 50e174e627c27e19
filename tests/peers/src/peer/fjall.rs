//! fjall, a log-structured tree.

use std::path::Path;

use anyhow::Result;
use fjall::{Config, Keyspace, PartitionCreateOptions, PartitionHandle, PersistMode};

use super::{Did, Peer, read, value};

/// Blocks that it keeps in memory: what the other peers leave to the system.
const CACHE_BYTES: u64 = 1 << 30;

pub struct Fjall {
    partition: PartitionHandle,
    _keyspace: Keyspace,
}

fn open(path: &Path) -> Result<Fjall> {
    let keyspace = Config::new(path).cache_size(CACHE_BYTES).open()?;
    let partition = keyspace.open_partition("accounts", PartitionCreateOptions::default())?;
    Ok(Fjall { partition, _keyspace: keyspace })
}

impl Peer for Fjall {
    const NAME: &'static str = "fjall";

    fn build(path: &Path, dids: &[Did]) -> Result<()> {
        let Fjall { partition, _keyspace: keyspace } = open(path)?;
        for did in dids {
            partition.insert(did, value(did))?;
        }
        partition.rotate_memtable_and_wait()?;
        partition.major_compact()?;
        keyspace.persist(PersistMode::SyncAll)?;
        Ok(())
    }

    fn open(path: &Path, _: &[Did]) -> Result<Self> {
        open(path)
    }

    fn look_up(&self, dids: &[Did]) -> Result<u64> {
        let mut sum = 0;
        for did in dids {
            if let Some(value) = self.partition.get(did)? {
                sum += read(&value);
            }
        }
        Ok(sum)
    }
}
