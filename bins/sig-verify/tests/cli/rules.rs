//! Each rule that a verdict can name, with an event that it lets through and one beside it that it
//! does not: what is at a limit and what is one over it, what is right and what differs in one thing.
//! A rule that is added without an example fails here.

use atproto::{Cid, Tid};
use didindex::Key;
use frame::host::Role;
use frame::verdict::Rule;
use frame::{HostId, Kind};
use keys::Curve;

use crate::forge::{self, Draft, MADE_US, Op, Records, Secret};
use crate::harness::{self, NOW_NS, Seen, Stream};
use crate::heal;
use crate::index::{self, Account};

/// Accounts of every kind that an index has.
struct Lab {
    _folder: tempfile::TempDir,
    index: String,
    /// The key of all accounts.
    secret: Secret,
}

const GOOD: u8 = 1;
const KEYLESS: u8 = 3;
const STRANGE_KEY: u8 = 4;
const ENDED: u8 = 5;
const HOMELESS: u8 = 6;
const UNKNOWN: u8 = 7;

const OWN: u32 = 1;
const RELAY: u32 = 2;
const OTHER: u32 = 3;

/// What an example comes to: what is let through, and what is not.
type Shown = [String; 2];

/// A list of what comes in, one behind the other.
type Input = Vec<(u32, In)>;

enum In {
    Event(Vec<u8>),
    Frame(Vec<u8>),
}

impl Lab {
    fn new() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let secret = Secret::new(Curve::K256, 1);
        let known = Key::Known(secret.public().to_bytes());
        let account = |number: u8, changes| {
            let did = did(number);
            Account { did, changes }
        };
        let at = Some("pds.example");
        let accounts = [
            account(GOOD, vec![(0, known, at)]),
            account(KEYLESS, vec![(0, Key::Missing, at)]),
            account(STRANGE_KEY, vec![(0, Key::UnknownType, at)]),
            account(ENDED, vec![(0, known, at), (1000, Key::Tombstone, None)]),
            account(HOMELESS, vec![(0, known, None)]),
        ];
        let index = index::build(folder.path(), &accounts);
        let index = harness::path(&index).to_owned();
        Lab { _folder: folder, index, secret }
    }

    fn draft(&self) -> Draft {
        self.draft_of(GOOD, 7)
    }

    fn draft_of(&self, account: u8, number: u64) -> Draft {
        Draft::new(&did(account), &self.secret, number)
    }

    /// The verdict on the last of these.
    fn judge(&self, options: &[&str], input: Input) -> String {
        let mut stream = Stream::of("pds.example");
        stream.host(OTHER, Role::Pds, "other.example");
        for (seq, (host, item)) in (1..).zip(input) {
            match item {
                In::Event(body) => stream.event(host, seq, &body),
                In::Frame(frame) => stream.bytes.extend_from_slice(&frame),
            }
        }
        let args = [&["--index", &self.index, "--pass-all"], options].concat();
        let output = harness::run(&args, &stream.end());
        assert_eq!(output.status.code(), Some(0), "{}", harness::text(&output.stderr));
        let (seen, _) = harness::decode(&output.stdout);
        let judged = |seen: &&Seen| seen.kind == Kind::EVENT || seen.kind == Kind::REPO;
        seen.iter().rfind(judged).map(Seen::verdict).unwrap()
    }

    /// An event, and the same with one thing changed.
    fn draft_and(&self, change: impl FnOnce(&mut Draft)) -> Shown {
        let good = self.draft();
        let mut bad = good.clone();
        change(&mut bad);
        self.both(good, bad)
    }

    fn both(&self, good: Draft, bad: Draft) -> Shown {
        [good, bad].map(|draft| self.judge(&[], vec![event(draft)]))
    }

    fn both_bodies(&self, good: Vec<u8>, bad: Vec<u8>) -> Shown {
        [good, bad].map(|body| self.judge(&[], vec![(OWN, In::Event(body))]))
    }

    /// The same event of an account where it holds, and of one where it does not.
    fn of_accounts(&self, good: u8, bad: u8) -> Shown {
        self.both(self.draft_of(good, 7), self.draft_of(bad, 7))
    }

    /// A rev at the account's signature.
    fn at(&self, micros: u64) -> Draft {
        let mut draft = self.draft();
        draft.rev = Tid::new(micros, 0).to_string();
        draft.object.rev = draft.rev.clone();
        draft.sign(&self.secret);
        draft
    }
}

