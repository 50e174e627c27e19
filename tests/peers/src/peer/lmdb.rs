//! LMDB, by `heed`.

use std::path::Path;

use anyhow::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithoutTls};

use super::{Did, Peer, read, value};

pub struct Lmdb {
    database: Database<Bytes, Bytes>,
    transaction: RoTxn<'static, WithoutTls>,
}

fn env(path: &Path, accounts: usize) -> Result<Env<WithoutTls>> {
    std::fs::create_dir_all(path)?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size((accounts * 200).next_multiple_of(4096) + (64 << 20));
    // SAFETY: nobody else touches these files; what lies beside an entry is not read along, as for
    // the other peers and for did.idx.
    let env = unsafe { options.flags(EnvFlags::NO_READ_AHEAD).open(path)? };
    Ok(env)
}

impl Peer for Lmdb {
    const NAME: &'static str = "lmdb";

    fn build(path: &Path, dids: &[Did]) -> Result<()> {
        let env = env(path, dids.len())?;
        let mut transaction = env.write_txn()?;
        let database: Database<Bytes, Bytes> = env.create_database(&mut transaction, None)?;
        for did in dids {
            database.put_with_flags(&mut transaction, PutFlags::APPEND, did, &value(did))?;
        }
        transaction.commit()?;
        env.prepare_for_closing().wait();
        Ok(())
    }

    fn open(path: &Path, dids: &[Did]) -> Result<Self> {
        let env = env(path, dids.len())?;
        let transaction = env.clone().static_read_txn()?;
        let database = env.open_database(&transaction, None)?;
        let database = database.ok_or_else(|| anyhow::anyhow!("no database"))?;
        Ok(Self { database, transaction })
    }

    fn look_up(&self, dids: &[Did]) -> Result<u64> {
        let mut sum = 0;
        for did in dids {
            if let Some(value) = self.database.get(&self.transaction, did)? {
                sum += read(value);
            }
        }
        Ok(sum)
    }
}
