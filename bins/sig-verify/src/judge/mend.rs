//! Whole repositories: proved, passed on as `repo` frames, and the chain taken up from there. One
//! that comes in as a frame, from an archive or another verifier, is proved as anything else is.

use atproto::commit::Signed;
use atproto::repo::Repo;
use atproto::{Cid, Tid};
use frame::host::{Host, Role};
use frame::repo::Records;
use frame::verdict::{Rule, Status, Verdict};
use frame::{Frame, HostId, Tag};

use super::Judge;
use crate::heads::{Account, Head};
use crate::hold::reread;
use crate::identity::{Decision, Home, View};
use crate::rules;

/// Questions to hosts at a time that nobody waits for.
const IDLE_MAX: usize = 32;

impl Judge {
    /// Proves the repository of an account and makes it its head, if it is later than that.
    /// Nothing if it does not hold, or if what would prove it is not known.
    pub(super) fn mend(&mut self, did: &str, car: &[u8]) -> Option<()> {
        let repo = Repo::read(car).ok()?;
        rules::same_did(&repo.commit, did).ok()?;
        let rev = rules::rev(repo.commit.rev).ok()?;
        rules::rev_time(rev, self.time_ns).ok()?;
        let account = self.heads.get(did);
        if account.head.is_some_and(|head| rev <= head.rev) {
            return None;
        }
        let mut records = Records::default();
        repo.walk(|path, cid| records.add(path, cid.as_bytes())).ok()?;
        let head = Head { rev, commit: repo.root, data: repo.commit.data };
        let proof = &mut self.proof;
        let judged =
            self.identities.decide(did, 0, |view| proof.judge_commit(repo.commit, head, view));
        let verdict = match judged {
            Decision::Settled(verdict) if verdict.status == Status::Ok => verdict,
            _ => return None,
        };
        let frame = frame_of(did, self.time_ns, &repo, &head, &records, &verdict)?;
        self.heal.put_frame(frame);
        self.change(did, &account, Account { head: Some(head), healed: true, ..account });
        Some(())
    }

    /// What can be said at present of a `repo` frame that was there by then (unix ns), and whose it
    /// is. One that is proved has become its account's head.
    pub(crate) fn decide_repo<'a>(
        &mut self,
        frame: &Frame<'a>,
        there_ns: u64,
    ) -> (&'a str, Decision) {
        self.time_ns = frame.header.time_ns;
        let (did, signed, head) = match open(frame) {
            Ok(opened) => opened,
            Err(rule) => return ("", Decision::Settled(Verdict::refused(rule))),
        };
        let account = self.heads.get(did);
        if let Some(known) = account.head.filter(|known| head.rev <= known.rev) {
            let verdict = match known.commit == head.commit {
                true => Verdict::unchecked(Rule::REPEAT),
                false => Verdict::refused(Rule::STALE_REV),
            };
            return (did, Decision::Settled(verdict));
        }
        let proof = &mut self.proof;
        let received_ns = frame.header.time_ns.min(there_ns);
        let judge = |view: View<'_>| proof.judge_commit(signed, head, view);
        let decision = self.identities.decide(did, received_ns, judge);
        if let Decision::Settled(Verdict { status: Status::Ok, .. }) = decision {
            self.change(did, &account, Account { head: Some(head), healed: true, ..account });
        }
        (did, decision)
    }

    /// Asks a host that could not send everything which of its accounts have moved on.
    pub(crate) fn look_for_moved(&mut self, host: HostId) {
        if let Some(Host { role: Role::Pds, name }) = self.hosts.get(host) {
            self.heal.put_list(name, "");
        }
    }

    /// Looks which accounts of a list have moved on.
    pub(super) fn compare(&mut self, repos: &[(Box<str>, Tid)], pds: &str) {
        for (did, rev) in repos {
            if self.heads.get(did).head.is_some_and(|head| head.rev < *rev) {
                self.heal.put_repo(did, pds);
            }
        }
    }

    /// Asks on, where lists have shown that there is something to ask, and where events went
    /// unchecked a while ago.
    pub(super) fn ask_on(&mut self) {
        let Some(asker) = &mut self.asker else { return };
        while let Some(did) = self.heal.pop_late() {
            match self.identities.home(&did) {
                Home::At(pds) => self.heal.put_repo(&did, &pds),
                Home::Nowhere => {}
                Home::Unknown => {
                    self.identities.ask(&did, false);
                    self.heal.put_late(&did);
                }
            }
        }
        while asker.pending() < IDLE_MAX
            && let Some(question) = self.heal.pop_question()
        {
            asker.ask(question);
        }
    }

    /// Whether gaps are being closed that no event waits for.
    pub(crate) fn is_healing(&self) -> bool {
        self.heal.is_on()
            && (self.heal.is_busy() || self.asker.as_ref().is_some_and(|asker| asker.pending() > 0))
    }
}

/// Reads a `repo` frame, and asks of it all that does not hinge on the account's identity.
fn open<'a>(frame: &Frame<'a>) -> Result<(&'a str, Signed<'a>, Head), Rule> {
    let (repo, paths) = frame::repo::read(frame).map_err(|_| Rule::BAD_FRAME)?;
    rules::did(repo.did)?;
    let commit = Cid::from_slice(&repo.commit).map_err(|_| Rule::BAD_CID)?;
    if !commit.is_of(repo.block) {
        return Err(Rule::BAD_CID);
    }
    let signed = rules::commit_form(repo.block)?;
    rules::same_did(&signed, repo.did)?;
    let rev = rules::rev(signed.rev)?;
    if rev != Tid(repo.rev) {
        return Err(Rule::REV_MISMATCH);
    }
    rules::rev_time(rev, frame.header.time_ns)?;
    if signed.data.as_bytes() != &repo.data {
        return Err(Rule::BAD_REPO);
    }
    rules::whole_repo(&signed.data, paths)?;
    Ok((repo.did, signed, Head { rev, commit, data: signed.data }))
}

fn frame_of(
    did: &str,
    time_ns: u64,
    repo: &Repo<'_>,
    head: &Head,
    records: &Records,
    verdict: &Verdict,
) -> Option<Vec<u8>> {
    let said = frame::repo::Repo {
        did,
        rev: head.rev.0,
        commit: *head.commit.as_bytes(),
        data: *head.data.as_bytes(),
        block: repo.block,
    };
    let (mut plain, mut judged) = (Vec::new(), Vec::new());
    frame::repo::put(&mut plain, time_ns, &said, records).ok()?;
    let frame = reread(&plain)?;
    frame::put_with(&mut judged, &frame, Tag::VERDICT, &verdict.to_bytes()).ok()?;
    Some(judged)
}
