//! Handles and did:web, looked up in a network of real sockets: a name server, hosts with TLS, a
//! directory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod network;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use didindex::{Builder, Change, Cursor, Key, PlcDid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::network::{Network, Page, Records};

const KEY: &str = "zQ3shkKkAzEii6GqtYP66HNFFp9ZJSvtoNLbkyd696yaN5g9Q";

fn did(number: u8) -> String {
    PlcDid::from_bytes([number; 15]).to_string()
}

/// An index of accounts 1 and 2, each with a key and on a.example.
fn index() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let key = keys::PublicKey::from_multibase(KEY).unwrap();
    let key = Key::Known(key.to_bytes());
    let mut builder = Builder::create(&path, 2, false).unwrap();
    for number in [1, 2] {
        let change = Change { from_ms: 1_795_432_265_084, key, pds: Some("a.example") };
        builder.add(&PlcDid::from_bytes([number; 15]), &[change]).unwrap();
    }
    builder.finish(Cursor { created_ms: 1_795_432_265_084, operations: 2 }).unwrap();
    (folder, path)
}

fn run(network: &Network, names: &[&str]) -> Output {
    run_with(&network.args(), names)
}

fn run_with(args: &[String], names: &[&str]) -> Output {
    let (_folder, path) = index();
    let before = std::fs::read(&path).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_did-lookup"))
        .arg(&path)
        .args(args)
        .args(names)
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is added to the index");
    output
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The one line about one name, which is not verified for a reason with these words.
fn refused(network: &Network, name: &str, words: &[&str]) -> Value {
    let output = run(network, &[name]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("1 of 1 names could not be verified"), "{output:?}");
    let line = lines(&output).remove(0);
    assert_eq!(line["verified"], false, "{line}");
    let error = line["error"].as_str().unwrap();
    for word in words {
        assert!(error.contains(word), "{word}: {error}");
    }
    line
}

/// Accounts 1 (by a record) and 2 (by its host) are alice.test and bob.test.
fn network() -> Network {
    let network = Network::start();
    network.txt("alice.test", &["v=spf1 -all", &format!("did={}", did(1))]);
    network.well_known("bob.test", &format!("{}\n", did(2)));
    for (number, names) in [(1, r#"["at://alice.test"]"#), (2, r#"["https://b", "at://Bob.test"]"#)]
    {
        network.document(&did(number), names, "https://a.example", KEY);
    }
    network
}

#[test]
fn a_handle_is_verified_in_both_directions_by_either_way() {
    let network = network();
    let output = run(&network, &["alice.test", "@BOB.test", "at://alice.Test"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let key = format!("did:key:{KEY}");
    let line = |handle: &str, number: u8, how: &str| {
        json!({ "handle": handle, "did": did(number), "verified": true, "how": how,
            "status": "active", "key": key, "pds": "a.example",
            "history": [{ "from": null, "key": key }] })
    };
    let expected =
        [line("alice.test", 1, "dns"), line("bob.test", 2, "https"), line("alice.test", 1, "dns")];
    assert_eq!(lines(&output), expected);
    let text = String::from_utf8(output.stdout).unwrap();
    let start = format!("{{\"handle\":\"alice.test\",\"did\":\"{}\",\"verified\":true,", did(1));
    assert!(text.starts_with(&start), "fields come in their order: {text}");
    let asked = network.asked();
    assert!(asked.contains(&"_atproto.bob.test".into()), "both ways are asked: {asked:?}");
    assert!(asked.contains(&"alice.test/.well-known/atproto-did".into()), "{asked:?}");
}

#[test]
fn a_handle_that_its_account_does_not_know_is_not_verified() {
    let network = network();
    // Anyone can name somebody else's account.
    network.txt("other.test", &[&format!("did={}", did(1))]);
    let line = refused(&network, "other.test", &["is at://alice.test"]);
    assert_eq!((&line["did"], &line["how"]), (&json!(did(1)), &json!("dns")));
    assert_eq!(line["status"], "active", "what is known of that account is said");
    // Only the first handle counts.
    let both = r#"["at://alice.test", "at://carol.test"]"#;
    network.document(&did(2), both, "https://a.example", KEY);
    network.txt("carol.test", &[&format!("did={}", did(2))]);
    refused(&network, "carol.test", &["is at://alice.test"]);
    network.document(&did(2), "[]", "https://a.example", KEY);
    refused(&network, "carol.test", &["has no handle"]);
}

#[test]
fn name_servers_count_before_hosts_and_two_names_are_none() {
    let network = network();
    network.well_known("alice.test", &did(2));
    let output = run(&network, &["alice.test"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&output)[0]["did"], did(1));
    let said = format!("did-lookup: alice.test: its host names {}; {} counts\n", did(2), did(1));
    assert_eq!(stderr(&output), said);

    network.txt("alice.test", &[&format!("did={}", did(1)), &format!("did={}", did(2))]);
    let line = refused(&network, "alice.test", &["names both", &did(1), &did(2)]);
    assert_eq!((&line["did"], &line["how"]), (&Value::Null, &Value::Null));
    let same = format!("did={}", did(1));
    network.txt("alice.test", &[&same, &same]);
    assert!(run(&network, &["alice.test"]).status.success());

    // Where name servers fail the host is heard, and that is said.
    network.records("bob.test", Records::Failure);
    let output = run(&network, &["bob.test"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).contains("TXT _atproto.bob.test"), "{output:?}");
}

#[test]
fn what_a_host_answers_is_bounded_and_read_warily() {
    let network = network();
    let page = |page: Page| network.page("carol.test/.well-known/atproto-did", page);
    let cause = |words: &[&str]| drop(refused(&network, "carol.test", words));
    cause(&["no record with did=", "status 404"]);
    page(Page(200, None, b"<html>Hello</html>".to_vec()));
    cause(&["is no DID"]);
    page(Page(200, None, b"did:key:abc".to_vec()));
    cause(&["neither did:plc nor did:web"]);
    page(Page(200, None, vec![b'x'; 1 << 20]));
    cause(&["longer than 4096 bytes"]);
    page(Page(500, None, did(2).into()));
    cause(&["status 500"]);
    page(Page(302, Some("http://other.test/x".into()), Vec::new()));
    cause(&["redirected from https to http://other.test/x"]);
    page(Page(302, Some("/.well-known/atproto-did".into()), Vec::new()));
    cause(&["redirected more than"]);
    // Its certificate is for other names.
    refused(&network, "unnamed.test", &["unnamed.test", "tls"]);

    page(Page(302, Some("https://other.test/x".into()), Vec::new()));
    network.page("other.test/x", Page(200, None, did(2).into()));
    network.document(&did(2), r#"["at://carol.test"]"#, "https://a.example", KEY);
    assert!(run(&network, &["carol.test"]).status.success());
}

#[test]
fn silence_of_the_directory_verifies_nothing() {
    let network = network();
    network.page(&format!("/{}", did(1)), Page(503, None, Vec::new()));
    let line = refused(&network, "alice.test", &["status 503"]);
    assert_eq!((&line["did"], &line["status"]), (&json!(did(1)), &json!("active")));
    network.page(&format!("/{}", did(1)), Page(200, None, b"{}".to_vec()));
    refused(&network, "alice.test", &["not the document of this DID"]);
    network.page(&format!("/{}", did(1)), Page(410, None, Vec::new()));
    refused(&network, "alice.test", &["there is no did:plc:"]);
}

#[test]
fn an_account_that_the_index_lacks_is_unknown_however_well_it_is_named() {
    let network = network();
    network.txt("carol.test", &[&format!("did={}", did(9))]);
    network.document(&did(9), r#"["at://carol.test"]"#, "https://a.example", KEY);
    let output = run(&network, &["carol.test", &did(8), "other.test"]);
    assert_eq!(output.status.code(), Some(1));
    let line = json!({ "handle": "carol.test", "did": did(9), "verified": true, "how": "dns",
        "status": "unknown" });
    assert_eq!(lines(&output)[0], line);
    let said = stderr(&output);
    assert!(said.contains("2 of 3 DIDs are not in "), "{said}");
    assert!(said.contains("; 1 of 3 names could not be verified"), "{said}");
}

#[test]
fn a_did_web_is_asked_at_its_host() {
    let network = network();
    let did = "did:web:carol.test";
    network.document(did, r#"["at://carol.test"]"#, "https://PDS.example/", KEY);
    network.well_known("carol.test", did);
    let output = run(&network, &[did, "carol.test"]);
    assert!(output.status.success(), "{output:?}");
    let key = format!("did:key:{KEY}");
    let mut facts = json!({ "did": did, "status": "active", "key": key, "pds": "pds.example",
        "history": [{ "from": null, "key": key }] });
    assert_eq!(lines(&output)[0], facts);
    for (name, value) in
        [("handle", json!("carol.test")), ("verified", json!(true)), ("how", json!("https"))]
    {
        facts[name] = value;
    }
    assert_eq!(lines(&output)[1], facts);

    network.document(did, "[]", "https://a.example/path", KEY);
    assert_eq!(lines(&run(&network, &[did]))[0]["status"], "no-pds");
    network.document(
        did,
        "[]",
        "https://a.example",
        "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    );
    assert_eq!(lines(&run(&network, &[did]))[0]["status"], "unknown-key-type");

    let status = |did: &str| {
        let output = run(&network, &[did]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = lines(&output).remove(0);
        (line["status"].as_str().unwrap().to_owned(), line["error"].as_str().map(str::to_owned))
    };
    assert_eq!(status("did:web:other.test"), ("unknown".into(), None), "404 is an answer");
    network.document("did:web:bob.test", "[]", "https://a.example", KEY);
    network.page("bob.test/.well-known/did.json", Page(429, None, Vec::new()));
    let (said, error) = status("did:web:bob.test");
    assert_eq!(said, "no-answer");
    assert!(error.unwrap().contains("status 429"));
    for bad in ["did:web:carol.test:path", "did:web:carol.test%3A8443", "did:web:127.0.0.1"] {
        assert_eq!(status(bad), ("unknown".into(), None), "{bad}");
    }
}

#[test]
fn names_of_nobody_are_asked_of_nobody() {
    let network = network();
    for (name, words) in [("laptop.local", "no handle ends in .local"), ("a.onion", ".onion")] {
        refused(&network, name, &[words]);
    }
    let output = run(&network, &["nonsense"]);
    assert_eq!(output.status.code(), Some(1));
    let line = json!({ "did": "nonsense", "status": "unknown",
        "error": "neither a DID nor a handle" });
    assert_eq!(lines(&output), [line]);
    // In the public network .test is nobody's, and local addresses are not asked.
    let public: Vec<String> =
        network.args().into_iter().filter(|arg| arg != "--allow-private").collect();
    let output = run_with(&public, &["alice.test"]);
    assert!(lines(&output)[0]["error"].as_str().unwrap().contains("--allow-private"), "{output:?}");
    assert!(network.asked().is_empty(), "{:?}", network.asked());
}

#[test]
fn a_did_of_the_directory_opens_no_socket() {
    let network = network();
    assert!(run(&network, &[&did(1)]).status.success());
    assert!(network.asked().is_empty());
}
