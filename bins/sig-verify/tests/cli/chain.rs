//! What an account did last, and how the next event stands to it.

use atproto::{Cid, Tid};
use keys::Curve;

use crate::forge::{Draft, MADE_US, Secret};
use crate::harness::{self, Seen, Stream};
use crate::index::{self, Account};

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub did: String,
    pub secret: Secret,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::of(1)
    }

    pub fn of(number: u8) -> Bench {
        let secret = Secret::new(Curve::K256, number);
        let account = Account::new(number, secret.public());
        let folder = tempfile::tempdir().unwrap();
        let did = account.did.clone();
        index::build(folder.path(), &[account]);
        Bench { folder, did, secret }
    }

    /// The account's first commit, or one like it at another time.
    pub fn draft(&self, number: u64) -> Draft {
        Draft::new(&self.did, &self.secret, number)
    }

    /// A commit that deletes all that `before` made: its tree is what `before` began with.
    pub fn after(&self, before: &Draft, number: u64) -> Draft {
        let mut draft = self.draft(number);
        let (op, node) = (before.ops[0].clone(), b"\xa2ae\x80al\xf6".to_vec());
        draft.ops[0] = crate::forge::Op { action: "delete", cid: None, prev: op.cid, ..op };
        draft.object.data = Cid::dag_cbor(&node);
        draft.blocks.truncate(1);
        draft.blocks.push((draft.object.data, node));
        draft.since = Some(before.rev.clone());
        draft.prev_data = Some(before.object.data);
        draft.sign(&self.secret);
        draft
    }

    /// So many commits of the account, each of which follows the one before: a record comes, and
    /// goes again.
    pub fn chain(&self, count: u64) -> Vec<Draft> {
        let mut chain: Vec<Draft> = Vec::new();
        for number in 1..=count {
            let next = match chain.last() {
                None => self.draft(number),
                Some(before) if number % 2 == 0 => self.after(before, number),
                Some(before) => {
                    let mut draft = self.draft(number);
                    draft.since = Some(before.rev.clone());
                    draft.prev_data = Some(before.object.data);
                    draft
                }
            };
            chain.push(next);
        }
        chain
    }

    fn judge(&self, drafts: &[&Draft]) -> Vec<(String, Vec<&'static str>)> {
        let index = self.folder.path().join("did.idx");
        let mut stream = Stream::of("pds.example");
        for (seq, draft) in (1..).zip(drafts) {
            stream.event(1, seq, &draft.body());
        }
        let args = ["--index", harness::path(&index), "--pass-all"];
        let seen = harness::proved(&args, &stream.end());
        seen.iter().map(|seen: &Seen| (seen.verdict(), seen.notes())).collect()
    }
}

fn said(verdict: &str, notes: &[&'static str]) -> (String, Vec<&'static str>) {
    (verdict.to_owned(), notes.to_vec())
}

#[test]
fn a_commit_follows_the_one_it_names_or_comes_behind_a_gap() {
    let bench = Bench::new();
    let first = bench.draft(1);
    let next = bench.after(&first, 2);
    let mut lost = bench.after(&first, 3);
    lost.since = Some(Tid::new(MADE_US + 1, 7).to_string());
    let verdicts = bench.judge(&[&first, &next]);
    assert_eq!(verdicts, [said("ok", &["first"]), said("ok", &[])]);
    let verdicts = bench.judge(&[&first, &lost, &bench.draft(4)]);
    assert_eq!(verdicts, [said("ok", &["first"]), said("ok", &["gap"]), said("ok", &["gap"])]);
    // The rev before is right and the tree is not, which is no less a gap.
    let other = bench.draft(0);
    let mut moved = bench.after(&other, 5);
    moved.since = Some(first.rev.clone());
    let verdicts = bench.judge(&[&first, &moved]);
    assert_eq!(verdicts, [said("ok", &["first"]), said("ok", &["gap"])]);
}

#[test]
fn what_is_earlier_is_stale_and_what_is_the_head_is_a_repeat() {
    let bench = Bench::new();
    let (first, later) = (bench.draft(1), bench.draft(9));
    let mut other = bench.draft(9);
    other.blocks[2].1.push(0);
    other.put_record(b"\xa0".to_vec());
    let twin = {
        let mut twin = bench.after(&first, 9);
        twin.since = None;
        twin
    };
    let verdicts = bench.judge(&[&later, &first, &later, &twin, &other]);
    assert_eq!(
        verdicts,
        [
            said("ok", &["first"]),
            said("refused stale-rev", &[]),
            said("unchecked repeat", &[]),
            said("refused stale-rev", &[]),
            // It has the head's name, so nothing else of it matters.
            said("unchecked repeat", &[]),
        ]
    );
}

#[test]
fn what_is_refused_moves_nothing() {
    let bench = Bench::new();
    let first = bench.draft(1);
    let mut forged = bench.after(&first, 5);
    forged.sign(&Secret::new(Curve::K256, 9));
    let next = bench.after(&first, 3);
    let verdicts = bench.judge(&[&first, &forged, &next]);
    assert_eq!(
        verdicts,
        [said("ok", &["first"]), said("refused bad-signature", &[]), said("ok", &[])]
    );
}

#[test]
fn a_sync_of_the_head_is_an_event_and_a_later_one_moves_the_rev_or_is_a_gap() {
    let bench = Bench::new();
    let first = bench.draft(1);
    let sync = |number, data: Option<Cid>| {
        let mut sync = Draft::sync(&bench.did, &bench.secret, number);
        sync.object.data = data.unwrap_or(sync.object.data);
        sync.sign(&bench.secret);
        sync
    };
    let (same, later) = (sync(1, None), sync(2, Some(first.object.data)));
    let mut next = bench.after(&first, 3);
    next.since = Some(later.rev.clone());
    let verdicts = bench.judge(&[&first, &same, &later, &next, &first, &sync(4, None)]);
    assert_eq!(
        verdicts,
        [
            said("ok", &["first"]),
            said("ok", &[]),
            said("ok", &[]),
            said("ok", &[]),
            said("refused stale-rev", &[]),
            said("ok", &["gap"]),
        ]
    );
}

/// As official servers send one when an account moves: its outer rev is not that of its commit.
#[test]
fn a_sync_that_is_refused_changes_nothing() {
    let bench = Bench::new();
    let chain = bench.chain(2);
    let mut faulty = Draft::sync(&bench.did, &bench.secret, 1);
    faulty.object.data = chain[0].object.data;
    faulty.sign(&bench.secret);
    faulty.rev = Tid::new(MADE_US + 9, 0).to_string();
    let mut forged = bench.draft(5);
    forged.kind = "#sync";
    forged.blocks.truncate(1);
    forged.sign(&Secret::new(Curve::K256, 9));
    assert_eq!(
        bench.judge(&[&chain[0], &faulty, &forged, &chain[1]]),
        [
            said("ok", &["first"]),
            said("refused rev-mismatch", &[]),
            said("refused bad-signature", &["gap"]),
            said("ok", &[]),
        ]
    );
}
