//! did:web with `--resolve`: whose document it is, in which form, and what else a host can answer.

use crate::directory::{Directory, Reply};
use crate::forge::{Draft, Secret};
use crate::harness::{Seen, Stream, proved};
use keys::Curve;
use serde_json::json;

const PATH: &str = "/.well-known/did.json";

fn did(host: &Directory) -> String {
    format!("did:web:localhost%3A{}", host.port)
}

fn secret() -> Secret {
    Secret::new(Curve::K256, 1)
}

/// A document whose verification method is this.
fn document(did: &str, method: &serde_json::Value) -> Reply {
    let service = json!([{
        "id": "#atproto_pds",
        "type": "AtprotoPersonalDataServer",
        "serviceEndpoint": "https://pds.example",
    }]);
    let document = json!({ "id": did, "verificationMethod": [method], "service": service });
    Reply::Json(document.to_string())
}

fn multikey(id: &str, secret: &Secret) -> serde_json::Value {
    json!({ "id": id, "type": "Multikey", "publicKeyMultibase": secret.public().to_multibase() })
}

/// The verdicts, in their order, of events of accounts that are signed by one key.
fn verdicts(dids: &[&str], secret: &Secret, more: &[&str]) -> Vec<String> {
    let mut stream = Stream::of("pds.example");
    for (seq, did) in (1..).zip(dids) {
        stream.event(1, seq, &Draft::new(did, secret, seq).body());
    }
    let args = ["--resolve", "http://127.0.0.1:1", "--allow-private", "--pass-all"];
    let mut seen = proved(&[&args[..], &["--patience", "2s"], more].concat(), &stream.end());
    seen.sort_by_key(|seen| seen.seq);
    seen.iter().map(Seen::verdict).collect()
}

/// The verdict on an event of an account whose host answers so, and how often it was asked.
fn answered(make: impl Fn(&str) -> Vec<Reply>, more: &[&str]) -> (String, usize) {
    answered_to(&secret(), make, more)
}

fn answered_to(
    secret: &Secret,
    make: impl Fn(&str) -> Vec<Reply>,
    more: &[&str],
) -> (String, usize) {
    let host = Directory::start();
    let did = did(&host);
    host.answer(PATH, &make(&did));
    (verdicts(&[&did], secret, more).remove(0), host.count(PATH))
}

#[test]
fn a_key_is_taken_by_full_and_relative_ids_and_in_three_forms() {
    let p256 = Secret::new(Curve::P256, 1);
    let older = |secret: &Secret| {
        let (kind, text) = secret.older_method();
        json!({ "id": "#atproto", "type": kind, "publicKeyMultibase": text })
    };
    let ok = ("ok".to_owned(), 1);
    assert_eq!(answered(|did| vec![document(did, &multikey("#atproto", &secret()))], &[]), ok);
    let full = |did: &str| multikey(&format!("{did}#atproto"), &secret());
    assert_eq!(answered(|did| vec![document(did, &full(did))], &[]), ok);
    assert_eq!(answered(|did| vec![document(did, &older(&secret()))], &[]), ok);
    assert_eq!(answered_to(&p256, |did| vec![document(did, &older(&p256))], &[]), ok);
}

#[test]
fn only_the_present_key_counts_and_it_is_asked_for_once() {
    for keys in ["current", "history", "auto"] {
        let other = Secret::new(Curve::P256, 2);
        let make = |did: &str| vec![document(did, &multikey("#atproto", &other))];
        let expected = ("refused bad-signature".to_owned(), 1);
        assert_eq!(answered(make, &["--keys", keys]), expected, "{keys}");
    }
}

#[test]
fn no_such_page_is_an_answer() {
    for status in [404, 410] {
        let expected = ("refused no-identity".to_owned(), 1);
        assert_eq!(answered(|_| vec![Reply::Status(status)], &[]), expected, "{status}");
    }
    // Nor is a document that says that it is another's: the host speaks for itself.
    let others = |_: &str| vec![document("did:web:example.com", &multikey("#atproto", &secret()))];
    assert_eq!(answered(others, &[]), ("refused no-identity".to_owned(), 1));
}

#[test]
fn what_is_no_answer_decides_nothing() {
    let no_answer = "unchecked no-answer";
    for status in [403, 429, 500, 503] {
        let (verdict, asked) = answered(|_| vec![Reply::Status(status)], &[]);
        assert_eq!(verdict, no_answer, "{status}");
        assert!(asked > 1, "{status}: it is asked again");
    }
    let good = |did: &str| document(did, &multikey("#atproto", &secret()));
    let (verdict, asked) = answered(|did| vec![Reply::Status(503), good(did)], &[]);
    assert_eq!((verdict.as_str(), asked), ("ok", 2));
    // No document at all, one that does not say whose it is, one that is too long.
    for none in ["<html>", "{}", "[]"] {
        assert_eq!(answered(|_| vec![Reply::Json(none.into())], &[]).0, no_answer, "{none}");
    }
    let long = |did: &str| {
        let Reply::Json(document) = good(did) else { panic!("no document") };
        vec![Reply::Json(document + &" ".repeat(256 << 10))]
    };
    assert_eq!(answered(long, &[]).0, no_answer);
}

#[test]
fn redirects_are_followed_so_far() {
    let good = |did: &str| document(did, &multikey("#atproto", &secret()));
    let (verdict, asked) = answered(|did| vec![Reply::Redirect(PATH.into()), good(did)], &[]);
    assert_eq!((verdict.as_str(), asked), ("ok", 2));
    let (verdict, asked) = answered(|_| vec![Reply::Redirect(PATH.into())], &[]);
    assert_eq!((verdict.as_str(), asked), ("unchecked no-answer", 5), "not for ever");
    let (verdict, _) = answered(|_| vec![Reply::Redirect("file:///etc/passwd".into())], &[]);
    assert_eq!(verdict, "unchecked no-answer");
}

#[test]
fn a_did_web_is_a_host_and_nothing_else() {
    let host = Directory::start();
    let dids = [
        "did:web:localhost",
        "did:web:127.0.0.1",
        &format!("did:web:127.0.0.1%3A{}", host.port),
        &format!("did:web:localhost%3A{}:path", host.port),
        "did:web:a.example.com:path",
        "did:web:a.example.com%3A443",
        "did:web:a.example.com.",
        "did:web:printer.local",
    ];
    assert_eq!(verdicts(&dids, &secret(), &[]), ["refused no-identity"; 8]);
    assert!(host.asked().is_empty());
}

#[test]
fn local_names_are_those_of_test_networks_alone() {
    let host = Directory::start();
    let did = did(&host);
    host.answer(PATH, &[document(&did, &multikey("#atproto", &secret()))]);
    let mut stream = Stream::of("pds.example");
    stream.event(1, 1, &Draft::new(&did, &secret(), 1).body());
    let args = ["--resolve", "https://plc.example.com", "--pass-all"];
    assert_eq!(proved(&args, &stream.end())[0].verdict(), "refused no-identity");
    assert!(host.asked().is_empty());
}
