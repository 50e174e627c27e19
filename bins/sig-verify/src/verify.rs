//! The proof of one event: its bytes and what the directory says, in; a verdict, out.
//!
//! Pure: no clock, no files, no sockets. [`Proof::examine`] asks the rules that hold whoever the
//! account is, [`Proof::judge`] the rest, as often as there is something else to judge by.
//!
//! Always checked: the envelope, every block's hash, the commit's form, that envelope and commit
//! speak of the same account and rev, the signature (low S), and that undoing the ops on the tree
//! gives `prevData`; of a legacy commit that the tree has each op's record under its path. Whether
//! the event continues the account's chain is asked in [`crate::heads`].

use std::num::NonZeroU64;

use atproto::Tid;
use atproto::blocks::Blocks;
use atproto::commit::Signed;
use atproto::event::{Commit, Event};
use atproto::mst::Undo;
use didindex::{Period, Status};
use frame::Frame;
use frame::host::{Host, Role};
use frame::verdict::{Rule, Verdict, notes};
use keys::{PublicKey, Reject, Verifier};

use crate::heads::{Head, Step};
use crate::identity::View;
use crate::rules;

/// Which key an event is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Keys {
    /// The account's present key
    Current,
    /// The key that was valid at the commit's rev, for replays
    History,
    /// The present key, then the one that was valid at the rev
    Auto,
}

/// What is done about commits that do not say what was before them, as hosts sent them before
/// Sync 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Legacy {
    /// Prove what can be proved, and note it
    Pass,
    /// Refuse them
    Refuse,
}

/// What is done about signed events from a PDS that is not the account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Foreign {
    /// Judge them like any others, and note it
    Mark,
    /// Refuse them, as the specification asks of who listens to hosts
    Refuse,
}

/// What is asked of all events alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) keys: Keys,
    pub(crate) legacy: Legacy,
    pub(crate) foreign: Foreign,
    /// Unsigned events count from relays too.
    pub(crate) trust_relay: bool,
}

/// Who an event without a signature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// A host that speaks for accounts of its own.
    Pds,
    /// A relay whose word is taken.
    Trusted,
    /// A relay, or nobody knows who.
    Hearsay,
}

/// How many keys of one account are tried: it takes many rotations within five minutes to have
/// more than two at one time.
const KEYS_MAX: usize = 8;

/// Events up to this size are asked for their tree before their signature: what that costs is within
/// what it costs to look at the signature.
const SMALL_BYTES_MAX: usize = 32 << 10;

/// How many parsed keys are kept, about 150 bytes each.
const CACHE_KEYS: usize = 1 << 15;

/// All of an account's identity that the verdict on a signed event hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// The keys that may have signed it, in the order in which they are tried.
    keys: [Option<Period>; GIVEN_KEYS],
    /// The present key.
    present: Option<[u8; keys::KEY_BYTES]>,
    /// It comes from a PDS that is not the account's.
    foreign: bool,
}

/// As many keys as one account has at one time, but for a few.
const GIVEN_KEYS: usize = 3;

/// An event that holds as far as can be told without its account's identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The account.
    pub(crate) did: &'a str,
    event: Event<'a>,
    body: &'a [u8],
    signed: Option<SignedClaim<'a>>,
    notes: u32,
    /// What its tree says, if that was asked beforehand.
    tree: Option<Result<(), Rule>>,
}

/// A commit that is still to be held against a key.
#[derive(Debug, Clone, Copy)]
struct SignedClaim<'a> {
    commit: Signed<'a>,
    digest: [u8; 32],
    head: Head,
}

impl Claim<'_> {
    /// Whether all that is left to judge is in here, whatever is examined meanwhile.
    pub(crate) fn has_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Whether the event says that the account's identity changed.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.event, Event::Identity(_))
    }

    /// What the event says of the state that it follows.
    pub(crate) fn step(&self) -> Step {
        Step::of(&self.event)
    }

    /// The head that the event makes its account's.
    pub(crate) fn head(&self) -> Option<Head> {
        self.signed.as_ref().map(|signed| signed.head)
    }

    /// What an `#account` says of its account's activity.
    pub(crate) fn says_active(&self) -> Option<bool> {
        match self.event {
            Event::Account(account) => Some(account.active),
            _ => None,
        }
    }
}

/// What is needed to prove events one after the other without taking memory for each.
pub(crate) struct Proof {
    blocks: Blocks,
    undo: Undo,
    verifier: Verifier,
    policy: Policy,
    disagreed: bool,
}

