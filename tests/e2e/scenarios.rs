//! Scenarios for a relay, as its authors test it: accounts, messages, and which of them a relay
//! drops. A host sends them over a real WebSocket, through `pds-tap` and `sig-verify`.
//!
//! The folder (or one file) is `RELAY_SCENARIOS`, or the one beside the repository if it is there. A
//! message that is to go through has to be `ok`; one that is to be dropped must not come out. Where
//! we are stricter, or pass what that relay drops, it is on purpose, and the reason is printed with
//! the message ([`reason`] has all of them); anything else fails, and so does a file that cannot be
//! read as a scenario.

mod format;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use e2e::Chain;
use frame::verdict::{self, Rule, Status};
use frame::{Decoder, Item, Kind};
use serde_json::Value;
use tungstenite::Message as Sent;

use self::format::{Message, Scenario};
use crate::text;

/// What came of a message.
#[derive(Debug, Clone)]
struct Outcome {
    passed: bool,
    rule: Option<Rule>,
    said: String,
}

/// A host that sends these messages to whoever subscribes. Behind an error it hangs up, and who comes
/// again gets what is behind that.
fn host(messages: &[Message]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let parts = messages.split_inclusive(|message| message.kind == "error");
    let parts: Vec<Vec<Vec<u8>>> =
        parts.map(|part| part.iter().map(|message| message.bytes.clone()).collect()).collect();
    std::thread::spawn(move || {
        let mut parts = parts.into_iter();
        for socket in listener.incoming().map_while(Result::ok) {
            // Whatever else is asked of it over HTTP, it does not know.
            let Ok(mut socket) = tungstenite::accept(socket) else { continue };
            for event in parts.next().into_iter().flatten() {
                let _ = socket.write(Sent::binary(event));
            }
            let _ = socket.flush();
            std::thread::spawn(move || while socket.read().is_ok() {});
        }
    });
    name
}

/// What came of each event, by its bytes: events that `pds-tap` dropped are not there.
fn judged(stream: &[u8]) -> BTreeMap<Vec<u8>, VecDeque<Outcome>> {
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
        let said = format!("{}{rule}{notes}", verdict.status.name());
        let outcome = Outcome { passed, rule: verdict.rule, said };
        judged.entry(frame.body().to_vec()).or_default().push_back(outcome);
    }
    judged
}

/// Why we say something else about a message than the scenario does, where that is on purpose.
fn reason(scenario: &Scenario, message: &Message, outcome: &Outcome) -> Option<&'static str> {
    if !outcome.passed {
        return match outcome.rule {
            _ if message.invalid => {
                Some("stricter: it breaks a rule, and what does is never passed on")
            }
            Some(Rule::NO_IDENTITY) if !scenario.knows(&message.did) => {
                Some("stricter: no key is known that could prove it")
            }
            Some(Rule::STALE_REV) if message.kind == "#sync" => {
                Some("stricter: a #sync does not take an account back")
            }
            _ => None,
        };
    }
    let is_first = message.body["since"].is_null() && message.body["prevData"].is_null();
    match &*message.kind {
        "#commit" if message.says("tooBig") || message.says("rebase") => {
            Some("it is proved, and tooBig and rebase decide nothing")
        }
        "#commit" if is_first => Some("it is proved, and nothing is before a first commit"),
        "#commit" if !is_time(&message.body["time"]) => {
            Some("it is proved, and its time decides nothing")
        }
        _ => None,
    }
}

/// Whether this looks like a time.
fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() >= 20 && text.as_bytes()[10] == b'T')
}

/// Plays a scenario; what came of each message.
fn play(scenario: &Scenario) -> Vec<Outcome> {
    let host = host(&scenario.messages);
    let folder = tempfile::tempdir().unwrap();
    let (lines, index) = (folder.path().join("ops.jsonl"), folder.path().join("did.idx"));
    std::fs::write(&lines, scenario.export(&host)).unwrap();
    let build = ["--ops", text(&lines), "--out", text(&index)];
    Chain::new().stage("index-build", &build).succeed();
    let url = format!("ws://{host}");
    let tap = ["--host", &url, "--cursor", "0", "--until-idle", "2", "--allow-private"];
    let legacy = if scenario.lenient { "pass" } else { "refuse" };
    let verify = ["--index", text(&index), "--legacy", legacy, "--pass-all"];
    let mut judged =
        judged(&Chain::new().stage("pds-tap", &tap).stage("sig-verify", &verify).succeed());
    let outcomes = scenario.messages.iter().map(|message| {
        let outcome = judged.get_mut(&message.bytes).and_then(VecDeque::pop_front);
        let dropped = if message.kind == "error" { "an error" } else { "dropped seq-order" };
        let dropped = Outcome { passed: false, rule: None, said: dropped.to_owned() };
        outcome.unwrap_or(dropped)
    });
    outcomes.collect()
}

/// Whether each message changed what is known of its account's activity, as its authors count it.
fn updates(scenario: &Scenario, outcomes: &[Outcome]) -> Vec<bool> {
    let mut known = BTreeMap::new();
    let messages = scenario.messages.iter().zip(outcomes);
    let changes = messages.map(|(message, outcome)| {
        let status = match message.body["status"].as_str() {
            _ if message.says("active") => "active",
            status => status.unwrap_or("inactive"),
        };
        let is_status = message.kind == "#account" && outcome.passed;
        is_status && known.insert(&message.did, status).unwrap_or("active") != status
    });
    changes.collect()
}

