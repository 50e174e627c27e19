//! How an event comes to its verdict: the rules, identities, the account's chain and its activity
//! together.

mod mend;

use std::time::{Duration, Instant};

use atproto::event::Event;
use atproto::{Cid, Tid};
use frame::Frame;
use frame::host::{Host, HostTable};
use frame::verdict::{Rule, Status, Verdict, notes};

use crate::activity::{Activity, Said, Word};
use crate::batch::{Outline, Proved};
use crate::heads::{self, Account, Head, Heads, HostKey, Step};
use crate::heal::{Heal, Wish};
use crate::identity::{Decision, Identities, View, Whom};
use crate::pds::{Answer, Asked, Hosts, Question, Told};
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
    /// Who asks the hosts of accounts, if anybody may be asked.
    pub(crate) asker: Option<Hosts>,
    pub(crate) activity: Activity,
    pub(crate) heal: Heal,
    /// Where what is known of accounts is kept for the next run.
    pub(crate) state: Option<State>,
    pub(crate) recent: Recent,
    /// The host of the account that was judged last, where that mattered.
    pub(crate) pds: String,
    /// When the event was received that was judged last.
    pub(crate) time_ns: u64,
    /// What may be asked later only is asked at once.
    pub(crate) hurries: bool,
}

/// What an event is held against.
#[derive(Debug, Clone, Copy)]
struct Standing {
    account: Account,
    /// The event was proved by the last run: it changes nothing.
    is_again: bool,
    /// When the event came, unix ns.
    received_ns: u64,
}

/// An event that holds as far as can be told without its account's identity.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    did: &'a str,
    /// The head that it makes its account's, if it is signed.
    head: Option<Head>,
    /// What an `#account` says of its account's activity.
    says_active: Option<bool>,
}

impl<'a> Case<'a> {
    fn of(claim: &Claim<'a>) -> Case<'a> {
        Case { did: claim.did, head: claim.head(), says_active: claim.says_active() }
    }
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
    /// proved has become part of what is known of its account. `held_ns` says since when the event
    /// is held, if it is: whatever its frame says, it was there by then.
    pub(crate) fn decide<'a>(
        &mut self,
        frame: &Frame<'a>,
        held_ns: Option<u64>,
    ) -> (&'a str, Decision) {
        let (did, decision) = self.consider(frame, held_ns);
        match decision {
            Decision::Later(_, whom) if self.hurries => (did, Decision::Ask(whom)),
            other => (did, other),
        }
    }

