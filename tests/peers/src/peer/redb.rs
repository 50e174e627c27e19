//! redb.

use std::path::Path;

use anyhow::Result;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::{Did, Peer, Value, read, value};

const TABLE: TableDefinition<'_, Did, Value> = TableDefinition::new("accounts");

pub struct Redb {
    table: ReadOnlyTable<Did, Value>,
    _database: Database,
}

impl Peer for Redb {
    const NAME: &'static str = "redb";

    fn build(path: &Path, dids: &[Did]) -> Result<()> {
        let mut database = Database::create(path)?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for did in dids {
                table.insert(did, &value(did))?;
            }
        }
        transaction.commit()?;
        database.compact()?;
        Ok(())
    }

    fn open(path: &Path, _: &[Did]) -> Result<Self> {
        let database = Database::open(path)?;
        let table = database.begin_read()?.open_table(TABLE)?;
        Ok(Self { table, _database: database })
    }

    fn look_up(&self, dids: &[Did]) -> Result<u64> {
        let mut sum = 0;
        for did in dids {
            if let Some(value) = self.table.get(did)? {
                sum += read(&value.value());
            }
        }
        Ok(sum)
    }
}