fn did(number: u8) -> String {
    didindex::PlcDid::from_bytes([number; 15]).to_string()
}

fn event(draft: Draft) -> (u32, In) {
    (OWN, In::Event(draft.body()))
}

/// A block that nothing links to, with which the blocks have so many bytes in all.
fn filled(mut draft: Draft, bytes: usize) -> Draft {
    // A block's length is a varint of 2 or 3 bytes here.
    let varint = if bytes < 16_000 { 2 } else { 3 };
    let room = bytes - draft.car().len() - varint - Cid::BYTES;
    let data = vec![0x40; room];
    draft.blocks.push((Cid::raw(&data), data));
    assert_eq!(draft.car().len(), bytes);
    draft
}

/// A commit that makes so many records.
fn of_ops(lab: &Lab, count: u64) -> Draft {
    let record = |number| forge::map(vec![("n", forge::uint(number))]);
    let records = (0..count).map(|number| (format!("com.example.it/{number}"), record(number)));
    let records: Records = records.collect();
    Draft::between(&did(GOOD), &lab.secret, 7, &Records::new(), &records)
}

/// A record of so many bytes.
fn record_of(lab: &Lab, bytes: usize) -> Draft {
    let room = bytes - forge::map(vec![("a", forge::bytes(&[0; 70_000]))]).len() + 70_000;
    let record = forge::map(vec![("a", forge::bytes(&vec![0; room]))]);
    assert_eq!(record.len(), bytes);
    Draft::of_record(&did(GOOD), &lab.secret, 7, record)
}

