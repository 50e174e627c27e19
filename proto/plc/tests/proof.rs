//! Each rule of the directory, with operations that keep it and operations that break it.
#![allow(clippy::unwrap_used)]

mod account;

use std::{fs, path::Path};

use account::*;
use plc::proof::{Entry, Proof, Prover};
use proptest::prelude::*;
use serde_json::{Value, json};

fn prove(log: &[Value]) -> Proof {
    let lines: Vec<String> = log.iter().map(Value::to_string).collect();
    let entries: Vec<_> = lines.iter().map(|line| Entry::parse(line.as_bytes()).unwrap()).collect();
    let proof = Prover::new(64).prove(&entries[0].did, &entries);
    assert_eq!(proof.operations() + proof.repeated, entries.len());
    proof
}

fn faults(proof: &Proof) -> Vec<(usize, &'static str)> {
    proof.faults.iter().map(|(place, fault)| (*place, fault.rule())).collect()
}

fn notes(log: &[Value]) -> Vec<&'static str> {
    let proof = prove(log);
    assert_eq!(faults(&proof), []);
    proof.notes.iter().map(|(_, note)| note.rule()).collect()
}

#[track_caller]
fn holds(log: &[Value], valid: &[usize]) {
    let proof = prove(log);
    assert_eq!(faults(&proof), []);
    assert_eq!((&proof.valid[..], proof.before_fault), (valid, None));
}

/// The operation at this place, and no other, breaks this rule.
#[track_caller]
fn breaks(log: &[Value], place: usize, rule: &str) {
    let proof = prove(log);
    assert_eq!(faults(&proof), [(place, rule)]);
    assert!(proof.before_fault.is_some());
}

/// A log with something else in one of its lines.
fn with(mut log: Vec<Value>, place: usize, name: &str, value: impl Into<Value>) -> Vec<Value> {
    log[place][name] = value.into();
    log
}

fn both_curves() -> [Key; 2] {
    [Key::k256(1), Key::p256(1)]
}

#[test]
fn a_chain_holds_on_both_curves() {
    for key in both_curves() {
        let first = genesis(&[&key], &key);
        let second = update(&first, &[&key], &key);
        let last = tombstone(&second, &key);
        holds(&log(&[&first, &second, &last]), &[0, 1, 2]);
    }
}

#[test]
fn a_create_is_signed_by_its_recovery_or_its_signing_key() {
    let [signing, recovery] = both_curves();
    for signer in [&signing, &recovery] {
        let first = create(&signing, &recovery, signer);
        for next in [&signing, &recovery] {
            let second = update(&first, &[next], next);
            holds(&log(&[&first, &second]), &[0, 1]);
        }
    }
    breaks(&log(&[&create(&signing, &recovery, &Key::k256(9))]), 0, "bad-signature");
    // The recovery key stands first: it nullifies what the signing key signed.
    let first = create(&signing, &recovery, &signing);
    let stolen = update(&first, &[&signing], &signing);
    let back = update(&first, &[&recovery], &recovery);
    holds(&log(&[&first, &stolen, &back]), &[0, 2]);
    breaks(&log(&[&first, &back, &stolen]), 2, "recovery-key-rank");
}

#[test]
fn a_create_only_begins() {
    let [a, b] = both_curves();
    let first = genesis(&[&a], &a);
    let mut second = create(&a, &b, &a);
    breaks(&log(&[&first, &second]), 1, "second-genesis");
    second["prev"] = cid(&first).into();
    breaks(&log(&[&first, &second]), 1, "schema");
}

#[test]
fn the_hash_of_the_first_operation_is_the_did() {
    let key = Key::k256(1);
    let (first, other) = (genesis(&[&key], &key), genesis(&[&key, &key], &key));
    let mut log = log(&[&first]);
    log[0]["operation"] = other.clone();
    log[0]["cid"] = cid(&other).into();
    breaks(&log, 0, "genesis-hash");
}

