//! What a verifier checks, written down once more.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use sha2::{Digest, Sha256};

use crate::harness::Blocks;

/// How a block of signatures fails, or `ok`. Signatures are over the SHA-256 of `bytes`.
pub fn check_signature(did_key: &str, bytes: &[u8], sig: &[u8]) -> &'static str {
    let named = did_key.strip_prefix("did:key:z").unwrap();
    let named = bs58::decode(named).into_vec().unwrap();
    let digest = Sha256::digest(bytes);
    let (good, low) = match named.split_at(2) {
        ([0xe7, 0x01], point) => {
            let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(point).unwrap();
            let Ok(sig) = k256::ecdsa::Signature::from_slice(sig) else { return "bad-signature" };
            // The verifier of this curve takes none but low-S signatures.
            let low = sig.normalize_s();
            (key.verify_prehash(&digest, &low).is_ok(), low == sig)
        }
        ([0x80, 0x24], point) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).unwrap();
            let Ok(sig) = p256::ecdsa::Signature::from_slice(sig) else { return "bad-signature" };
            let low = sig.normalize_s();
            (key.verify_prehash(&digest, &low).is_ok(), low == sig)
        }
        (codec, _) => panic!("a key of codec {codec:?}"),
    };
    match (good, low) {
        (false, _) => "bad-signature",
        (true, false) => "high-s",
        (true, true) => "ok",
    }
}

/// How the blocks of an event fail under a key, or `ok`.
pub fn check(blocks: &Blocks, did_key: &str) -> &'static str {
    for (cid, bytes) in &blocks.blocks {
        if cid.hash().digest() != &Sha256::digest(bytes)[..] {
            return "bad-cid";
        }
    }
    let mut commit = commit(blocks);
    let Some(Ipld::Bytes(sig)) = commit.remove("sig") else { panic!("no signature") };
    check_signature(did_key, &serde_ipld_dagcbor::to_vec(&Ipld::Map(commit)).unwrap(), &sig)
}

/// The commit among the blocks.
pub fn commit(blocks: &Blocks) -> BTreeMap<String, Ipld> {
    let (_, bytes) = blocks.blocks.iter().find(|(cid, _)| *cid == blocks.root).expect("no commit");
    match serde_ipld_dagcbor::from_slice(bytes).unwrap() {
        Ipld::Map(commit) => commit,
        other => panic!("{other:?}"),
    }
}
