//! What a dump in bundles says about itself: `plc_bundles.json`, and the chain of hashes in it.
//!
//! The index is a JSON object with `origin` and `bundles`, of which each has `bundle_number`,
//! `content_hash` (SHA-256 of the unpacked lines), `parent` (the `hash` of the bundle before it)
//! and `hash`: SHA-256 of `parent:content_hash`, for the first of `plcbundle:genesis:content_hash`.
//! All hashes are in hex. Bundles of the newer form begin with a skippable frame of zstd that says
//! the same of the bundle alone.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::list::Item;
use super::unpack::Content;
use crate::page::time_ms;

/// `plc_bundles.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    origin: Option<String>,
    bundles: Vec<Bundle>,
}

/// What the index says of a bundle.
#[derive(Debug, Deserialize)]
pub(crate) struct Bundle {
    #[serde(rename = "bundle_number")]
    number: u64,
    content_hash: String,
    #[serde(default)]
    parent: String,
    hash: String,
    operation_count: Option<u64>,
    end_time: Option<String>,
    origin: Option<String>,
}

impl Index {
    /// Reads an index and checks its chain, as far as that needs no file.
    pub(crate) fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let mut index: Self = serde_json::from_slice(json)?;
        index.bundles.sort_by_key(|bundle| bundle.number);
        let mut before: Option<&Bundle> = None;
        for bundle in &index.bundles {
            let number = bundle.number;
            if let Some(before) = before {
                anyhow::ensure!(
                    before.number + 1 == number && before.hash == bundle.parent,
                    "bundle {number} does not follow bundle {}",
                    before.number
                );
            }
            anyhow::ensure!(
                bundle.hash == chained(&bundle.parent, &bundle.content_hash),
                "the hash of bundle {number} is not that of its content and the bundle before it"
            );
            let mixed = bundle.origin.is_some() && bundle.origin != index.origin;
            anyhow::ensure!(!mixed, "bundle {number} is of another directory than the index");
            before = Some(bundle);
        }
        Ok(index)
    }

    pub(crate) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.bundles.iter().map(|bundle| bundle.number)
    }

    fn get(&self, number: u64) -> Option<&Bundle> {
        let place = self.bundles.binary_search_by_key(&number, |bundle| bundle.number).ok()?;
        self.bundles.get(place)
    }
}

fn chained(parent: &str, content: &str) -> String {
    let parent = if parent.is_empty() { "plcbundle:genesis" } else { parent };
    hex(&Sha256::digest(format!("{parent}:{content}")))
}

/// In lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of a dump held against what is said of them.
pub(super) struct Chain<'i> {
    index: Option<&'i Index>,
    /// Hash and content hash of the bundle before, as far as files say them.
    before: Option<(String, String)>,
}

impl<'i> Chain<'i> {
    pub(super) fn new(index: Option<&'i Index>) -> Self {
        Self { index, before: None }
    }

    /// Whether all of a file is from before a time, so that it need not be read.
    pub(super) fn skip(&mut self, item: &Item, up_to_ms: u64, weeks_hold: bool) -> bool {
        let bundle = item.number.and_then(|number| self.index?.get(number));
        let end_ms = match bundle {
            Some(bundle) => bundle.end_time.as_deref().and_then(|time| time_ms(time).ok()),
            None => item.week_end_ms().filter(|_| weeks_hold),
        };
        let skip = end_ms.is_some_and(|end| end < up_to_ms);
        if let (true, Some(bundle)) = (skip, bundle) {
            self.before = Some((bundle.hash.clone(), bundle.content_hash.clone()));
        }
        skip
    }

    /// Checks a file that was read.
    pub(super) fn check(&mut self, item: &Item, content: &Content) -> anyhow::Result<()> {
        let bundle = item.number.and_then(|number| self.index?.get(number));
        if let Some(bundle) = bundle {
            anyhow::ensure!(
                bundle.content_hash == content.hash,
                "its content has the hash {}, and the index says {}; get it again",
                content.hash,
                bundle.content_hash
            );
            let said = bundle.operation_count.unwrap_or(content.lines);
            anyhow::ensure!(
                said == content.lines,
                "it has {} lines, and the index says {said}",
                content.lines
            );
        }
        if let Some(label) = &content.label {
            let said = label.content_hash.as_deref().unwrap_or(&content.hash);
            anyhow::ensure!(
                said == content.hash,
                "its content has the hash {}, and its head says {said}; get it again",
                content.hash
            );
            // Writers differ on which of the two hashes of a bundle it is.
            let follows = match (&self.before, label.parent_hash.as_deref()) {
                (Some((hash, content)), Some(parent)) => parent == hash || parent == content,
                _ => true,
            };
            anyhow::ensure!(follows, "it does not follow the bundle before it");
        }
        let parent = self.before.as_ref().map_or("", |(hash, _)| hash);
        self.before = Some((chained(parent, &content.hash), content.hash.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(edit: impl Fn(&mut Vec<serde_json::Value>)) -> anyhow::Result<Index> {
        let mut parent = String::new();
        let mut bundles = Vec::new();
        for number in 1..=3 {
            let content = hex(&Sha256::digest([number]));
            let hash = chained(&parent, &content);
            bundles.push(serde_json::json!({
                "bundle_number": number, "content_hash": content, "parent": parent, "hash": hash,
            }));
            parent = hash;
        }
        edit(&mut bundles);
        let index = serde_json::json!({ "origin": "https://plc.example", "bundles": bundles });
        Index::parse(index.to_string().as_bytes())
    }

    #[test]
    fn a_chain_holds_or_the_bundle_that_breaks_it_is_named() {
        let whole = index(|_| {}).unwrap();
        assert_eq!(whole.origin(), Some("https://plc.example"));
        assert_eq!(whole.numbers().collect::<Vec<_>>(), [1, 2, 3]);
        // SHA-256 of "plcbundle:genesis:" and 64 zeros, by another program.
        assert_eq!(
            chained("", &"0".repeat(64)),
            "a4ae073084044a0a07d38a7c568094782fefe6034f814f37f1c235710ba12558"
        );
        let said = |edit: fn(&mut Vec<serde_json::Value>)| index(edit).unwrap_err().to_string();
        assert!(said(|bundles| bundles[1]["content_hash"] = "00".into()).contains("bundle 2"));
        assert!(said(|bundles| drop(bundles.remove(1))).contains("bundle 3 does not follow"));
        assert!(said(|bundles| bundles[2]["origin"] = "https://b".into()).contains("bundle 3"));
    }
}