#[test]
fn a_name_is_the_hash_of_what_it_names() {
    let key = Key::k256(1);
    let first = genesis(&[&key], &key);
    let second = update(&first, &[&key], &key);
    let good = log(&[&first, &second]);
    breaks(&with(good.clone(), 1, "cid", cid(&first)), 1, "cid-mismatch");
    breaks(&with(good, 1, "cid", "bafy"), 1, "schema");
    // A forged line that takes a name does not make the true one disappear.
    let mut forged = log(&[&first, &second, &second]);
    forged[1]["operation"]["alsoKnownAs"] = json!(["at://other.example"]);
    let proof = prove(&forged);
    assert_eq!(faults(&proof), [(1, "cid-mismatch")]);
    assert_eq!((&proof.valid[..], proof.before_fault), (&[0, 2][..], Some(vec![0])));
}

#[test]
fn a_signature_is_by_a_key_that_may_sign() {
    for (key, other) in both_curves().into_iter().zip([Key::k256(2), Key::p256(2)]) {
        let first = genesis(&[&key], &key);
        breaks(&log(&[&genesis(&[&key], &other)]), 0, "bad-signature");
        breaks(&log(&[&first, &update(&first, &[&other], &other)]), 1, "bad-signature");
        // The keys of the operation before count, not the first one's.
        let second = update(&first, &[&other], &key);
        breaks(&log(&[&first, &second, &update(&second, &[&key], &key)]), 2, "bad-signature");
        holds(&log(&[&first, &second, &update(&second, &[&key], &other)]), &[0, 1, 2]);
        let mut changed = second.clone();
        changed["alsoKnownAs"] = json!([]);
        breaks(&log(&[&first, &changed]), 1, "bad-signature");
    }
    // The same number on the other curve is another key.
    let [k256, p256] = both_curves();
    let first = genesis(&[&k256], &k256);
    breaks(&log(&[&first, &update(&first, &[&k256], &p256)]), 1, "bad-signature");
}

#[test]
fn a_signature_has_one_form() {
    for key in both_curves() {
        let says = says(None, &[&key]);
        let [low, high] = key.signatures(&dag_cbor(&says));
        let good = base64(&low);
        holds(&log(&[&with_sig(says.clone(), &good)]), &[0]);
        let last = good.chars().last().unwrap();
        // 86 characters hold four bits more than 64 bytes.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let loose = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
        let der = [&[0x30, 68, 2, 32][..], &low[..32], &[2, 32], &low[32..]].concat();
        for (sig, rule) in [
            (base64(&high), "high-s"),
            (format!("{good}=="), "sig-encoding"),
            (format!("{good}\n"), "sig-encoding"),
            (format!("{}\n{}", &good[..40], &good[40..]), "sig-encoding"),
            (format!("{good} "), "sig-encoding"),
            (format!("{}{loose}", &good[..85]), "sig-encoding"),
            (good[..85].to_owned(), "sig-encoding"),
            (format!("{}+/", &good[..84]), "sig-encoding"),
            (good[..84].to_owned(), "sig-form"),
            (base64(&der), "sig-form"),
            (base64(&[0; 64]), "sig-form"),
            (base64(&[0xff; 64]), "sig-form"),
            (String::new(), "sig-form"),
        ] {
            breaks(&log(&[&with_sig(says.clone(), &sig)]), 0, rule);
        }
    }
}

#[test]
fn what_is_followed_is_there_and_counts() {
    let [a, b] = both_curves();
    let first = genesis(&[&a, &b], &a);
    let second = update(&first, &[&b], &b);
    let third = update(&second, &[&b], &b);
    let missing = log(&[&first, &third]);
    breaks(&missing, 1, "prev-missing");
    breaks(&log(&[&first, &second, &genesis(&[&a, &b], &b)]), 2, "second-genesis");
    // Its hash is another, so it could not begin the account either.
    let proof = prove(&[log(&[&genesis(&[&b], &b)]), log(&[&first])].concat());
    assert_eq!(faults(&proof), [(1, "other-did")]);
    let proof = prove(&with(log(&[&first, &second]), 0, "createdAt", "2024-03-09T00:00:00.000Z"));
    assert_eq!(faults(&proof), [(1, "prev-later")]);
    assert_eq!((proof.valid, proof.before_fault), (vec![0], Some(vec![])));
    // What follows what fails fails, and the rest is judged as if it had not been there.
    let bad = update(&first, &[&b], &Key::k256(9));
    let proof = prove(&log(&[&first, &bad, &update(&bad, &[&b], &b), &second]));
    assert_eq!(faults(&proof), [(1, "bad-signature"), (2, "prev-invalid")]);
    assert_eq!((proof.valid, proof.before_fault), (vec![0, 3], Some(vec![0])));
}

