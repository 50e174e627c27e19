//! Events damaged on purpose, each to be refused under the rule that names the damage.

use atproto::{Cid, Tid};
use frame::flags;
use frame::verdict::Status;
use keys::Curve;

use crate::forge::{self, Draft, MADE_US, Op, Secret};
use crate::harness::{self, NOW_NS, Seen, Stream};
use crate::index::{self, Account};

/// Two accounts of either curve, and an index of them.
struct Bench {
    _folder: tempfile::TempDir,
    index: String,
    secrets: [Secret; 2],
    dids: [String; 2],
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let secrets = [Secret::new(Curve::K256, 1), Secret::new(Curve::P256, 2)];
        let accounts = [1, 2].map(|n| Account::new(n, secrets[usize::from(n) - 1].public()));
        let index = index::build(folder.path(), &accounts);
        let index = harness::path(&index).to_owned();
        let dids = accounts.map(|account| account.did);
        Bench { _folder: folder, index, secrets, dids }
    }

    fn draft(&self, which: usize) -> Draft {
        Draft::new(&self.dids[which], &self.secrets[which], 7)
    }

    fn judge(&self, bodies: &[Vec<u8>]) -> Vec<Seen> {
        self.judge_with(&[], bodies)
    }

    fn judge_with(&self, options: &[&str], bodies: &[Vec<u8>]) -> Vec<Seen> {
        let mut stream = Stream::of("pds.example");
        for (seq, body) in (1..).zip(bodies) {
            stream.event(1, seq, body);
        }
        let options = [&["--index", &self.index, "--pass-all"], options].concat();
        let seen = harness::proved(&options, &stream.end());
        assert_eq!(seen.len(), bodies.len());
        seen
    }

    /// Damages one draft of each account, and expects this verdict of both.
    fn expect(&self, verdict: &str, damage: impl Fn(&mut Draft, &Secret)) {
        self.expect_with(&[], verdict, damage);
    }

    fn expect_with(&self, options: &[&str], verdict: &str, damage: impl Fn(&mut Draft, &Secret)) {
        let damaged = [0, 1].map(|which| {
            let mut draft = self.draft(which);
            damage(&mut draft, &self.secrets[which]);
            draft.body()
        });
        for seen in self.judge_with(options, &damaged) {
            assert_eq!(seen.verdict(), verdict);
        }
    }
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 1;
}

#[test]
fn undamaged_events_of_both_curves_hold() {
    let bench = Bench::new();
    bench.expect("ok", |_, _| {});
    bench.expect("ok", |draft, _| draft.seq = 99);
    let syncs = [0, 1].map(|n| Draft::sync(&bench.dids[n], &bench.secrets[n], 3).body());
    for (seen, secret) in bench.judge(&syncs).iter().zip(&bench.secrets) {
        assert_eq!(seen.verdict(), "ok");
        assert_eq!(seen.verdict.unwrap().key, Some(secret.public().to_bytes()));
    }
}

#[test]
fn a_damaged_signature_is_named_by_what_is_wrong_with_it() {
    let bench = Bench::new();
    let message = |draft: &Draft| draft.object.unsigned();
    bench.expect("refused bad-signature", |draft, secret| {
        let mut signature = secret.sign(&message(draft), false);
        flip(&mut signature, 9);
        draft.put_signature(&signature);
    });
    bench.expect("refused high-s", |draft, secret| {
        draft.put_signature(&secret.sign(&message(draft), true));
    });
    for length in [0, 63, 65, 71] {
        bench.expect("refused bad-signature", |draft, secret| {
            let mut signature = secret.sign(&message(draft), false);
            signature.resize(length, 0);
            draft.put_signature(&signature);
        });
    }
    // In place, without a new CID: the block is not what its CID says.
    bench.expect("refused bad-cid", |draft, _| flip(&mut draft.blocks[0].1, 80));
}

