//! How an event comes to its verdict: the rules, identities, the account's chain and its activity
//! together.

use std::time::{Duration, Instant};

use atproto::event::Event;
use atproto::{Cid, Tid};
use frame::Frame;
use frame::host::HostTable;
use frame::verdict::{Rule, Status, Verdict};

use crate::activity::{Activity, Word};
use crate::heads::{self, Account, Heads, HostKey};
use crate::identity::{Decision, Identities};
use crate::pds::Said;
use crate::state::{Again, Recent, State};
use crate::verify::{self, Claim, Proof, Speaker};

/// How long one kind of answer is waited for while the other may come too.
const SLICE: Duration = Duration::from_millis(10);

/// Everything that a verdict hangs on.
pub(crate) struct Judge {
    pub(crate) hosts: HostTable,
    pub(crate) identities: Identities,
    pub(crate) proof: Proof,
    pub(crate) heads: Heads,
    pub(crate) activity: Activity,
    /// Where what is known of accounts is kept for the next run.
    pub(crate) state: Option<State>,
    pub(crate) recent: Recent,
    /// The host of the account that was judged last, where that mattered.
    pub(crate) pds: String,
}

/// What an event is held against.
#[derive(Debug, Clone, Copy)]
struct Standing {
    account: Account,
    /// The event was proved by the last run: it changes nothing.
    is_again: bool,
}

/// What is to be asked of an account's host before its event is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Nothing.
    None,
    /// It committed although it is held inactive.
    Inactive(HostKey),
    /// A relay says that it is active, or that it is not.
    Hearsay(bool),
}