#[test]
fn a_stronger_key_nullifies_what_a_weaker_one_signed() {
    let (a, b, c) = (Key::k256(1), Key::p256(2), Key::k256(3));
    let first = genesis(&[&a, &b, &c], &b);
    let by = |key: &Key| update(&first, &[key], key);
    let (by_a, by_b, by_c) = (by(&a), by(&b), by(&c));
    let more = update(&by_c, &[&c], &c);
    holds(&log(&[&first, &by_c, &more, &by_b, &by_a]), &[0, 4]);
    assert_eq!(prove(&log(&[&first, &by_c, &more, &by_b, &by_a])).nullified, 3);
    breaks(&log(&[&first, &by_b, &by_c]), 2, "recovery-key-rank");
    breaks(&log(&[&first, &by_a, &by_b]), 2, "recovery-key-rank");
    breaks(&log(&[&first, &by_c, &by(&Key::k256(9))]), 2, "bad-signature");
    breaks(&log(&[&first, &by_a, &by(&Key::k256(9))]), 2, "bad-signature");
    // The same key is not stronger than itself, in another place of the list neither.
    let again = sign(says(Some(&first), &[&b, &c]), &b);
    breaks(&log(&[&first, &by_b, &again]), 2, "recovery-key-rank");
    let twice = genesis(&[&a, &b, &b], &b);
    let (one, two) = (update(&twice, &[&b], &b), update(&twice, &[&b, &b], &b));
    breaks(&log(&[&twice, &one, &two]), 2, "recovery-key-rank");
    // The keys that decide are those of the operation that both follow.
    let weaker = update(&by_c, &[&a], &a);
    breaks(&log(&[&first, &by_c, &weaker]), 2, "bad-signature");
}

#[test]
fn what_is_nullified_is_not_followed() {
    let [a, b] = both_curves();
    let first = genesis(&[&a, &b], &b);
    let gone = update(&first, &[&b], &b);
    let back = update(&first, &[&a], &a);
    breaks(&log(&[&first, &gone, &back, &update(&gone, &[&b], &b)]), 3, "prev-nullified");
    let next = update(&back, &[&a, &b], &a);
    holds(&log(&[&first, &gone, &back, &next]), &[0, 2, 3]);
}

#[test]
fn recovery_has_72_hours() {
    let [a, b] = both_curves();
    let first = genesis(&[&a, &b], &b);
    let stolen = update(&first, &[&b], &b);
    let back = update(&first, &[&a], &a);
    let at = |time: &str| with(log(&[&first, &stolen, &back]), 2, "createdAt", time);
    holds(&at("2024-03-04T01:00:00.000Z"), &[0, 2]);
    breaks(&at("2024-03-04T01:00:00.001Z"), 2, "recovery-too-late");
    // The first operation that it nullifies is the one that counts.
    let mut late = log(&[&first, &stolen, &update(&stolen, &[&b], &b), &back]);
    late[3]["createdAt"] = "2024-03-04T01:30:00.000Z".into();
    breaks(&late, 3, "recovery-too-late");
}