/// An event of so many bytes.
fn event_of(lab: &Lab, bytes: usize) -> Vec<u8> {
    let mut draft = lab.draft();
    draft.extra = vec![("zzz", forge::bytes(&[0; 70_000]))];
    let room = bytes - draft.body().len() + 70_000;
    draft.extra = vec![("zzz", forge::bytes(&vec![0; room]))];
    assert_eq!(draft.body().len(), bytes);
    draft.body()
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

/// What shows a rule; nothing for one that nobody has thought of.
fn example(lab: &Lab, rule: Rule) -> Option<Shown> {
    let draft = || lab.draft();
    let other = Cid::dag_cbor(b"another");
    let signed = |change: &dyn Fn(&mut Draft)| {
        lab.draft_and(|draft| {
            change(draft);
            draft.sign(&lab.secret);
        })
    };
    let after = |events: Vec<Draft>| lab.judge(&[], events.into_iter().map(event).collect());
    let (first, later) = (lab.draft_of(GOOD, 7), lab.draft_of(GOOD, 8));
    Some(match rule {
        Rule::BAD_FRAME => {
            let good = draft().body();
            lab.both_bodies(good.clone(), [good, vec![0xf6]].concat())
        }
        Rule::EVENT_TOO_BIG => lab.both_bodies(event_of(lab, 5_000_000), event_of(lab, 5_000_001)),
        Rule::BLOCKS_TOO_BIG => {
            let commits = lab.both(filled(draft(), 2_000_000), filled(draft(), 2_000_001));
            let sync = || Draft::sync(&did(GOOD), &lab.secret, 7);
            assert_eq!(commits, lab.both(filled(sync(), 10_000), filled(sync(), 10_001)));
            commits
        }
        Rule::RECORD_TOO_BIG => lab.both(record_of(lab, 1_000_000), record_of(lab, 1_000_001)),
        Rule::TOO_MANY_OPS => lab.both(of_ops(lab, 200), of_ops(lab, 201)),
        Rule::BAD_DID => lab.draft_and(|draft| draft.did = "did:plc".into()),
        Rule::BAD_REV => lab.draft_and(|draft| draft.rev = "zzzzzzzzzzzzz".into()),
        Rule::FUTURE_REV => {
            let five_minutes = NOW_NS / 1000 + 300_000_000;
            lab.both(lab.at(five_minutes), lab.at(five_minutes + 1))
        }
        // Behind the last block is the length of another one, and nothing of that.
        Rule::BAD_CAR => lab.draft_and(|draft| draft.behind = vec![0x7f]),
        Rule::BAD_CID => lab.draft_and(|draft| {
            let record = std::mem::take(&mut draft.blocks[2].1);
            draft.blocks[2].1 = flipped(record, 20);
        }),
        Rule::ROOT_NOT_COMMIT => lab.draft_and(|draft| draft.commit = other),
        Rule::MISSING_BLOCK => lab.draft_and(|draft| drop(draft.blocks.pop())),
        Rule::BAD_COMMIT => signed(&|draft| draft.object.version = 2),
        Rule::DID_MISMATCH => lab.draft_and(|draft| draft.did = did(HOMELESS)),
        Rule::REV_MISMATCH => {
            lab.draft_and(|draft| draft.rev = Tid::new(MADE_US + 7, 1).to_string())
        }
        Rule::NO_IDENTITY => lab.of_accounts(GOOD, UNKNOWN),
        Rule::NO_KEY => lab.of_accounts(GOOD, KEYLESS),
        Rule::UNKNOWN_KEY_TYPE => lab.of_accounts(GOOD, STRANGE_KEY),
        Rule::TOMBSTONED => lab.of_accounts(HOMELESS, ENDED),
        Rule::BAD_SIGNATURE => {
            let right_curve = draft();
            let mut wrong_curve = draft();
            wrong_curve.sign(&Secret::new(Curve::P256, 1));
            lab.both(right_curve, wrong_curve)
        }
        Rule::HIGH_S => lab.draft_and(|draft| {
            let high = lab.secret.sign(&draft.object.unsigned(), true);
            draft.put_signature(&high);
        }),
        Rule::BAD_PATH => lab.draft_and(|draft| draft.ops[0].path = "app.bsky.feed.post".into()),
        Rule::DUPLICATE_PATH => lab.draft_and(|draft| draft.ops.push(draft.ops[0].clone())),
        Rule::BAD_OP => lab.draft_and(|draft| draft.ops[0].path.push('x')),
        Rule::BAD_NODE => signed(&|draft| {
            let node = forge::map(vec![("e", forge::array(&[])), ("l", forge::uint(1))]);
            draft.object.data = Cid::dag_cbor(&node);
            draft.blocks[1] = (draft.object.data, node);
        }),
        Rule::UNKNOWN_TYPE => {
            let fields = vec![("seq", forge::uint(1))];
            lab.both_bodies(draft().body(), forge::envelope("#handle", fields))
        }
        Rule::NO_ANSWER => {
            // Nobody listens there.
            let nobody =
                ["--resolve", "http://127.0.0.1:1", "--allow-private", "--patience", "1ms"];
            [GOOD, UNKNOWN].map(|who| lab.judge(&nobody, vec![event(lab.draft_of(who, 7))]))
        }
        Rule::WRONG_HOST => {
            let account = || In::Event(forge::account(&did(GOOD), 1, true));
            [OWN, OTHER].map(|host| lab.judge(&[], vec![(host, account())]))
        }
        Rule::HEARSAY => {
            let account = || vec![(RELAY, In::Event(forge::account(&did(GOOD), 1, true)))];
            [lab.judge(&["--trust-relay"], account()), lab.judge(&[], account())]
        }
        Rule::NO_PDS => [GOOD, HOMELESS].map(|who| {
            let identity = forge::unsigned("#identity", &did(who), 1);
            lab.judge(&[], vec![(OWN, In::Event(identity))])
        }),
        Rule::BAD_RECORD => {
            // It was signed as it is, in whatever order its fields are.
            let odd = b"\xa2ab\xf6aa\xf6";
            let of = |record: &[u8]| Draft::of_record(&did(GOOD), &lab.secret, 7, record.to_vec());
            lab.both(of(odd), of(&odd[..odd.len() - 1]))
        }
        Rule::BAD_INVERSION => {
            let prev = Some(Cid::dag_cbor(&[0xa2, 0x61, b'e', 0x80, 0x61, b'l', 0xf6]));
            let mut good = draft();
            (good.since, good.prev_data) = (Some(Tid::new(MADE_US, 0).to_string()), prev);
            let mut bad = good.clone();
            bad.prev_data = Some(other);
            lab.both(good, bad)
        }
        Rule::LEGACY => {
            let mut legacy = draft();
            legacy.since = Some(Tid::new(MADE_US, 0).to_string());
            let refuse = ["--legacy", "refuse"];
            [draft(), legacy].map(|draft| lab.judge(&refuse, vec![event(draft)]))
        }
        Rule::REPEAT => [after(vec![first.clone()]), after(vec![first.clone(), first])],
        Rule::STALE_REV => [after(vec![first.clone(), later.clone()]), after(vec![later, first])],
        Rule::INACTIVE => [true, false].map(|active| {
            let account = In::Event(forge::account(&did(GOOD), 1, active));
            lab.judge(&[], vec![(OWN, account), event(draft())])
        }),
        Rule::FOREIGN => {
            let refuse = ["--foreign", "refuse"];
            let body = || In::Event(draft().body());
            [OWN, OTHER].map(|host| lab.judge(&refuse, vec![(host, body())]))
        }
        // It needs a host that answers: see `heal`.
        Rule::GAP => return heal::gap_held(),
        Rule::BAD_REPO => {
            let draft = draft();
            let records = [(&*draft.ops[0].path, draft.ops[0].cid.unwrap())];
            let frames = [heal::repo(&draft, &records), heal::repo(&draft, &[])];
            frames.map(|frame| lab.judge(&[], vec![(OWN, In::Frame(frame))]))
        }
        _ => return None,
    })
}

/// Rules that leave an event unchecked: nobody could say, or it is no error.
const UNCHECKED: [Rule; 7] = [
    Rule::NO_IDENTITY,
    Rule::UNKNOWN_TYPE,
    Rule::NO_ANSWER,
    Rule::HEARSAY,
    Rule::REPEAT,
    Rule::INACTIVE,
    Rule::GAP,
];

#[test]
fn each_rule_lets_through_what_is_right_and_names_what_is_not() {
    let lab = Lab::new();
    for rule in Rule::ALL {
        let name = rule.name().unwrap();
        let [good, bad] = example(&lab, *rule).unwrap_or_else(|| panic!("{name} has no example"));
        println!("{name:18} {good:4} | {bad}");
        assert_eq!(good, "ok", "{name}");
        let status = if UNCHECKED.contains(rule) { "unchecked" } else { "refused" };
        assert_eq!(bad, format!("{status} {name}"));
    }
}

#[test]
fn what_the_rules_leave_alone_is_proved() {
    let lab = Lab::new();
    let judge = |change: &dyn Fn(&mut Draft)| lab.draft_and(|draft| change(draft))[1].clone();
    let spare = (Cid::dag_cbor(b"\xa0"), b"\xa0".to_vec());
    assert_eq!(judge(&|draft| draft.blocks.push(draft.blocks[1].clone())), "ok", "a block twice");
    assert_eq!(judge(&|draft| draft.blocks.push(spare.clone())), "ok", "nothing links to it");
    assert_eq!(judge(&|draft| draft.roots.push(spare.0)), "ok", "a second root");
    for (field, value) in [
        ("prev", vec![0xf6]),
        ("zzz", forge::text("unknown")),
        ("blobz", forge::array(&[forge::link(&spare.0)])),
    ] {
        assert_eq!(judge(&|draft| draft.extra = vec![(field, value.clone())]), "ok", "{field}");
    }
    // An update to what was there changes nothing, so nothing of it has to be sent but its record.
    let records: Records = [("com.example.it/a".to_owned(), b"\xa0".to_vec())].into();
    let mut same = Draft::between(&did(GOOD), &lab.secret, 7, &records, &records);
    let (path, cid) = ("com.example.it/a".to_owned(), Some(spare.0));
    same.ops = vec![Op { action: "update", path, cid, prev: cid }];
    same.blocks.push(spare);
    assert_eq!(lab.judge(&[], vec![event(same.clone())]), "ok");
    same.ops[0].prev = Some(Cid::dag_cbor(b"another"));
    assert_eq!(lab.judge(&[], vec![event(same)]), "refused bad-inversion");
}

/// A limit is on the bytes as they came, so nothing larger is taken in before it is refused.
#[test]
fn a_frame_that_is_far_too_large_is_refused_as_well() {
    let lab = Lab::new();
    let mut stream = Stream::of("pds.example");
    let header = frame::Header { host: HostId(1), ..frame::Header::new(Kind::EVENT, NOW_NS) };
    frame::put(&mut stream.bytes, &header, &vec![0xa0; frame::PAYLOAD_BYTES_MAX]).unwrap();
    let seen = harness::proved(&["--index", &lab.index, "--pass-all"], &stream.end());
    // It has no room for a verdict, so it has none, rather than one that it came with.
    assert!(seen.iter().all(|seen| !seen.is_ok()));
}