#[test]
fn another_accounts_key_or_commit_proves_nothing() {
    let bench = Bench::new();
    let stranger = Secret::new(Curve::K256, 3);
    bench.expect("refused bad-signature", |draft, _| draft.sign(&stranger));
    let mut sibling = bench.draft(0);
    sibling.sign(&bench.secrets[1]);
    assert_eq!(bench.judge(&[sibling.body()])[0].verdict(), "refused bad-signature");
    // The whole commit of one account in the envelope of the other.
    let mut wrapped = bench.draft(0);
    wrapped.did = bench.dids[1].clone();
    assert_eq!(bench.judge(&[wrapped.body()])[0].verdict(), "refused did-mismatch");
    bench.expect("refused rev-mismatch", |draft, _| {
        draft.rev = Tid::new(MADE_US + 8, 0).to_string();
    });
}

#[test]
fn a_damaged_block_does_not_hash_to_its_cid() {
    let bench = Bench::new();
    for block in 0..3 {
        bench.expect("refused bad-cid", |draft, _| flip(&mut draft.blocks[block].1, 20));
        bench.expect("refused bad-cid", |draft, _| {
            draft.blocks[block].0 = Cid::dag_cbor(b"another");
        });
    }
    // Also one that nothing links to; undamaged, it may be there, and twice.
    let extra = (Cid::dag_cbor(b"\xa0"), b"\xa0".to_vec());
    bench.expect("ok", |draft, _| draft.blocks.extend([extra.clone(), extra.clone()]));
    bench.expect("refused bad-cid", |draft, _| {
        draft.blocks.push((extra.0, b"\xa1".to_vec()));
    });
}

#[test]
fn a_car_that_is_none_or_begins_with_something_else_is_refused() {
    let bench = Bench::new();
    bench.expect("refused root-not-commit", |draft, _| draft.roots = vec![draft.blocks[1].0]);
    bench.expect("refused root-not-commit", |draft, _| draft.roots = Vec::new());
    bench.expect("refused root-not-commit", |draft, _| draft.commit = draft.blocks[1].0);
    bench.expect("refused missing-block", |draft, _| drop(draft.blocks.remove(0)));
    bench.expect("refused missing-block", |draft, _| drop(draft.blocks.remove(2)));
    bench.expect("refused missing-block", |draft, _| drop(draft.blocks.remove(1)));
    let mut cut = bench.draft(0);
    cut.blocks[2].1.truncate(4);
    assert_eq!(bench.judge(&[cut.body()])[0].verdict(), "refused bad-cid");
    let fields = vec![("seq", forge::uint(1)), ("did", forge::text(&bench.dids[0]))];
    let rest = vec![
        ("rev", forge::text(&cut.rev)),
        ("time", forge::text("")),
        ("blocks", forge::bytes(b"no car")),
    ];
    let none = forge::envelope("#sync", [fields, rest].concat());
    assert_eq!(bench.judge(&[none])[0].verdict(), "refused bad-car");
}

#[test]
fn a_commit_object_is_version_3_and_nothing_more() {
    let bench = Bench::new();
    bench.expect("refused bad-commit", |draft, secret| {
        draft.object.version = 2;
        draft.sign(secret);
    });
    bench.expect("refused bad-commit", |draft, secret| {
        draft.object.extra.push(("extra", forge::uint(1)));
        draft.sign(secret);
    });
    bench.expect("refused bad-commit", |draft, _| draft.put_commit(b"\xa0".to_vec()));
    // The same object with a length in longer form than it needs.
    bench.expect("refused bad-commit", |draft, _| {
        let block = draft.blocks[0].1.clone();
        let mut long = vec![0xb8, 6];
        long.extend_from_slice(&block[1..]);
        draft.put_commit(long);
    });
}