#[test]
fn a_tombstone_ends_an_account_unless_it_is_nullified() {
    let [a, b] = both_curves();
    let first = genesis(&[&a, &b], &b);
    let end = tombstone(&first, &b);
    holds(&log(&[&first, &end]), &[0, 1]);
    breaks(&log(&[&first, &end, &update(&end, &[&b], &b)]), 2, "after-tombstone");
    breaks(&log(&[&first, &end, &update(&end, &[&a], &a)]), 2, "after-tombstone");
    holds(&log(&[&first, &end, &update(&first, &[&a], &a)]), &[0, 2]);
    breaks(&log(&[&first, &end, &update(&first, &[&a], &b)]), 2, "recovery-key-rank");
    let headless = sign(json!({ "type": "plc_tombstone", "prev": null }), &a);
    breaks(&log(&[&headless]), 0, "schema");
}

#[test]
fn the_schema_is_exact() {
    let key = Key::k256(1);
    let log_of = |says: Value| log(&[&sign(says, &key)]);
    for (name, value) in [
        ("type", json!("plc_rename")),
        ("type", json!(1)),
        ("prev", json!("")),
        ("prev", json!("zdpu")),
        ("prev", json!(1)),
        ("rotationKeys", json!("did:key:z")),
        ("rotationKeys", json!([1])),
        ("rotationKeys", json!(null)),
        ("alsoKnownAs", json!({})),
        ("alsoKnownAs", json!([null])),
        ("verificationMethods", json!([])),
        ("verificationMethods", json!({ "atproto": 1 })),
        ("services", json!({ "atproto_pds": "https://pds.example" })),
        ("services", json!({ "atproto_pds": { "type": "x" } })),
        ("services", json!({ "atproto_pds": { "type": "x", "endpoint": "y", "more": 1 } })),
        ("handle", json!("a.example")),
        ("new", json!({ "a": [1, 1.5, true, null] })),
    ] {
        let mut says = says(None, &[&key]);
        says[name] = value;
        breaks(&log_of(says), 0, "schema");
    }
    for name in ["type", "prev", "rotationKeys", "alsoKnownAs", "verificationMethods", "services"] {
        let mut says = says(None, &[&key]);
        says.as_object_mut().unwrap().remove(name);
        breaks(&log_of(says), 0, "schema");
    }
    let unsigned = log(&[&says(None, &[&key])]);
    breaks(&unsigned, 0, "schema");
    breaks(&with(log_of(says(None, &[&key])), 0, "createdAt", "yesterday"), 0, "schema");
    let mut old = create(&key, &key, &key);
    old["services"] = json!({});
    breaks(&log(&[&old]), 0, "schema");
}

#[test]
fn every_text_is_hashed_as_it_is_written() {
    let key = Key::k256(1);
    let mut says = says(None, &[&key]);
    // Keys of a map go by length, then by bytes; lengths have heads of one to five bytes.
    says["verificationMethods"] = json!({
        "b": "x".repeat(23), "a": "x".repeat(24), "cc": "x".repeat(255), "bbb": "x".repeat(256),
        "\u{e9}": "x".repeat(70_000), "": "\"\\\u{1}\u{1f600}", "zz": "",
    });
    says["services"] = json!({
        "longer": { "endpoint": "\u{7f}", "type": "\u{fffd}" },
        "short": { "endpoint": "", "type": "" },
    });
    holds(&log(&[&sign(says, &key)]), &[0]);
}

#[test]
fn keys_that_cannot_be_read_sign_nothing() {
    let [a, b] = both_curves();
    let with_key = |first: &str| {
        let mut says = says(None, &[&a, &b]);
        says["rotationKeys"][0] = first.into();
        log(&[&sign(says, &b)])
    };
    let ed25519 = "did:key:z6Mkv27QFRPfbqu3SVsnuRVAP2cHfZTBy4ymcu7XYUjPfdUX";
    // x = 5 is no point of secp256k1.
    let mut point = [0; 33];
    (point[0], point[32]) = (2, 5);
    let nowhere = keys::PublicKey::from_compressed(keys::Curve::K256, &point).unwrap();
    for bad in [ed25519, "did:key:z", "", &nowhere.to_did_key()] {
        breaks(&with_key(bad), 0, "rotation-key");
    }
    // Behind the key that signed they are of no matter.
    let mut says = says(None, &[&a, &b]);
    says["rotationKeys"][1] = ed25519.into();
    assert_eq!(notes(&log(&[&sign(says, &a)])), ["rotation-key-form"]);
}

