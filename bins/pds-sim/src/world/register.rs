//! What the accounts of the world do to their DIDs in the directory.

use std::sync::Arc;

use anyhow::{Context, Result};
use ipld_core::cid::Cid;

use super::World;
use crate::clock::tid;
use crate::host::lock;
use crate::operation::{Operation, State};

/// How much earlier than its appearance the createdAt of a late operation is, at most.
const LATE_US_MAX: u64 = 20_000_000;

/// Who signs an operation. Of the two rotation keys that every account has, the owner's is the
/// stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Owner,
    Host,
}

/// An operation of an account that is in force.
pub(super) struct Past {
    cid: Cid,
    signer: Signer,
    /// What it says; nothing if it ends the DID.
    state: Option<State>,
}

/// Operations that share one createdAt.
#[derive(Default)]
pub(super) struct Crowd {
    created_us: u64,
    count: u32,
}

impl World {
    /// Adds an operation to the directory, which is the account's last from then on.
    pub(super) fn register(
        &mut self,
        number: usize,
        operation: &Operation,
        signer: Signer,
    ) -> Result<()> {
        let created_us = self.created_at(number);
        let member = &mut self.members[number];
        let named = member.state.verification_methods.get("atproto").map(|key| key.as_str().into());
        let state = named.is_some().then(|| member.state.clone());
        member.log.push(Past { cid: operation.cid, signer, state });
        let did = &member.history.did;
        // A did:web has no operations: its document says what it is.
        if !did.starts_with("did:web:") {
            self.directory.add(did, operation, created_us)?;
        }
        self.names.set(did, named.is_some().then_some(&member.state));
        member.history.keys.push((tid(created_us, 0), named));
        Ok(())
    }

    /// The createdAt of an account's next operation: a millisecond of its own, unless the plan
    /// has it that many share one or that it appears late. Those of one account are in order.
    fn created_at(&mut self, number: usize) -> u64 {
        let now_us = self.clock.next_ms();
        if self.crowd.count.is_multiple_of(self.plan.crowd) {
            self.crowd.created_us = now_us;
        }
        self.crowd.count = self.crowd.count.wrapping_add(1);
        let mut wanted = if self.plan.crowd > 1 { self.crowd.created_us } else { now_us };
        if self.plan.late.hits(&mut self.rng) {
            let earlier = self.rng.u64(0..LATE_US_MAX);
            wanted = now_us.saturating_sub(earlier) / 1000 * 1000;
        }
        // What is nullified counts too: it was there when the next one came.
        let newest_us = &mut self.members[number].newest_us;
        *newest_us = if wanted > *newest_us { wanted } else { now_us };
        *newest_us
    }

    /// Registers the account's present state.
    pub(super) fn change_state(&mut self, number: usize, signer: Signer) -> Result<()> {
        let member = &self.members[number];
        let key = match signer {
            Signer::Owner => &member.recovery,
            Signer::Host => &self.host_keys[member.host],
        };
        let prev = member.log.last().map(|past| past.cid);
        let operation = Operation::update(&member.state, prev, key)?;
        self.register(number, &operation, signer)
    }

    /// Registers the account's end.
    pub(super) fn end_did(&mut self, number: usize) -> Result<()> {
        let member = &mut self.members[number];
        let last = member.log.last().context("an account has an operation")?.cid;
        let end = Operation::tombstone(last, &self.host_keys[member.host])?;
        member.state.verification_methods.clear();
        self.register(number, &end, Signer::Host)
    }

    /// The owner goes back to before what the host's key has signed since the owner's own, and
    /// sets another signing key from there. What lies between is nullified. The host is told.
    pub(super) fn recover(&mut self, number: usize) -> Result<()> {
        let own = |past: &Past| past.signer == Signer::Owner;
        if self.members[number].log.last().is_none_or(own) || self.members[number].log.len() < 2 {
            // There is nothing to take back yet.
            let key = self.next_key(number)?;
            self.change_state(number, Signer::Host)?;
            lock(&self.members[number].repo).key = key;
            self.say_identity(number)?;
        }
        let log = &self.members[number].log;
        let first = log.iter().rposition(own).unwrap_or(0);
        let kept = self.rng.usize(first..log.len() - 1) + 1;
        let member = &mut self.members[number];
        member.log.truncate(kept);
        member.history.keys.truncate(kept);
        let back = member.log.last().and_then(|past| past.state.clone());
        member.state = back.context("an account that is served was not ended")?;
        let handle = member.state.also_known_as.first().and_then(|uri| uri.strip_prefix("at://"));
        if let Some(handle) = handle {
            lock(&member.repo).handle = handle.to_owned();
        }
        let key = self.next_key(number)?;
        self.change_state(number, Signer::Owner)?;
        lock(&self.members[number].repo).key = key;
        self.say_identity(number)?;
        self.maybe_sign_anew(number)
    }

    /// Gives the account's state its next signing key.
    pub(super) fn next_key(&mut self, number: usize) -> Result<Arc<crate::key::Key>> {
        let generation = self.members[number].keys;
        let key = self.signing_key(number, generation)?;
        let member = &mut self.members[number];
        member.keys += 1;
        let methods = &mut member.state.verification_methods;
        methods.insert("atproto".to_owned(), key.did_key().to_string());
        Ok(key)
    }
}