impl Proof {
    /// One acceptance in `second_opinion` is asked of both implementations of the curve.
    pub(crate) fn new(policy: Policy, second_opinion: Option<NonZeroU64>) -> Proof {
        let verifier = Verifier::new(CACHE_KEYS);
        let verifier = match second_opinion {
            Some(every) => verifier.with_second_opinion(every),
            None => verifier,
        };
        let (blocks, undo) = (Blocks::new(), Undo::new());
        Proof { blocks, undo, verifier, policy, disagreed: false }
    }

    /// Whether two implementations of a curve ever said different things: then no verdict counts.
    pub(crate) fn disagreed(&self) -> bool {
        self.disagreed
    }

    /// Notes that another one has seen them do so.
    pub(crate) fn disagree(&mut self) {
        self.disagreed = true;
    }

    /// Asks all rules that do not hinge on the account's identity.
    pub(crate) fn examine<'a>(
        &mut self,
        frame: &Frame<'a>,
        event: Event<'a>,
    ) -> Result<Claim<'a>, Verdict> {
        let examined = match &event {
            Event::Commit(commit) => self.commit(frame, event, commit),
            Event::Sync(sync) => rules::sync_limits(sync).and_then(|()| {
                let signed = self.signed(frame, event)?;
                Ok(Claim { signed: Some(signed), ..Claim::unsigned(frame, event) })
            }),
            Event::Identity(_) | Event::Account(_) => {
                let claim = Claim::unsigned(frame, event);
                rules::did(claim.did).map(|()| claim)
            }
            _ => return Err(Verdict::unchecked(Rule::UNKNOWN_TYPE)),
        };
        examined.map_err(Verdict::refused)
    }

    fn commit<'a>(
        &mut self,
        frame: &Frame<'a>,
        event: Event<'a>,
        commit: &Commit<'a>,
    ) -> Result<Claim<'a>, Rule> {
        rules::commit_limits(commit)?;
        for op in commit.ops {
            rules::path(&op)?;
            rules::op_form(&op)?;
        }
        rules::paths_differ(commit)?;
        let signed = self.signed(frame, event)?;
        let redacted = frame.header.flags & frame::flags::REDACTED != 0;
        let mut noted = 0;
        for op in commit.ops {
            if !rules::record(&self.blocks, frame.body(), &op, redacted)? {
                noted |= notes::ODD_RECORD;
            }
        }
        noted |= if rules::has_before(commit, self.policy.legacy)? { 0 } else { notes::LEGACY };
        // Of an account that was forgotten its signed commits are left, without their trees.
        if redacted && self.blocks.get(frame.body(), &signed.commit.data).is_none() {
            noted |= notes::NO_TREE;
        }
        Ok(Claim { signed: Some(signed), notes: noted, ..Claim::unsigned(frame, event) })
    }

    /// What `#commit` and `#sync` have in common: a CAR with a commit in it.
    fn signed<'a>(&mut self, frame: &Frame<'a>, event: Event<'a>) -> Result<SignedClaim<'a>, Rule> {
        let (did, rev) = (event.did().unwrap_or_default(), event.rev().unwrap_or_default());
        rules::did(did)?;
        let tid = rules::rev(rev)?;
        rules::rev_time(tid, frame.header.time_ns)?;
        let root = rules::hashes(&mut self.blocks, frame.body(), &event)?;
        let named = match event {
            Event::Commit(commit) => Some(commit.commit),
            _ => None,
        };
        let cid = rules::root(root, named)?;
        let block = rules::commit_block(&self.blocks, frame.body(), &cid)?;
        let commit = rules::commit_form(block)?;
        rules::same_did(&commit, did)?;
        rules::same_rev(&commit, rev)?;
        let digest = commit.signed_digest();
        let head = Head { rev: tid, commit: cid, data: commit.data };
        Ok(SignedClaim { commit, digest, head })
    }

    /// Asks the tree of what was examined last beforehand, if that is small, so that what is
    /// examined next may be so before this is judged. What it says counts only behind a signature.
    pub(crate) fn ask_tree<'a>(&mut self, claim: Claim<'a>) -> Claim<'a> {
        let small = claim.signed.filter(|_| claim.body.len() <= SMALL_BYTES_MAX);
        let tree = small.map(|signed| self.tree(&claim, &signed));
        Claim { tree, ..claim }
    }

    /// What a signed event of that rev is held against; `None` if that is more than fits.
    pub(crate) fn given(&self, rev: Tid, host: Option<Host<'_>>, view: View<'_>) -> Option<Given> {
        let mut candidates = candidates(self.policy.keys, rev, view);
        let keys = std::array::from_fn(|_| candidates.next());
        let given = Given { keys, present: view.present().key, foreign: is_foreign(host, view) };
        candidates.next().is_none().then_some(given)
    }

    /// Holds what was examined last against all that its verdict hangs on.
    pub(crate) fn judge_given(&mut self, claim: &Claim<'_>, given: &Given) -> Option<Verdict> {
        let Given { keys, present, foreign } = *given;
        let signed = claim.signed.as_ref()?;
        Some(self.judge_signed(claim, signed, foreign, present, keys.into_iter().flatten()))
    }

    /// Holds what was examined last against what is known of the account.
    pub(crate) fn judge(
        &mut self,
        claim: &Claim<'_>,
        host: Option<Host<'_>>,
        view: View<'_>,
    ) -> Verdict {
        match &claim.signed {
            Some(signed) => {
                let keys = candidates(self.policy.keys, signed.head.rev, view);
                let (foreign, present) = (is_foreign(host, view), view.present().key);
                self.judge_signed(claim, signed, foreign, present, keys)
            }
            None => judge_unsigned(self.speaker(host), host, view),
        }
    }

    /// Who speaks where a host is listened to.
    pub(crate) fn speaker(&self, host: Option<Host<'_>>) -> Speaker {
        match host {
            Some(Host { role: Role::Pds, .. }) => Speaker::Pds,
            Some(_) if self.policy.trust_relay => Speaker::Trusted,
            _ => Speaker::Hearsay,
        }
    }

    fn judge_signed(
        &mut self,
        claim: &Claim<'_>,
        signed: &SignedClaim<'_>,
        foreign: bool,
        present: Option<[u8; keys::KEY_BYTES]>,
        keys: impl Iterator<Item = Period> + Clone,
    ) -> Verdict {
        if foreign && self.policy.foreign == Foreign::Refuse {
            return Verdict::refused(Rule::FOREIGN);
        }
        let mut noted = claim.notes | if foreign { notes::FOREIGN } else { 0 };
        let verdict = match self.signature(signed, keys) {
            Err(rule) => Verdict::refused(rule),
            Ok(key) => {
                if present != Some(key) {
                    noted |= notes::FORMER_KEY;
                }
                // Last, because it costs most for what it takes to make: only who has a key of
                // an account can send a large tree.
                match claim.tree.unwrap_or_else(|| self.tree(claim, signed)) {
                    Err(rule) => Verdict::refused(rule),
                    Ok(()) => Verdict::ok(Some(key)),
                }
            }
        };
        Verdict { notes: noted, ..verdict }
    }

    /// Whether a commit is the account's: all that has to be asked of a whole repository.
    pub(crate) fn judge_commit(
        &mut self,
        commit: Signed<'_>,
        head: Head,
        view: View<'_>,
    ) -> Verdict {
        let digest = commit.signed_digest();
        let keys = candidates(self.policy.keys, head.rev, view);
        match self.signature(&SignedClaim { commit, digest, head }, keys) {
            Ok(key) => Verdict::ok(Some(key)),
            Err(rule) => Verdict::refused(rule),
        }
    }

    /// The key that proves the commit, or the rule that says best why none does.
    fn signature(
        &mut self,
        signed: &SignedClaim<'_>,
        keys: impl Iterator<Item = Period> + Clone,
    ) -> Result<[u8; keys::KEY_BYTES], Rule> {
        // A key that another one comes behind refuses nothing, so nobody else is asked about it.
        for bytes in keys.clone().filter_map(|period| period.key) {
            let Ok(key) = PublicKey::from_bytes(&bytes) else { continue };
            match self.verifier.is_by(&key, &signed.digest, signed.commit.sig) {
                Ok(true) => return Ok(bytes),
                Ok(false) => {}
                Err(_) => self.disagreed = true,
            }
        }
        // A signature that was looked at says more than a key that is not there.
        let why = keys.map(|period| self.why_not(signed, &period)).max_by_key(|rule| rank(*rule));
        Err(why.unwrap_or(Rule::NO_KEY))
    }

    /// Why a key does not prove the commit.
    fn why_not(&mut self, signed: &SignedClaim<'_>, period: &Period) -> Rule {
        let Some(bytes) = period.key else {
            return match period.status {
                Status::UnknownKeyType => Rule::UNKNOWN_KEY_TYPE,
                Status::Tombstoned => Rule::TOMBSTONED,
                _ => Rule::NO_KEY,
            };
        };
        let Ok(key) = PublicKey::from_bytes(&bytes) else { return Rule::UNKNOWN_KEY_TYPE };
        match self.verifier.verify(&key, &signed.digest, signed.commit.sig) {
            Err(Reject::HighS) => Rule::HIGH_S,
            Err(Reject::BadKey) => Rule::UNKNOWN_KEY_TYPE,
            // That it holds now is a disagreement as well: nothing has changed since.
            Ok(()) | Err(Reject::Disagreement) => {
                self.disagreed = true;
                Rule::BAD_SIGNATURE
            }
            Err(_) => Rule::BAD_SIGNATURE,
        }
    }

    fn tree(&mut self, claim: &Claim<'_>, signed: &SignedClaim<'_>) -> Result<(), Rule> {
        let Event::Commit(commit) = &claim.event else { return Ok(()) };
        if claim.notes & notes::NO_TREE != 0 {
            return Ok(());
        }
        let (blocks, data) = (self.blocks.of(claim.body), &signed.commit.data);
        if claim.notes & notes::LEGACY == 0 {
            return rules::inversion(&mut self.undo, commit, data, &blocks);
        }
        commit.ops.into_iter().try_for_each(|op| rules::op_in_tree(&op, data, &blocks))
    }
}

