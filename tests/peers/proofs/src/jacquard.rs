//! The same proofs by `jacquard-repo`'s `validate_v1_1`, as far as it has them: it wants
//! `prevData`.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use atproto::Cid;
use atproto::event::{self, Action, Event};
use bytes::Bytes;
use jacquard_api::com_atproto::sync::subscribe_repos::{Commit, RepoOp, RepoOpAction};
use jacquard_common::types::cid::CidLink;
use jacquard_common::types::crypto::{KeyCodec, PublicKey};
use jacquard_repo::commit::firehose::validate_v1_1;
use keys::Curve;
use smol_str::SmolStr;
use tokio::runtime::{Builder, Runtime};

use crate::events::{Events, Signed};

/// An envelope as its types have it, and the account's key.
pub struct Inductive {
    commit: Commit<SmolStr>,
    key: PublicKey<'static>,
}

/// The commits that it can prove: nearly all. What it refuses is left out, and said.
pub fn prepare(events: &Events) -> Result<Vec<Inductive>> {
    let runtime = runtime()?;
    let mut all = Vec::new();
    let mut refused = 0;
    for signed in &events.signed {
        let Event::Commit(commit) = event::parse(&signed.body)? else { continue };
        if commit.prev_data.is_none() {
            continue;
        }
        let inductive = Inductive { commit: translate(&commit)?, key: key(signed) };
        match runtime.block_on(validate(&inductive)) {
            Ok(()) => all.push(inductive),
            Err(_) => refused += 1,
        }
    }
    println!("jacquard-repo proves {} of them with prevData, and refuses {refused}", all.len());
    ensure!(all.len() > events.signed.len() / 2, "that is too few to compare");
    Ok(all)
}

pub fn prove(all: &[Inductive]) -> Result<()> {
    runtime()?.block_on(async {
        for inductive in all {
            validate(inductive).await?;
        }
        Ok(())
    })
}

/// It reads trees in tasks of tokio's; on one thread, as the others.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().build()?)
}

async fn validate(inductive: &Inductive) -> Result<()> {
    let proved = validate_v1_1(&inductive.commit, &inductive.key).await;
    proved.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(())
}

fn key(signed: &Signed) -> PublicKey<'static> {
    let codec = match signed.key.curve() {
        Curve::K256 => KeyCodec::Secp256k1,
        Curve::P256 => KeyCodec::P256,
    };
    PublicKey { codec, bytes: Cow::Owned(signed.key.compressed().to_vec()) }
}

fn link(cid: &Cid) -> Result<CidLink<SmolStr>> {
    cid.to_string().parse().map_err(|_| anyhow::anyhow!("a CID"))
}

fn translate(commit: &event::Commit<'_>) -> Result<Commit<SmolStr>> {
    let ops = commit.ops.map(|op| {
        let action = match op.action {
            Action::Create => RepoOpAction::Create,
            Action::Update => RepoOpAction::Update,
            _ => RepoOpAction::Delete,
        };
        Ok(RepoOp {
            action,
            cid: op.cid.as_ref().map(link).transpose()?,
            path: SmolStr::new(op.path),
            prev: op.prev.as_ref().map(link).transpose()?,
            extra_data: None,
        })
    });
    Ok(Commit {
        blobs: Vec::new(),
        blocks: Bytes::copy_from_slice(commit.blocks),
        commit: link(&commit.commit)?,
        ops: ops.collect::<Result<_>>()?,
        prev_data: commit.prev_data.as_ref().map(link).transpose()?,
        rebase: false,
        repo: commit.repo.parse().ok().context("a DID")?,
        rev: commit.rev.parse().ok().context("a rev")?,
        seq: commit.seq,
        since: commit.since.map(|since| since.parse().ok().context("a rev")).transpose()?,
        time: commit.time.parse().ok().context("a time")?,
        too_big: false,
        extra_data: None,
    })
}
