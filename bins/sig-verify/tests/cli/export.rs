//! An index out of a directory's export, made by the room that makes it for `index-build`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use didindex::{Builder, Change, Cursor, Key, PlcDid};
use keys::PublicKey;
use plc::{Operation, chain};

/// Builds it in a folder.
pub fn index(folder: &Path, export: &str) -> PathBuf {
    let mut logs: BTreeMap<PlcDid, Vec<Operation<'_>>> = BTreeMap::new();
    for line in export.lines() {
        let operation = Operation::parse(line.as_bytes()).unwrap();
        logs.entry(operation.did).or_default().push(operation);
    }
    let path = folder.join("did.idx");
    let mut builder = Builder::create(&path, logs.len() as u64, true).unwrap();
    for (did, log) in &logs {
        let valid: Vec<(&Operation<'_>, Option<String>)> = chain::valid(log)
            .valid
            .iter()
            .map(|place| &log[*place])
            .map(|it| (it, it.pds.as_deref().and_then(|pds| net::canonical_host(pds).ok())))
            .collect();
        let key = |operation: &Operation<'_>| match &operation.key {
            _ if operation.tombstone => Key::Tombstone,
            None => Key::Missing,
            Some(text) => PublicKey::from_did_key(text)
                .map_or(Key::UnknownType, |key| Key::Known(key.to_bytes())),
        };
        let changes: Vec<Change<'_>> = valid
            .iter()
            .map(|(it, pds)| Change { from_ms: it.created_ms, key: key(it), pds: pds.as_deref() })
            .collect();
        builder.add(did, &changes).unwrap();
    }
    builder.finish(Cursor { created_ms: 0, operations: 0 }).unwrap();
    path
}