    /// The same for an event that was proved beforehand; `None` if what that was held against is
    /// not what is known at present, so that it has to be decided about as any other.
    pub(crate) fn decide_proved<'a>(
        &mut self,
        frame: &Frame<'a>,
        outline: &Outline,
        proved: &Proved,
    ) -> Option<(&'a str, Decision)> {
        let Outline { rev, commit, step, .. } = *outline;
        let did = outline.did(frame.body())?;
        self.time_ns = frame.header.time_ns;
        let mut standing = self.standing(did, frame.header.time_ns);
        if self.is_repeat(&mut standing, did, rev, &commit) {
            return Some((did, Decision::Settled(Verdict::unchecked(Rule::REPEAT))));
        }
        let head = match proved.head {
            Ok(head) => head,
            Err(verdict) => return Some((did, Decision::Settled(verdict))),
        };
        let case = Case { did, head: Some(head), says_active: None };
        let noted = match self.place(&mut standing, case, step) {
            Ok(noted) => noted,
            Err(verdict) => return Some((did, Decision::Settled(verdict))),
        };
        let mut holds = true;
        let decision = self.weigh(case, frame, standing, noted, |proof, host, view| {
            match proved.verdict.filter(|_| proof.given(rev, host, view) == proved.given) {
                Some(verdict) => verdict,
                None => {
                    holds = false;
                    // It changes nothing, and is not kept.
                    Verdict::unchecked(Rule::NO_IDENTITY)
                }
            }
        });
        holds.then_some((did, decision))
    }

    /// Whether a commit says something new, by what is known.
    pub(crate) fn is_new(&mut self, did: &str, rev: Tid, commit: &Cid) -> bool {
        let mut standing = self.standing(did, 0);
        !self.is_repeat(&mut standing, did, rev, commit)
    }

    fn standing(&mut self, did: &str, received_ns: u64) -> Standing {
        Standing { account: self.heads.get(did), is_again: false, received_ns }
    }

    fn consider<'a>(&mut self, frame: &Frame<'a>, held_ns: Option<u64>) -> (&'a str, Decision) {
        let settled = |verdict| ("", Decision::Settled(verdict));
        self.time_ns = frame.header.time_ns;
        let event = match verify::open(frame.body()) {
            Ok(event) => event,
            Err(rule) => return settled(Verdict::refused(rule)),
        };
        let did = event.did().unwrap_or_default();
        let received_ns = frame.header.time_ns.min(held_ns.unwrap_or(u64::MAX));
        let mut standing = self.standing(did, received_ns);
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
        if claim.is_identity() {
            self.identities.refresh(did);
        }
        let case = Case::of(&claim);
        let noted = match self.place(&mut standing, case, claim.step()) {
            Ok(noted) => noted,
            Err(verdict) => return settled(verdict),
        };
        let judge = |proof: &mut Proof, host: Option<Host<'_>>, view: View<'_>| {
            proof.judge(&claim, host, view)
        };
        (did, self.weigh(case, frame, standing, noted, judge))
    }

    /// How a signed event stands to its account's head: what is to be noted of it.
    fn place(&self, standing: &mut Standing, case: Case<'_>, step: Step) -> Result<u32, Verdict> {
        let Some(next) = case.head else { return Ok(0) };
        if step == Step::Other {
            self.find_again(standing, case.did, next.rev, &next.commit);
        }
        heads::place(&standing.account, step, &next).notes().map_err(|rule| match rule {
            Rule::REPEAT => Verdict::unchecked(rule),
            rule => Verdict::refused(rule),
        })
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
                *standing = Standing { account, is_again: true, ..*standing };
            }
            None => {}
        }
        false
    }

    /// Judges by the account's identity, and then by its activity.
    fn weigh(
        &mut self,
        case: Case<'_>,
        frame: &Frame<'_>,
        standing: Standing,
        noted: u32,
        mut judge: impl FnMut(&mut Proof, Option<Host<'_>>, View<'_>) -> Verdict,
    ) -> Decision {
        let host = self.hosts.get(frame.header.host);
        let doubt = match (case.head, self.proof.speaker(host)) {
            (Some(_), _) => standing.account.away.map_or(Doubt::None, Doubt::Inactive),
            (None, Speaker::Hearsay) => match case.says_active {
                Some(active) if self.asker.is_some() => Doubt::Hearsay(active),
                _ => return Decision::Settled(Verdict::unchecked(Rule::HEARSAY)),
            },
            (None, _) => Doubt::None,
        };
        let (proof, pds) = (&mut self.proof, &mut self.pds);
        let is_behind = noted & notes::GAP != 0 && self.heal.is_on();
        let is_told = doubt != Doubt::None || case.says_active.is_some() || is_behind;
        let decision = self.identities.decide(case.did, standing.received_ns, |view| {
            if is_told {
                pds.clear();
                pds.push_str(view.pds().unwrap_or_default());
            }
            let verdict = judge(proof, host, view);
            Verdict { notes: verdict.notes | noted, ..verdict }
        });
        match decision {
            Decision::Settled(verdict) if verdict.status == Status::Ok => {
                self.activate(case, standing, doubt, verdict)
            }
            Decision::Settled(verdict) if verdict.rule == Some(Rule::NO_ANSWER) => {
                if case.head.is_some() && standing.account.head.is_some() {
                    self.heal.put_late(case.did);
                }
                decision
            }
            other => other,
        }
    }

    /// Settles what is proved but for its account's activity.
    fn activate(
        &mut self,
        case: Case<'_>,
        standing: Standing,
        doubt: Doubt,
        verdict: Verdict,
    ) -> Decision {
        let Standing { account, is_again, .. } = standing;
        let mut away = match self.ask_doubt(case.did, standing, doubt) {
            Ok(away) => away,
            Err(Decision::Settled(no)) => {
                return Decision::Settled(Verdict { notes: verdict.notes, ..no });
            }
            Err(other) => return other,
        };
        if verdict.notes & notes::GAP != 0 {
            match self.heal.wish(case.did) {
                Wish::Fetch => return Decision::Fetch,
                Wish::Pass => {}
                Wish::Hold => {
                    let held = Verdict::unchecked(Rule::GAP);
                    return Decision::Settled(Verdict { notes: verdict.notes, ..held });
                }
            }
        }
        if let Some(active) = case.says_active {
            away = (!active).then(|| HostKey::of(&self.pds));
            if doubt == Doubt::None {
                self.activity.forget(case.did);
            }
        }
        if is_again {
            if let Some(head) = case.head {
                self.recent.came(case.did, head.rev, &head.commit);
            }
            return Decision::Settled(verdict);
        }
        let head = case.head.or(account.head);
        let healed = account.healed && head == account.head;
        self.change(case.did, &account, Account { head, away, healed });
        Decision::Settled(verdict)
    }

    /// By whose word the account of a proved event is inactive; or what has to come first, or what
    /// is to be said of the event instead.
    fn ask_doubt(
        &mut self,
        did: &str,
        Standing { account, received_ns, .. }: Standing,
        doubt: Doubt,
    ) -> Result<Option<HostKey>, Decision> {
        let (expected, silent) = match doubt {
            Doubt::None => return Ok(account.away),
            // A host that is no longer the account's has nothing more to say about it.
            Doubt::Inactive(host) if self.has_left(did, host) => return Ok(None),
            Doubt::Inactive(_) => (true, Rule::INACTIVE),
            Doubt::Hearsay(active) => (active, Rule::HEARSAY),
        };
        match self.word(did, expected, received_ns) {
            Word::Ask => Err(Decision::Ask(Whom::Host)),
            Word::Later(due) => Err(Decision::Later(due, Whom::Host)),
            Word::Said(Said::Active(active)) if active == expected => {
                Ok(account.away.filter(|_| doubt == Doubt::Hearsay(active)))
            }
            // It may be that the account has moved on from there.
            Word::Said(Said::Active(_)) if doubt == Doubt::Hearsay(expected) => {
                Err(Decision::Settled(Verdict::unchecked(silent)))
            }
            Word::Said(Said::Active(_)) => {
                let first = self.identities.confirm(did, received_ns);
                Err(first.unwrap_or(Decision::Settled(Verdict::refused(silent))))
            }
            Word::Said(Said::Silence) => Err(Decision::Settled(Verdict::unchecked(silent))),
        }
    }

    /// Whether an account lives elsewhere than at this host, as far as anybody says.
    fn has_left(&mut self, did: &str, host: HostKey) -> bool {
        let said = self.identities.said_pds(did);
        HostKey::of(&self.pds) != host || said.is_some_and(|pds| HostKey::of(pds) != host)
    }

    fn change(&mut self, did: &str, before: &Account, after: Account) {
        if after != *before {
            self.heads.put(did, after);
            self.state.iter_mut().for_each(|state| state.note(did, before, &after));
        }
    }

    /// What the account's host says of its activity.
    fn word(&self, did: &str, active: bool, received_ns: u64) -> Word {
        match self.asker {
            Some(_) => self.activity.word(did, &self.pds, active, received_ns),
            None => Word::Said(Said::Silence),
        }
    }

    /// Asks what a decision wants to know.
    pub(crate) fn ask(&mut self, did: &str, decision: Decision) {
        let asked = match decision {
            Decision::Ask(Whom::Directory { history }) => {
                return self.identities.ask(did, history);
            }
            Decision::Settled(_) | Decision::Later(..) => return,
            Decision::Ask(Whom::Host) => Asked::Status(did.into()),
            Decision::Fetch => Asked::Repo(did.into()),
        };
        if let Some(asker) = &mut self.asker {
            asker.ask(Question { asked, pds: self.pds.as_str().into() });
        }
    }

    /// Takes in one answer, of the directory or of a host, if one comes within `wait`; says whose
    /// account it is about, and whether it was an answer at all.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<(Box<str>, bool)> {
        let until = Instant::now() + wait;
        loop {
            self.ask_on();
            let left = until.saturating_duration_since(Instant::now());
            let is_host_asked = self.asker.as_ref().is_some_and(|asker| asker.pending() > 0);
            let both = self.identities.is_asked() && is_host_asked;
            let slice = if both { left.min(SLICE) } else { left };
            let answer = self.identities.answer(slice);
            let answer = answer.or_else(|| self.host_answer(slice));
            if answer.is_some() || left.is_zero() || !(is_host_asked || self.identities.is_asked())
            {
                return answer;
            }
        }
    }

    fn host_answer(&mut self, wait: Duration) -> Option<(Box<str>, bool)> {
        let Told { question: Question { asked, pds }, answer, asked_ns } =
            self.asker.as_mut()?.answer(wait)?;
        match (asked, answer) {
            (Asked::Status(did), answer) => {
                let said = match answer {
                    Answer::Active(active) => Said::Active(active),
                    _ => Said::Silence,
                };
                self.activity.learn(did.clone(), pds, said, asked_ns);
                Some((did, said != Said::Silence))
            }
            (Asked::Repo(did), answer) => {
                let is_healed = match &answer {
                    Answer::Repo(car) => self.mend(&did, car).is_some(),
                    _ => false,
                };
                self.heal.tell(&did, is_healed);
                Some((did, answer != Answer::Silence))
            }
            (Asked::List(_), Answer::List(repos, next)) => {
                self.compare(&repos, &pds);
                if let Some(next) = next {
                    self.heal.put_list(&pds, &next);
                }
                None
            }
            (Asked::List(_), _) => None,
        }
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
        self.heads.check()?;
        self.state.as_mut().map_or(Ok(()), State::relieve)
    }
}

#[cfg(test)]
mod tests;
