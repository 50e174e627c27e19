//! How what happened is told: drafts of events, damaged where the plan has it so, under the next
//! number of their host.

use std::sync::Arc;

use anyhow::Result;

use super::{EVENTS_AT_ONCE_MAX, World};
use crate::clock::iso;
use crate::events::Draft;
use crate::fault::{Fault, damaged};
use crate::host::lock;
use crate::log::Event;
use crate::truth::{Made, Signed};

impl World {
    pub(super) fn say_identity(&mut self, number: usize) -> Result<()> {
        let member = &self.members[number];
        let handle = lock(&member.repo).handle.clone();
        self.say(number, Draft::Identity { did: member.history.did.clone(), handle })
    }

    pub(super) fn say_account(&mut self, number: usize) -> Result<()> {
        let member = &self.members[number];
        let repo = lock(&member.repo);
        let (did, active, status) = (member.history.did.clone(), repo.active, repo.status);
        drop(repo);
        self.say(number, Draft::Account { did, active, status })
    }

    /// Sends an event, after or instead of a damaged one where the plan has it so.
    pub(super) fn say(&mut self, number: usize, draft: Draft) -> Result<()> {
        let forge = self.plan.forge.hits(&mut self.rng) && self.has_room(EVENTS_AT_ONCE_MAX + 1);
        let damage = self.plan.damage.hits(&mut self.rng);
        if forge || damage {
            let key = Arc::clone(&lock(&self.members[number].repo).key);
            let copy = damaged(&draft, &key, &self.stranger, &mut self.rng)?;
            if let Some((copy, fault)) = copy {
                self.send(number, &copy, Some(fault))?;
                if damage {
                    return Ok(());
                }
            }
        }
        self.send(number, &draft, None)
    }

    pub(super) fn send(
        &mut self,
        number: usize,
        draft: &Draft,
        fault: Option<Fault>,
    ) -> Result<()> {
        let member = &self.members[number];
        let host = &self.hosts[member.host];
        let seq = self.next_seq[member.host];
        self.next_seq[member.host] += 1;
        let time = iso(self.clock.tick());
        let bytes = draft.encode(seq, &time)?;
        if self.plan.truth {
            let signed = draft.commit().map(|commit| Signed {
                rev: commit.rev.as_str().into(),
                ops: draft.ops(),
                key: Arc::clone(&commit.signed_by),
                fault,
            });
            let (host, t) = (member.host, draft.name());
            self.truth.push(Made { host, seq, t, member: number, signed });
        }
        host.log.push(Event { seq, bytes }, host.slowest());
        self.made += 1;
        Ok(())
    }
}