#[test]
fn names_and_revs_have_their_forms() {
    let bench = Bench::new();
    for did in ["did:plc:", "plc:abc", "did:PLC:abc", ""] {
        bench.expect("refused bad-did", |draft, _| draft.did = did.into());
        let body = forge::unsigned("#identity", did, 1);
        assert_eq!(bench.judge(&[body])[0].verdict(), "refused bad-did");
    }
    for rev in ["", "3jzfcijpj2z2", "zzzzzzzzzzzzz", "3JZFCIJPJ2Z2A"] {
        bench.expect("refused bad-rev", |draft, _| draft.rev = rev.into());
    }
    let now_us = NOW_NS / 1000;
    for (late_s, verdict) in [(299, "ok"), (301, "refused future-rev")] {
        bench.expect(verdict, |draft, secret| {
            draft.rev = Tid::new(now_us + late_s * 1_000_000, 0).to_string();
            draft.object.rev = draft.rev.clone();
            draft.sign(secret);
        });
    }
}

#[test]
fn ops_say_what_the_tree_says() {
    let bench = Bench::new();
    bench.expect("refused bad-op", |draft, _| draft.ops[0].path += "x");
    bench.expect("refused bad-op", |draft, _| draft.put_record(b"\xa0".to_vec()));
    bench.expect("refused bad-op", |draft, _| draft.ops[0].cid = None);
    bench.expect("refused bad-op", |draft, _| draft.ops[0].action = "upsert");
    bench.expect("refused bad-op", |draft, _| {
        draft.ops[0].action = "delete";
        draft.ops[0].cid = None;
    });
    bench.expect("refused bad-op", |draft, _| draft.ops[0].action = "delete");
    for path in ["", "app.bsky.feed.post", "app.bsky.feed.post/", "app.bsky.feed.post/a/b", "a/b"] {
        bench.expect("refused bad-path", |draft, _| draft.ops[0].path = path.into());
    }
    bench.expect("refused duplicate-path", |draft, _| draft.ops.push(draft.ops[0].clone()));
    // A delete of what was never there agrees with the tree, and not with the one before.
    let delete = |prev| {
        let path = "app.bsky.feed.post/3zzzzzzzzzzzz".to_owned();
        Op { action: "delete", path, cid: None, prev }
    };
    bench.expect("refused bad-inversion", |draft, _| draft.ops.push(delete(Some(draft.commit))));
    bench.expect("refused bad-inversion", |draft, _| draft.ops.clear());
    // Without what was before it, it is a commit of the old form.
    bench.expect("ok", |draft, _| draft.ops.push(delete(None)));
    bench.expect_with(&["--legacy", "refuse"], "refused legacy", |draft, _| {
        draft.ops.push(delete(None));
    });
    // Signed by the account, and still no tree.
    bench.expect("refused bad-node", |draft, secret| {
        let node = forge::map(vec![("e", forge::array(&[])), ("x", forge::uint(1))]);
        draft.object.data = Cid::dag_cbor(&node);
        draft.blocks[1] = (draft.object.data, node);
        draft.sign(secret);
    });
}

#[test]
fn limits_are_kept() {
    let bench = Bench::new();
    let filler = |bytes: usize| {
        let data = forge::bytes(&vec![0; bytes]);
        (Cid::dag_cbor(&data), data)
    };
    bench.expect("refused event-too-big", |draft, _| draft.blocks.push(filler(5_000_000)));
    bench.expect("refused blocks-too-big", |draft, _| draft.blocks.push(filler(2_000_000)));
    bench.expect("ok", |draft, _| draft.blocks.push(filler(1_990_000)));
    bench.expect("refused record-too-big", |draft, _| draft.put_record(filler(1_000_000).1));
    bench.expect("refused too-many-ops", |draft, _| {
        draft.ops = vec![draft.ops[0].clone(); 201];
    });
    let mut sync = Draft::sync(&bench.dids[0], &bench.secrets[0], 3);
    sync.blocks.push(filler(10_000));
    assert_eq!(bench.judge(&[sync.body()])[0].verdict(), "refused blocks-too-big");
}