impl<'a> Claim<'a> {
    fn unsigned(frame: &Frame<'a>, event: Event<'a>) -> Claim<'a> {
        let did = event.did().unwrap_or_default();
        Claim { did, event, body: frame.body(), signed: None, notes: 0, tree: None }
    }
}

/// The keys that may have signed a commit of that rev, most likely ones first: those of its time,
/// then the present one where that is another.
fn candidates(
    keys: Keys,
    rev: Tid,
    view: View<'_>,
) -> impl Iterator<Item = Period> + Clone + use<'_> {
    let at_rev = (keys != Keys::Current).then(|| view.periods_at(rev.micros() / 1000));
    let at_rev = at_rev.into_iter().flatten().take(KEYS_MAX - 1);
    let present = (keys != Keys::History).then(|| view.present());
    let present = present.filter(|present| {
        present.key.is_none() || at_rev.clone().all(|period| period.key != present.key)
    });
    at_rev.chain(present)
}

/// Whether a PDS sends an event of an account that is not its own.
fn is_foreign(host: Option<Host<'_>>, view: View<'_>) -> bool {
    host.is_some_and(|host| host.role == Role::Pds && view.pds().is_none_or(|pds| pds != host.name))
}

/// Reads the envelope, within the limit of an event.
pub(crate) fn open(body: &[u8]) -> Result<Event<'_>, Rule> {
    rules::event_size(body)?;
    rules::envelope(body)
}