#[test]
fn without_rotation_keys_nothing_follows() {
    let key = Key::k256(1);
    let first = genesis(&[&key], &key);
    let last = update(&first, &[], &key);
    assert_eq!(notes(&log(&[&first, &last])), ["rotation-keys-empty"]);
    breaks(&log(&[&first, &last, &update(&last, &[&key], &key)]), 2, "no-rotation-key");
    breaks(&log(&[&genesis(&[], &key)]), 0, "no-rotation-key");
}

#[test]
fn what_new_servers_would_not_take_is_noted() {
    let key = Key::k256(1);
    let with = |name: &str, value: Value| {
        let mut says = says(None, &[&key]);
        says[name] = value;
        notes(&log(&[&sign(says, &key)]))
    };
    let names = |count: usize| (0..count).map(|at| format!("at://{at}")).collect::<Vec<_>>();
    let methods = |count: usize| {
        let entries = (0..count).map(|at| (at.to_string(), json!(Key::k256(7).did())));
        Value::Object(entries.collect())
    };
    let service = |name: String, kind: String, endpoint: String| json!({ name: { "type": kind, "endpoint": endpoint } });
    assert_eq!(with("alsoKnownAs", json!(names(10))), [""; 0]);
    assert_eq!(with("alsoKnownAs", json!(names(11))), ["limit-also-known-as"]);
    assert_eq!(with("alsoKnownAs", json!(["x", "x"])), ["limit-also-known-as"]);
    assert_eq!(with("alsoKnownAs", json!(["x".repeat(257)])), ["limit-also-known-as"]);
    assert_eq!(
        with("alsoKnownAs", json!(["x".repeat(4000)])),
        ["limit-bytes", "limit-also-known-as"]
    );
    assert_eq!(with("verificationMethods", methods(10)), [""; 0]);
    assert_eq!(with("verificationMethods", methods(11)), ["limit-verification-methods"]);
    assert_eq!(with("verificationMethods", json!({ "a": "b" })), ["verification-method-form"]);
    let x = |count: usize| "x".repeat(count);
    assert_eq!(with("services", service(x(32), x(256), x(512))), [""; 0]);
    for long in [(33, 1, 1), (1, 257, 1), (1, 1, 513)] {
        let services = service(x(long.0), x(long.1), x(long.2));
        assert_eq!(with("services", services), ["limit-services"]);
    }
    let keys: Vec<String> = (1..8).map(|seed| Key::k256(seed).did()).collect();
    assert_eq!(with("rotationKeys", json!(keys)), ["limit-rotation-keys"]);
    assert_eq!(with("rotationKeys", json!([keys[0], keys[0]])), ["rotation-keys-repeated"]);
}

#[test]
fn more_operations_than_a_server_takes_in_a_while_are_noted() {
    let key = Key::k256(1);
    let mut operations = vec![genesis(&[&key], &key)];
    while operations.len() < 12 {
        operations.push(update(&operations[operations.len() - 1], &[&key], &key));
    }
    let mut log = log(&operations.iter().collect::<Vec<_>>());
    for (at, line) in log.iter_mut().enumerate() {
        line["createdAt"] = format!("2024-03-01T00:{at:02}:00.000Z").into();
    }
    assert_eq!(notes(&log), ["limit-rate"; 2]);
    log[11]["createdAt"] = "2024-03-01T01:01:00.000Z".into();
    assert_eq!(notes(&log), ["limit-rate"]);
}