/// Runs one scenario; gives what went otherwise than it says.
fn run(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_string_lossy();
    let scenario = match Scenario::read(&std::fs::read(path).unwrap()) {
        Ok(scenario) => scenario,
        Err(error) => {
            println!("{name}: FAILED: {error}");
            return vec![format!("{name}: {error}")];
        }
    };
    for field in &scenario.unknown {
        println!("{name}: {field} says nothing to this test");
    }
    let outcomes = play(&scenario);
    let (mut wrong, mut others) = (Vec::new(), 0);
    for (at, (message, outcome)) in scenario.messages.iter().zip(&outcomes).enumerate() {
        let (kind, said) = (&message.kind, &outcome.said);
        let why = reason(&scenario, message, outcome);
        let remark = match why {
            _ if outcome.passed != message.drop => String::new(),
            Some(why) => format!(" [{why}]"),
            None => " [NOT AS EXPECTED]".to_owned(),
        };
        others += usize::from(!remark.is_empty());
        println!("{name} {at} {kind}: {said}{remark}");
        if outcome.passed == message.drop && why.is_none() {
            wrong.push(format!("{name} {at} {kind}: {said}, to be dropped: {}", message.drop));
        }
    }
    let updates = updates(&scenario, &outcomes).into_iter().zip(&scenario.messages);
    for (at, (updated, message)) in updates.enumerate() {
        // Of other messages nobody says what is updated.
        if message.kind == "#account" && updated != message.update {
            let said = format!("its account's state changed: {updated}, not {}", message.update);
            println!("{name} {at} #account: {said}");
            if message.update {
                wrong.push(format!("{name} {at} #account: {said}"));
            }
        }
    }
    match (wrong.len(), others) {
        (0, 0) => println!("{name}: as expected"),
        (0, others) => println!("{name}: as expected, but for {others} on purpose"),
        _ => println!("{name}: FAILED"),
    }
    wrong
}

/// The folder beside the repository, where it is.
fn beside() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Some(root.join("../shared/data/vectors/relay")).filter(|path| path.is_dir())
}

/// The files that are to be played, if there are any.
fn files() -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = match std::env::var_os("RELAY_SCENARIOS") {
        // A test runs in its package's folder, and people name folders from the top.
        Some(named) => root.join(named),
        None => beside()?,
    };
    if folder.is_file() {
        return Some(vec![folder]);
    }
    let entries = std::fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        if !is_json {
            println!("{}: passed over, not a .json file", path.display());
        }
        is_json
    });
    assert!(!paths.is_empty(), "no scenario in {}", folder.display());
    Some(paths)
}

#[test]
fn relay_scenarios() {
    let Some(paths) = files() else {
        println!("no folder of scenarios here; name one by RELAY_SCENARIOS");
        return;
    };
    let wrong: Vec<String> = paths.iter().flat_map(|path| run(path)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The scenarios with one thing changed, as their authors do: what was right is wrong then.
#[test]
fn scenarios_that_are_changed_come_out_otherwise() {
    let Some(folder) = beside() else { return };
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let play = |value: &Value| -> Vec<String> {
        let scenario = Scenario::read(&serde_json::to_vec(value).unwrap()).unwrap();
        play(&scenario).into_iter().map(|outcome| outcome.said).collect()
    };
    let mut other_key = read("legacy.json");
    let account = &mut other_key["accounts"][0]["identity"];
    account["keys"]["atproto"]["publicKeyMultibase"] =
        "zQ3shbzd9YoCFQrzfdw2AGpxUHTjUhh69MXRh7hHBavx9wQon".into();
    assert_eq!(play(&other_key), ["ok", "ok", "refused bad-signature (legacy) (first)"]);
    let mut strict = read("legacy.json");
    strict["lenient"] = false.into();
    assert_eq!(play(&strict), ["ok", "ok", "refused legacy"]);
    // Names in another case, fields that are left out, an account without a key, and an error, behind
    // which the host is connected to again.
    let mut short = read("legacy.json");
    short["Lenient"] = short["lenient"].take();
    short.as_object_mut().unwrap().remove("lenient");
    let messages = short["messages"].as_array_mut().unwrap();
    for message in messages.iter_mut() {
        for field in ["time", "blobs", "rebase", "tooBig"] {
            message["frame"]["body"].as_object_mut().unwrap().remove(field);
        }
    }
    let error = serde_json::json!({ "header": { "op": -1 }, "body": { "error": "Later" } });
    messages.insert(1, serde_json::json!({ "frame": error, "drop": true }));
    let said = play(&short);
    assert_eq!(said, ["ok", "an error", "ok", "ok (legacy) (first)"]);
    short["accounts"][0]["identity"]["keys"] = serde_json::json!({});
    assert_eq!(play(&short)[3], "refused no-key (legacy) (first)");
    for wrong in ["[]", "{\"accounts\":[],\"messages\":[]}", "no JSON"] {
        assert!(Scenario::read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