impl Judge {
    /// What can be said of an event at present, and of whose account it is. What is settled as
    /// proved has become part of what is known of its account.
    pub(crate) fn decide<'a>(&mut self, frame: &Frame<'a>) -> (&'a str, Decision) {
        let settled = |verdict| ("", Decision::Settled(verdict));
        let event = match verify::open(frame.body()) {
            Ok(event) => event,
            Err(rule) => return settled(Verdict::refused(rule)),
        };
        let did = event.did().unwrap_or_default();
        let mut standing = Standing { account: self.heads.get(did), is_again: false };
        if let Event::Commit(commit) = &event
            && let Ok(rev) = commit.rev.parse()
            && self.is_repeat(&mut standing, did, rev, &commit.commit)
        {
            return settled(Verdict::unchecked(Rule::REPEAT));
        }
        let claim = match self.proof.examine(frame, event) {
            Ok(claim) => claim,
            Err(verdict) => return settled(verdict),
        };
        let mut noted = 0;
        if let Some(next) = claim.head() {
            if matches!(claim.event(), Event::Sync(_)) {
                self.find_again(&mut standing, did, next.rev, &next.commit);
            }
            let head = standing.account.head.as_ref();
            noted = match heads::place(head, claim.event(), &next).notes() {
                Ok(noted) => noted,
                Err(rule) => return settled(Verdict::refused(rule)),
            };
        }
        if claim.is_identity() {
            self.identities.refresh(did);
        }
        (did, self.weigh(&claim, frame, standing, noted))
    }

    /// Whether a commit of this name is its account's head, or came again already. One that the
    /// last run proved is held against what was known then.
    fn is_repeat(&self, standing: &mut Standing, did: &str, rev: Tid, commit: &Cid) -> bool {
        if self.find_again(standing, did, rev, commit) {
            return true;
        }
        standing.account.head.is_some_and(|head| head.rev == rev && head.commit == *commit)
    }

    /// Looks for a commit among what the last run proved. Whether it came again already.
    fn find_again(&self, standing: &mut Standing, did: &str, rev: Tid, commit: &Cid) -> bool {
        match self.recent.again(did, rev, commit) {
            Some(Again::Twice) => return true,
            // It passed, so the account was active then.
            Some(Again::For(before)) => {
                let account = Account { away: None, ..before };
                *standing = Standing { account, is_again: true };
            }
            None => {}
        }
        false
    }

    /// Judges by the account's identity, and then by its activity.
    fn weigh(
        &mut self,
        claim: &Claim<'_>,
        frame: &Frame<'_>,
        standing: Standing,
        noted: u32,
    ) -> Decision {
        let host = self.hosts.get(frame.header.host);
        let doubt = match (claim.head(), self.proof.speaker(host)) {
            (Some(_), _) => standing.account.away.map_or(Doubt::None, Doubt::Inactive),
            (None, Speaker::Hearsay) => match claim.says_active() {
                Some(active) if self.activity.can_ask() => Doubt::Hearsay(active),
                _ => return Decision::Settled(Verdict::unchecked(Rule::HEARSAY)),
            },
            (None, _) => Doubt::None,
        };
        let (proof, pds) = (&mut self.proof, &mut self.pds);
        let is_told = doubt != Doubt::None || claim.says_active().is_some();
        let decision = self.identities.decide(claim.did, |view| {
            if is_told {
                pds.clear();
                pds.push_str(view.pds().unwrap_or_default());
            }
            let verdict = proof.judge(claim, host, view);
            Verdict { notes: verdict.notes | noted, ..verdict }
        });
        match decision {
            Decision::Settled(verdict) if verdict.status == Status::Ok => {
                self.activate(claim, standing, doubt, verdict)
            }
            other => other,
        }
    }

    /// Settles what is proved but for its account's activity.
    fn activate(
        &mut self,
        claim: &Claim<'_>,
        Standing { account, is_again }: Standing,
        doubt: Doubt,
        verdict: Verdict,
    ) -> Decision {
        let mut away = account.away;
        let no = match doubt {
            Doubt::None => None,
            // A host that is no longer the account's has nothing more to say about it.
            Doubt::Inactive(host) if HostKey::of(&self.pds) != host => {
                away = None;
                None
            }
            Doubt::Inactive(_) => match self.activity.word(claim.did, &self.pds) {
                Word::Ask => return Decision::AskHost,
                Word::Said(Said::Active(true)) => {
                    away = None;
                    None
                }
                Word::Said(Said::Active(false)) => Some(Verdict::refused(Rule::INACTIVE)),
                Word::Said(Said::Silence) => Some(Verdict::unchecked(Rule::INACTIVE)),
            },
            Doubt::Hearsay(active) => match self.activity.word(claim.did, &self.pds) {
                Word::Ask => return Decision::AskHost,
                Word::Said(Said::Active(now)) if now == active => None,
                Word::Said(_) => Some(Verdict::unchecked(Rule::HEARSAY)),
            },
        };
        if let Some(no) = no {
            return Decision::Settled(Verdict { notes: verdict.notes, ..no });
        }
        if let Some(active) = claim.says_active() {
            away = (!active).then(|| HostKey::of(&self.pds));
            if doubt == Doubt::None {
                self.activity.forget(claim.did);
            }
        }
        if is_again {
            if let Some(head) = claim.head() {
                self.recent.came(claim.did, head.rev, &head.commit);
            }
            return Decision::Settled(verdict);
        }
        let next = Account { head: claim.head().or(account.head), away };
        if next != account {
            self.heads.put(claim.did, next);
            self.state.iter_mut().for_each(|state| state.note(claim.did, &account, &next));
        }
        Decision::Settled(verdict)
    }

    /// Asks what a decision wants to know.
    pub(crate) fn ask(&mut self, did: &str, decision: Decision) {
        match decision {
            Decision::Ask { history } => self.identities.ask(did, history),
            Decision::AskHost => self.activity.ask(did, &self.pds),
            Decision::Settled(_) => {}
        }
    }

    /// Takes in one answer, of the directory or of a host, if one comes within `wait`; says whose
    /// account it is about, and whether it was an answer at all.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<(Box<str>, bool)> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let both = self.identities.is_asked() && self.activity.is_asked();
            let slice = if both { left.min(SLICE) } else { left };
            let answer = self.identities.answer(slice);
            let answer = answer.or_else(|| self.activity.answer(slice));
            if answer.is_some() || left.is_zero() || !self.is_asked() {
                return answer;
            }
        }
    }

    fn is_asked(&self) -> bool {
        self.identities.is_asked() || self.activity.is_asked()
    }

    /// Makes durable what is known of accounts: before a mark goes on, so that this is never
    /// behind what is durable at the other end.
    ///
    /// # Errors
    /// What the system says: then nothing more may be passed on.
    pub(crate) fn save(&mut self) -> anyhow::Result<()> {
        self.state.as_mut().map_or(Ok(()), |state| state.save(&self.heads))
    }

    /// Stops the line if two implementations of a curve have said different things: one of them
    /// is wrong, and it may have been so before. Also if what is known cannot be kept.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.proof.disagreed(),
            "two implementations of the same curve disagree about a signature, so no verdict can \
             be trusted; nothing more is passed on. Keep the input and report it"
        );
        self.state.as_mut().map_or(Ok(()), State::relieve)
    }
}