/// An event without a signature counts only from the account's host, or from who is believed in
/// its place. Of hearsay this says what it would be if the account's host confirmed it.
fn judge_unsigned(speaker: Speaker, host: Option<Host<'_>>, view: View<'_>) -> Verdict {
    match (view.pds(), host) {
        (Some(pds), Some(host)) if speaker == Speaker::Pds && pds != host.name => {
            Verdict::refused(Rule::WRONG_HOST)
        }
        (Some(_), _) => Verdict::ok(None),
        (None, _) if view.present().status == Status::Tombstoned => {
            Verdict::refused(Rule::TOMBSTONED)
        }
        (None, _) => Verdict::refused(Rule::NO_PDS),
    }
}

/// Whether the directory's answer could undo a refusal under this rule, or the note that an event
/// comes from elsewhere: accounts move. A signature that holds with a high S was made with the
/// account's key, so no other key would change that.
pub(crate) fn hinges_on_identity(verdict: &Verdict) -> bool {
    let Some(rule) = verdict.rule else { return verdict.notes & notes::FOREIGN != 0 };
    [
        Rule::NO_IDENTITY,
        Rule::NO_KEY,
        Rule::UNKNOWN_KEY_TYPE,
        Rule::TOMBSTONED,
        Rule::BAD_SIGNATURE,
        Rule::WRONG_HOST,
        Rule::NO_PDS,
        Rule::FOREIGN,
    ]
    .contains(&rule)
}

fn rank(rule: Rule) -> u8 {
    match rule {
        Rule::HIGH_S => 4,
        Rule::BAD_SIGNATURE => 3,
        Rule::TOMBSTONED | Rule::UNKNOWN_KEY_TYPE => 2,
        _ => 1,
    }
}
