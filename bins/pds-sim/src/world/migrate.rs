//! An account moves to another host, in the order of the official servers: the new host takes the
//! repository in, the directory names it with a new key, the new host says `#account`, `#identity`
//! and `#sync`, and the old one that the account is no longer served there.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::World;
use super::register::Signer;
use crate::events::Draft;
use crate::fault::Fault;
use crate::host::{Account, Summary, lock};

impl World {
    /// Whether there is somewhere to go. The document of a did:web stays where it is.
    pub(super) fn can_move(&self, number: usize) -> bool {
        self.hosts.len() > 1 && !self.members[number].history.did.starts_with("did:web:")
    }

    pub(super) fn migrate(&mut self, number: usize) -> Result<()> {
        let from = self.members[number].host;
        let to = (from + self.rng.usize(1..self.hosts.len())) % self.hosts.len();
        let key = self.next_key(number)?;
        let endpoint = self.endpoints[to].clone();
        let rotation = self.host_keys[to].did_key().to_string();
        let state = &mut self.members[number].state;
        let service = state.services.get_mut("atproto_pds").context("an account has a host")?;
        service.endpoint = endpoint;
        if let Some(of_host) = state.rotation_keys.get_mut(1) {
            *of_host = rotation;
        }
        // The old host's key still counts for this one operation.
        self.change_state(number, Signer::Host)?;

        let member = &mut self.members[number];
        let did = member.history.did.clone();
        let mut repo = lock(&member.repo);
        repo.key = key;
        let gone =
            Summary { active: false, status: Some("deactivated".to_owned()), ..repo.summary() };
        let head = repo.head().cloned().context("an account that is active has a commit")?;
        drop(repo);
        (member.host, member.moved) = (to, true);
        self.hosts[to].add_account(did.clone(), Account::Made(Arc::clone(&member.repo)));
        self.hosts[from].add_account(did.clone(), Account::Recorded(Arc::new(gone)));
        self.say_account(number)?;
        self.say_identity(number)?;
        // The official server names the rev of its import here, and the commit has its own.
        let rev = self.rev(to);
        self.send(number, &Draft::Moved { commit: head, rev }, Some(Fault::Migration))?;

        self.members[number].host = from;
        let goodbye = Draft::Account { did, active: false, status: Some("deactivated") };
        let said = self.send(number, &goodbye, None);
        self.members[number].host = to;
        said
    }
}
