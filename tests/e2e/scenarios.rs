//! Scenarios for a relay, as its authors test it: accounts, messages, and which of them a relay
//! drops. A host sends them over a real WebSocket, through `pds-tap` and `sig-verify`.
//!
//! The folder is `RELAY_SCENARIOS`, or the one beside the repository if it is there. A message that
//! is to go through has to be `ok`; one that is to be dropped must not come out. Where a scenario
//! says `invalid` and lets the message through all the same, we may be stricter, and say so.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use data_encoding::BASE64_NOPAD;
use e2e::Chain;
use frame::verdict::{self, Rule, Status};
use frame::{Decoder, Item, Kind};
use ipld_core::ipld::Ipld;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::text;

/// One message of a scenario.
struct Sent {
    name: String,
    event: Vec<u8>,
    drop: bool,
    invalid: bool,
}

/// JSON with `$bytes` and `$link`, as it stands in the data model.
fn ipld(value: &Value) -> Ipld {
    match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(value) => match value.as_i64() {
            Some(value) => Ipld::Integer(value.into()),
            None => Ipld::Float(value.as_f64().unwrap()),
        },
        Value::String(value) => Ipld::String(value.clone()),
        Value::Array(values) => Ipld::List(values.iter().map(ipld).collect()),
        Value::Object(fields) => {
            match (fields.len(), &fields.get("$bytes"), &fields.get("$link")) {
                (1, Some(Value::String(bytes)), _) => {
                    let bytes = bytes.trim_end_matches('=').as_bytes();
                    Ipld::Bytes(BASE64_NOPAD.decode(bytes).unwrap())
                }
                (1, _, Some(Value::String(link))) => Ipld::Link(link.parse().unwrap()),
                _ => Ipld::Map(
                    fields.iter().map(|(name, value)| (name.clone(), ipld(value))).collect(),
                ),
            }
        }
    }
}

fn messages(scenario: &Value) -> Vec<Sent> {
    let messages = scenario["messages"].as_array().unwrap().iter();
    messages
        .map(|message| {
            let frame = &message["frame"];
            let part = |name: &str| serde_ipld_dagcbor::to_vec(&ipld(&frame[name])).unwrap();
            let is = |name: &str| message[name].as_bool().unwrap_or(false);
            Sent {
                name: frame["header"]["t"].as_str().unwrap_or("error").to_owned(),
                event: [part("header"), part("body")].concat(),
                drop: is("drop"),
                invalid: is("invalid"),
            }
        })
        .collect()
}

/// A directory's export in which all the accounts live at this host.
fn export(scenario: &Value, host: &str) -> String {
    let accounts = scenario["accounts"].as_array().unwrap().iter();
    let lines = accounts.map(|account| {
        let identity = &account["identity"];
        let key = identity["keys"]["atproto"]["publicKeyMultibase"].as_str().unwrap();
        let operation = json!({
            "type": "plc_operation",
            "verificationMethods": { "atproto": format!("did:key:{key}") },
            "rotationKeys": [],
            "alsoKnownAs": [],
            "services": { "atproto_pds": {
                "type": "AtprotoPersonalDataServer", "endpoint": format!("http://{host}"),
            }},
            "prev": null,
            "sig": "x",
        });
        let line = json!({
            "did": identity["did"], "operation": operation,
            "cid": "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
            "nullified": false, "createdAt": "2023-01-01T00:00:00.000Z",
        });
        format!("{line}\n")
    });
    lines.collect()
}

/// A host that sends these messages to whoever subscribes.
fn host(events: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            // Whatever else is asked of it over HTTP, it does not know.
            let Ok(mut socket) = tungstenite::accept(socket) else { continue };
            for event in &events {
                let _ = socket.write(Message::binary(event.clone()));
            }
            let _ = socket.flush();
            while socket.read().is_ok() {}
        }
    });
    name
}

/// What came of each event, by its bytes: events that `pds-tap` dropped are not there.
fn judged(stream: &[u8]) -> BTreeMap<Vec<u8>, VecDeque<(bool, String)>> {
    let (mut decoder, mut rest, mut judged) =
        (Decoder::default(), stream, BTreeMap::<_, VecDeque<_>>::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        if frame.header.kind != Kind::EVENT {
            continue;
        }
        let verdict = verdict::read(&frame).unwrap().expect("a verdict");
        let passed = verdict.status == Status::Ok || verdict.rule == Some(Rule::UNKNOWN_TYPE);
        let rule = verdict.rule.map_or(String::new(), |rule| format!(" {rule}"));
        let notes = verdict::notes::NAMES.iter().filter(|(bit, _)| verdict.notes & bit != 0);
        let notes: String = notes.map(|(_, name)| format!(" ({name})")).collect();
        let outcome = format!("{}{rule}{notes}", verdict.status.name());
        judged.entry(frame.body().to_vec()).or_default().push_back((passed, outcome));
    }
    judged
}

/// Runs one scenario; gives what went otherwise than it says.
fn run(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_string_lossy();
    let scenario: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let sent = messages(&scenario);
    let host = host(sent.iter().map(|message| message.event.clone()).collect());
    let folder = tempfile::tempdir().unwrap();
    let (lines, index) = (folder.path().join("ops.jsonl"), folder.path().join("did.idx"));
    std::fs::write(&lines, export(&scenario, &host)).unwrap();
    let build = ["--ops", text(&lines), "--out", text(&index)];
    Chain::new().stage("index-build", &build).succeed();
    let url = format!("ws://{host}");
    let tap = ["--host", &url, "--cursor", "0", "--until-idle", "2", "--allow-private"];
    let legacy = if scenario["lenient"] == true { "pass" } else { "refuse" };
    let verify = ["--index", text(&index), "--legacy", legacy, "--pass-all"];
    let mut judged =
        judged(&Chain::new().stage("pds-tap", &tap).stage("sig-verify", &verify).succeed());
    let mut wrong = Vec::new();
    for (at, Sent { name: kind, event, drop, invalid }) in sent.iter().enumerate() {
        let outcome = judged.get_mut(event).and_then(VecDeque::pop_front);
        let (passed, outcome) = outcome.unwrap_or((false, "dropped seq-order".to_owned()));
        let remark = match (passed, *drop) {
            (true, false) | (false, true) => "",
            (false, false) if *invalid => " [stricter: the scenario lets it through as invalid]",
            _ => " [NOT AS EXPECTED]",
        };
        println!("{name} {at} {kind}: {outcome}{remark}");
        if remark.contains("NOT") {
            wrong.push(format!("{name} {at} {kind}: {outcome}, to be dropped: {drop}"));
        }
    }
    println!("{name}: {}", if wrong.is_empty() { "as expected" } else { "FAILED" });
    wrong
}

/// The folder of the scenarios, if there is one.
fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    match std::env::var_os("RELAY_SCENARIOS") {
        // A test runs in its package's folder, and people name folders from the top.
        Some(named) => Some(root.join(named)),
        None => Some(root.join("../shared/data/vectors/relay")).filter(|path| path.is_dir()),
    }
}

#[test]
fn relay_scenarios() {
    let Some(folder) = folder() else {
        println!("no folder of scenarios here; name one by RELAY_SCENARIOS");
        return;
    };
    let entries = std::fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(!paths.is_empty(), "no scenario in {}", folder.display());
    let wrong: Vec<String> = paths.iter().flat_map(|path| run(path)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