#[test]
fn what_is_no_event_is_refused_and_what_is_unknown_passes_on() {
    let bench = Bench::new();
    let good = bench.draft(0).body();
    let mut bodies = vec![Vec::new(), vec![0xff; 40], good[..good.len() - 1].to_vec()];
    bodies.push([&good[..], &[0]].concat());
    for seen in bench.judge(&bodies) {
        assert_eq!(seen.verdict(), "refused bad-frame");
    }
    let unknown = forge::envelope("#handle", vec![("seq", forge::uint(4))]);
    let mut stream = Stream::of("pds.example");
    stream.event(1, 4, &unknown);
    let seen = harness::proved(&["--index", &bench.index], &stream.end());
    assert_eq!(seen[0].verdict(), "unchecked unknown-type");
}

#[test]
fn no_flipped_bit_of_an_event_leaves_it_proved_for_something_else() {
    let bench = Bench::new();
    let good = bench.draft(0).body();
    let mut bodies = Vec::new();
    for at in 0..good.len() {
        let mut body = good.clone();
        body[at] ^= 1 << (at % 8);
        bodies.push(body);
    }
    // `seq`, `time`, `since`, `blobs`, `rebase` and `tooBig` are nobody's signature's business.
    let place =
        |name: &[u8]| good.windows(name.len()).position(|window| window == name).expect("a field");
    // Of the envelope, `seq`, `time`, `blobs`, `since`, `rebase` and `tooBig` are nobody's
    // signature's business; they stand together, but for `seq`.
    let free = [
        place(b"cseq")..place(b"drepo"),
        place(b"dtime")..place(b"fblocks"),
        place(b"frebase")..good.len(),
    ];
    for (at, seen) in bench.judge(&bodies).iter().enumerate() {
        let is_free = free.iter().any(|span| span.contains(&at));
        assert!(is_free || !seen.is_ok(), "a flip at {at} is not noticed");
    }
}

#[test]
fn a_redacted_frame_may_lack_its_records() {
    let bench = Bench::new();
    let mut draft = bench.draft(0);
    draft.blocks.remove(2);
    let mut stream = Stream::of("pds.example");
    let header = frame::Header {
        host: frame::HostId(1),
        seq: 1,
        flags: flags::REDACTED,
        ..frame::Header::new(frame::Kind::EVENT, NOW_NS)
    };
    frame::put(&mut stream.bytes, &header, &draft.body()).unwrap();
    let seen = harness::proved(&["--index", &bench.index], &stream.end());
    assert_eq!(seen[0].verdict.unwrap().status, Status::Ok);
}

#[test]
fn a_verdict_that_comes_in_is_never_what_goes_out() {
    let bench = Bench::new();
    let forged = frame::verdict::Verdict::ok(Some([1; 34])).to_bytes();
    let room = frame::PAYLOAD_BYTES_MAX;
    // With room for another verdict, with room for one alone, and with none.
    for (bytes, verdict) in [(100, true), (room - 60, true), (room - 20, false)] {
        let header = frame::Header {
            host: frame::HostId(1),
            ..frame::Header::new(frame::Kind::EVENT, NOW_NS)
        };
        let mut plain = Vec::new();
        frame::put(&mut plain, &header, &vec![0xff; bytes]).unwrap();
        let mut decoder = frame::Decoder::default();
        decoder.next(&frame::MAGIC).unwrap();
        let (item, _) = decoder.next(&plain).unwrap().unwrap();
        let frame::Item::Frame(frame) = item else { panic!("a frame") };
        let mut stream = Stream::of("pds.example");
        if frame::put_with(&mut stream.bytes, &frame, frame::Tag::VERDICT, &forged).is_err() {
            stream.bytes.extend_from_slice(&plain);
        }
        let seen = harness::proved(&["--index", &bench.index, "--pass-all"], &stream.end());
        assert_eq!(seen[0].verdict.is_some(), verdict, "{bytes}");
        assert!(!seen[0].is_ok(), "{bytes}");
    }
}