#[test]
fn order_and_repeats_change_nothing() {
    let [a, b] = both_curves();
    let first = genesis(&[&a, &b], &b);
    let (stolen, back) = (update(&first, &[&b], &b), update(&first, &[&a], &a));
    let good = log(&[&first, &stolen, &back]);
    let reversed: Vec<Value> = good.iter().rev().cloned().collect();
    holds(&reversed, &[2, 0]);
    let twice = prove(&[good.clone(), good.clone()].concat());
    assert_eq!((&twice.valid[..], twice.repeated), (&[0, 2][..], 3));
    // In one millisecond no operation is judged before the one that it follows.
    let mut at_once = reversed;
    for line in &mut at_once {
        line["createdAt"] = "2024-03-01T00:00:00.000Z".into();
    }
    let proof = prove(&at_once);
    assert_eq!(faults(&proof), [(1, "recovery-key-rank")]);
    at_once.swap(0, 1);
    holds(&at_once, &[2, 1]);
    // A failing line that comes twice fails once.
    let mut bad = log(&[&first, &stolen, &stolen]);
    for line in &mut bad[1..] {
        line["operation"]["new"] = 1.into();
    }
    bad[2]["createdAt"] = bad[1]["createdAt"].clone();
    let proof = prove(&bad);
    assert_eq!((faults(&proof), proof.repeated), (vec![(1, "schema")], 1));
}

fn folder(name: &str) -> Vec<(String, Vec<u8>)> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vectors/plc");
    let Ok(files) = fs::read_dir(vectors.join(name)) else { return Vec::new() };
    let read = |path: std::path::PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
    files.map(|file| read(file.unwrap().path())).collect()
}

fn rules(log: &[u8]) -> Vec<&'static str> {
    let entries: Vec<_> = Entry::parse_log(log).unwrap().into_iter().map(Result::unwrap).collect();
    let proof = Prover::new(64).prove(&entries[0].did, &entries);
    // Where all hold, the directory's own word on what counts is that of the proof.
    if proof.faults.is_empty() {
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.nullified, Some(!proof.valid.contains(&at)));
        }
    }
    proof.faults.iter().map(|(_, fault)| fault.rule()).collect()
}

#[test]
fn the_official_logs_come_out_as_their_folders_say() {
    for (path, log) in folder("valid") {
        assert_eq!(rules(&log), [""; 0], "{path}");
    }
    for (path, log) in folder("invalid") {
        let rule = match path.rsplit('/').next().unwrap() {
            name if name.contains("reused_key") => "recovery-key-rank",
            name if name.contains("too_slow") => "recovery-too-late",
            name if name.contains("b64") => "sig-encoding",
            name if name.contains("high_s") => "high-s",
            // Its DER has 64 bytes, as if it were of the compact form.
            name if name.contains("sig_der") => "bad-signature",
            name if name.contains("update_nullified") => "prev-nullified",
            name if name.contains("update_tombstoned") => "after-tombstone",
            _ => continue,
        };
        assert_eq!(rules(&log), [rule], "{path}");
    }
}

#[test]
fn the_recorded_directory_is_proved() {
    let export = include_str!("../../../tests/fixtures/refnet/plc-export.jsonl");
    let mut lines: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["did"].as_str().unwrap().to_owned());
    for account in lines.chunk_by(|a, b| a["did"] == b["did"]) {
        let all: Vec<usize> = (0..account.len()).collect();
        holds(account, &all);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged(data: Vec<u8>) {
        plc::proof::fuzz_proof(&data);
    }

    /// No change to a line of a proved log goes unseen.
    #[test]
    fn any_damage_is_found(at in any::<prop::sample::Index>(), byte in 0x20..0x7fu8) {
        let [a, b] = both_curves();
        let first = genesis(&[&a, &b], &b);
        let good = log(&[&first, &update(&first, &[&b], &b)]);
        let line = good[1]["operation"].to_string();
        let mut damaged = line.clone().into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let text = String::from_utf8(damaged).unwrap();
        if let Ok(operation) = serde_json::from_str::<Value>(&text) {
            let same = operation == good[1]["operation"];
            let log = with(good, 1, "operation", operation);
            prop_assert_eq!(prove(&log).faults.is_empty(), same);
            plc::proof::fuzz_proof(log[1].to_string().as_bytes());
        }
    }
}
