use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;
use ipld_core::ipld::Ipld;
use serde_json::Value;
use tungstenite::Message;

use crate::harness::{Sim, blocks, event, get, json_lines, link, subscribe, wait_until};
use crate::proof::{check, check_signature};

/// A network with a history in its directory, and nothing more to come.
fn settled(extra: &[&str]) -> Sim {
    let mix = "rotate=60,handle=30,remove=20,deactivate=20,activate=0,birth=0";
    let args = ["--accounts", "30", "--events", "700", "--backfill", "700", "--mix", mix];
    Sim::start(&[&args[..], extra].concat())
}

/// The whole export, page by page.
fn export(sim: &Sim, count: usize) -> Vec<Value> {
    let mut lines: Vec<Value> = Vec::new();
    loop {
        let after = lines.last().map(|line| line["createdAt"].as_str().unwrap());
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let page = get(sim.plc(), &format!("/export?count={count}{after}"));
        assert_eq!(page.status, 200);
        assert!(page.head.contains("content-type: application/jsonlines"));
        let page = json_lines(page.text());
        assert!(page.len() <= count.min(1000));
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
    }
}

#[test]
fn the_export_is_paged_by_time_and_its_operations_are_signed_chains() {
    let sim = settled(&[]);
    let lines = export(&sim, 7);
    assert!(lines.len() > 60, "{}", lines.len());
    assert_eq!(lines, export(&sim, 5000));
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    let mut tombstones = 0;
    for line in &lines {
        let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["cid", "createdAt", "did", "nullified", "operation"]);
        let operation = &line["operation"];
        let did = line["did"].as_str().unwrap();
        let before = last.insert(did.to_owned(), line.clone());
        assert_eq!(
            operation["prev"],
            before.as_ref().map_or(Value::Null, |line| line["cid"].clone())
        );
        // The keys that may sign: those of the operation before, or the first one's own.
        let allowed = &before.as_ref().unwrap_or(line)["operation"]["rotationKeys"];
        let mut unsigned = operation.clone();
        unsigned.as_object_mut().unwrap().remove("sig");
        let bytes = serde_ipld_dagcbor::to_vec(&unsigned).unwrap();
        let sig = BASE64URL_NOPAD.decode(operation["sig"].as_str().unwrap().as_bytes()).unwrap();
        let keys = allowed.as_array().unwrap().iter();
        let mut verdicts = keys.map(|key| check_signature(key.as_str().unwrap(), &bytes, &sig));
        assert!(verdicts.any(|verdict| verdict == "ok"), "{line}");
        tombstones += usize::from(operation["type"] == "plc_tombstone");
    }
    assert!(tombstones > 0);
    assert!(lines.iter().any(|line| !line["operation"]["prev"].is_null()));

    // What the other paths say of each DID agrees with the export.
    for (did, line) in &last {
        let audit = get(sim.plc(), &format!("/{did}/log/audit")).json();
        let own: Vec<&Value> = lines.iter().filter(|line| line["did"] == **did).collect();
        assert!(audit.as_array().unwrap().iter().eq(own));
        let (document, data) =
            (get(sim.plc(), &format!("/{did}")), get(sim.plc(), &format!("/{did}/data")));
        assert_eq!(get(sim.plc(), &format!("/{did}/log/last")).json(), line["operation"]);
        if line["operation"]["type"] == "plc_tombstone" {
            assert_eq!((document.status, data.status), (410, 410));
            continue;
        }
        assert_eq!((document.status, data.status), (200, 200));
        assert!(document.head.contains("content-type: application/did+ld+json"));
        let (document, data) = (document.json(), data.json());
        let key = line["operation"]["verificationMethods"]["atproto"].as_str().unwrap();
        let method = &document["verificationMethod"][0];
        assert_eq!(method["id"], format!("{did}#atproto"));
        assert_eq!(format!("did:key:{}", method["publicKeyMultibase"].as_str().unwrap()), key);
        assert_eq!(data["verificationMethods"]["atproto"], key);
        let endpoint = sim.host(0).replace("ws://", "http://");
        assert_eq!(document["service"][0]["serviceEndpoint"], endpoint);
    }
}

/// The export by number, page by page.
fn numbered(sim: &Sim, count: usize) -> Vec<Value> {
    let mut lines: Vec<Value> = Vec::new();
    loop {
        let after = lines.last().map_or(0, |line| line["seq"].as_u64().unwrap());
        let page = get(sim.plc(), &format!("/export?count={count}&after={after}"));
        let page = json_lines(page.text());
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
    }
}

/// The stream from a number on: so many operations, or as many as come before it is closed, and
/// the reason for that.
fn stream(sim: &Sim, cursor: &str, count: usize) -> (Vec<Value>, String) {
    let url = format!("{}/export/stream{cursor}", sim.plc().replace("http://", "ws://"));
    let tcp = std::net::TcpStream::connect(sim.plc().strip_prefix("http://").unwrap()).unwrap();
    let (mut socket, _) = tungstenite::client(url, tcp).unwrap();
    let mut lines = Vec::new();
    while lines.len() < count {
        match socket.read() {
            Ok(Message::Text(line)) => lines.push(serde_json::from_str(&line).unwrap()),
            Ok(Message::Close(Some(frame))) => return (lines, frame.reason.to_string()),
            Ok(_) => {}
            Err(_) => return (lines, "cut".into()),
        }
    }
    (lines, String::new())
}

#[test]
fn by_number_and_over_the_stream_the_same_operations_come_in_the_order_of_appearance() {
    let sim = settled(&["--plc-late", "0.2", "--plc-crowd", "4"]);
    let by_time = export(&sim, 500);
    let by_number = numbered(&sim, 7);
    assert_eq!(by_number, numbered(&sim, 1000));
    let keys: Vec<&str> = by_number[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["cid", "createdAt", "did", "operation", "seq", "type"]);
    let times = |lines: &[Value]| -> Vec<String> {
        lines.iter().map(|line| line["createdAt"].as_str().unwrap().to_owned()).collect()
    };
    assert!(times(&by_time).is_sorted() && !times(&by_number).is_sorted(), "some appear late");
    let distinct: BTreeSet<_> = times(&by_time).into_iter().collect();
    assert!(distinct.len() < by_time.len() * 2 / 3, "some share a time");
    let cids = |lines: &[Value]| -> BTreeSet<String> {
        lines.iter().map(|line| line["cid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(cids(&by_time), cids(&by_number));
    assert_eq!(by_time.len(), by_number.len());
    let seqs: Vec<u64> = by_number.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b));
    assert!(*seqs.last().unwrap() > seqs.len() as u64, "numbers have gaps");
    let (streamed, _) = stream(&sim, "?cursor=0", by_number.len());
    assert_eq!(streamed, by_number);
    let (streamed, _) = stream(&sim, &format!("?cursor={}", seqs[9]), 5);
    assert_eq!(streamed, by_number[10..15]);
    assert_eq!(stream(&sim, "?cursor=999999", 1).1, "FutureCursor");
    assert_eq!(get(sim.plc(), "/export/stream").status, 426);
}

#[test]
fn the_stream_reaches_back_over_its_window_and_can_be_cut() {
    let sim = settled(&["--plc-window", "20", "--drop-conn", "5"]);
    let lines = numbered(&sim, 1000);
    let seq = |back: usize| lines[lines.len() - back]["seq"].as_u64().unwrap();
    assert_eq!(stream(&sim, "?cursor=0", 1).1, "OutdatedCursor");
    assert_eq!(stream(&sim, &format!("?cursor={}", seq(22)), 1).1, "OutdatedCursor");
    let (streamed, end) = stream(&sim, &format!("?cursor={}", seq(21)), 20);
    assert_eq!((streamed.len(), &*end), (5, "cut"));
}

#[test]
fn an_old_directory_takes_numbers_for_years() {
    let sim = settled(&["--plc-old"]);
    let lines = export(&sim, 1000);
    let page = get(sim.plc(), "/export?count=3&after=0");
    assert_eq!(json_lines(page.text()), lines[..3]);
    assert_eq!(get(sim.plc(), "/export?after=5000").text(), "");
    assert_eq!(get(sim.plc(), "/export?after=77").status, 400);
    assert_eq!(get(sim.plc(), "/export/stream").status, 404);
}

#[test]
fn what_the_stronger_key_takes_back_is_nullified() {
    let mix = "rotate=60,handle=30,remove=5,recover=40,birth=0";
    let args = ["--accounts", "10", "--events", "900", "--backfill", "900", "--mix", mix];
    let args = [&args[..], &["--plc-late", "0.3"]].concat();
    let sim = Sim::start(&args);
    let lines = export(&sim, 1000);
    let mut accounts: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for line in &lines {
        accounts.entry(line["did"].as_str().unwrap().to_owned()).or_default().push(line);
    }
    let (mut nullified, mut forks) = (0, 0);
    for (did, lines) in &accounts {
        // In force is what the last operation follows, directly or not.
        let mut valid = BTreeSet::new();
        let mut next = lines.last().map(|line| line["cid"].clone());
        while let Some(cid) = next.filter(|cid| !cid.is_null()) {
            let line = lines.iter().find(|line| line["cid"] == cid).unwrap();
            valid.insert(cid.as_str().unwrap().to_owned());
            next = Some(line["operation"]["prev"].clone());
        }
        for line in lines {
            let gone = !valid.contains(line["cid"].as_str().unwrap());
            assert_eq!(line["nullified"], gone, "{line}");
            nullified += u32::from(gone);
        }
        // Each fork was signed by the first key of the operation that it follows.
        for (place, line) in lines.iter().enumerate().skip(1) {
            let operation = &line["operation"];
            let prev = lines.iter().position(|other| other["cid"] == operation["prev"]).unwrap();
            if prev + 1 == place {
                continue;
            }
            forks += 1;
            let mut unsigned = operation.clone();
            unsigned.as_object_mut().unwrap().remove("sig");
            let bytes = serde_ipld_dagcbor::to_vec(&unsigned).unwrap();
            let sig = BASE64URL_NOPAD.decode(operation["sig"].as_str().unwrap().as_bytes());
            let key = lines[prev]["operation"]["rotationKeys"][0].as_str().unwrap();
            assert_eq!(check_signature(key, &bytes, &sig.unwrap()), "ok");
        }
        let log = get(sim.plc(), &format!("/{did}/log")).json();
        assert_eq!(log.as_array().unwrap().len(), valid.len());
    }
    assert!(nullified > 20 && forks > 10, "{nullified} in {forks}");
}

#[test]
fn what_the_directory_does_not_know_or_understand_is_told() {
    let sim = settled(&[]);
    let unknown = "/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    for path in ["", "/data", "/log", "/log/audit", "/log/last"] {
        assert_eq!(get(sim.plc(), &format!("{unknown}{path}")).status, 404, "{path}");
    }
    assert_eq!(get(sim.plc(), "/_health").status, 200);
    for query in ["count=0", "count=x", "after=yesterday"] {
        assert_eq!(get(sim.plc(), &format!("/export?{query}")).status, 400, "{query}");
    }
}

#[test]
fn more_requests_than_the_limit_are_told_how_long_to_wait() {
    let sim = Sim::start(&["--plc-limit", "3/60s", "--counts", "--accounts", "2"]);
    for _ in 0..3 {
        assert_eq!(get(sim.plc(), "/export").status, 200);
    }
    let answer = get(sim.plc(), "/export");
    assert_eq!(answer.status, 429);
    let wait = answer.head.split("retry-after: ").nth(1).unwrap().lines().next().unwrap();
    assert!((1..=60).contains(&wait.parse::<u32>().unwrap()), "{wait}");

    let args = ["--plc-limit", "1/60s", "--plc-retry-after", "date", "--plc-headers"];
    let sim = Sim::start(&args);
    let head = get(sim.plc(), "/export").head;
    assert!(head.contains("ratelimit-limit: 1\r\nratelimit-remaining: 0"), "{head}");
    assert!(head.contains("ratelimit-policy: 1;w=60") && !head.contains("retry-after"), "{head}");
    let head = get(sim.plc(), "/export").head;
    let date = head.split("retry-after: ").nth(1).unwrap().lines().next().unwrap();
    assert!(date.ends_with(" gmt"), "{date}");

    // A short window passes.
    let sim = Sim::start(&["--plc-limit", "1/200ms"]);
    wait_until(|| get(sim.plc(), "/export").status == 429);
    wait_until(|| get(sim.plc(), "/export").status == 200);
}

#[test]
fn an_outage_begins_and_ends() {
    let sim = Sim::start(&["--plc-outage", "0-400ms"]);
    assert_eq!(get(sim.plc(), "/export").status, 503);
    wait_until(|| get(sim.plc(), "/export").status == 200);
}

#[test]
fn repositories_are_exported_whole_and_agree_with_the_last_event() {
    let sim = settled(&["--hosts", "2"]);
    for host in 0..2 {
        let mut repos: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let query = format!("com.atproto.sync.listRepos?limit=4{cursor}");
            let page = sim.xrpc(host, &query).json();
            repos.extend(page["repos"].as_array().unwrap().iter().cloned());
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(repos.len(), 15);
        assert_eq!(
            repos.iter().map(|repo| repo["did"].to_string()).collect::<BTreeSet<_>>().len(),
            15
        );
        for repo in &repos {
            agrees(&sim, host, repo);
        }
    }
}

fn agrees(sim: &Sim, host: usize, listed: &Value) {
    let did = listed["did"].as_str().unwrap();
    let ask = |method: &str| sim.xrpc(host, &format!("com.atproto.sync.{method}?did={did}"));
    let (repo, latest, status) = (ask("getRepo"), ask("getLatestCommit"), ask("getRepoStatus"));
    assert_eq!(status.json()["active"], listed["active"]);
    if listed["active"] == false {
        let error = match listed["status"].as_str() {
            Some("deactivated") => "RepoDeactivated",
            _ => "RepoNotFound",
        };
        assert_eq!((repo.status, repo.json()["error"].as_str()), (400, Some(error)));
        assert_eq!((latest.status, latest.json()["error"].as_str()), (400, Some(error)));
        return;
    }
    assert!(repo.head.contains("content-type: application/vnd.ipld.car"));
    let latest = latest.json();
    assert_eq!((&latest["cid"], &latest["rev"]), (&listed["head"], &listed["rev"]));
    assert_eq!(status.json()["rev"], listed["rev"]);
    let repo = blocks(&repo.body);
    assert_eq!(listed["head"], repo.root.to_string());
    let commit = crate::proof::commit(&repo);
    assert_eq!(listed["rev"], crate::harness::text(&commit, "rev"));
    // Everything the tree names is there, once.
    let decoded: BTreeMap<_, Ipld> = repo
        .blocks
        .iter()
        .map(|(cid, bytes)| (*cid, serde_ipld_dagcbor::from_slice(bytes).unwrap()))
        .collect();
    assert_eq!(decoded.len(), repo.blocks.len());
    let mut wanted = vec![link(&commit, "data").unwrap()];
    let mut reached = 1;
    while let Some(cid) = wanted.pop() {
        reached += 1;
        let Ipld::Map(node) = &decoded[&cid] else { panic!("not a node") };
        wanted.extend(link(node, "l"));
        let Ipld::List(entries) = &node["e"] else { panic!("no entries") };
        for entry in entries {
            let Ipld::Map(entry) = entry else { panic!("no entry") };
            assert!(decoded.contains_key(&link(entry, "v").unwrap()));
            reached += 1;
            wanted.extend(link(entry, "t"));
        }
    }
    assert_eq!(reached, decoded.len());
}

#[test]
fn an_export_is_signed_by_a_key_that_the_directory_has_had() {
    let sim = settled(&[]);
    let mut heads = BTreeMap::new();
    for bytes in subscribe(sim.host(0), Some(0)).take(700) {
        let event = event(&bytes);
        if event.t == "#commit" || event.t == "#sync" {
            heads.insert(event.did().to_owned(), event.blocks().root);
        }
    }
    for (did, head) in heads {
        let repo = sim.xrpc(0, &format!("com.atproto.sync.getRepo?did={did}"));
        if repo.status != 200 {
            continue;
        }
        let repo = blocks(&repo.body);
        assert_eq!(repo.root, head);
        let audit = get(sim.plc(), &format!("/{did}/log/audit")).json();
        let keys = audit.as_array().unwrap().iter();
        let mut keys =
            keys.map(|line| line["operation"]["verificationMethods"]["atproto"].as_str().unwrap());
        assert!(keys.any(|key| check(&repo, key) == "ok"));
    }
}

#[test]
fn preloaded_accounts_begin_in_the_middle_of_their_lives() {
    let args = ["--accounts", "4", "--records", "40", "--events", "30", "--rate", "0"];
    let sim = Sim::start(&[&args[..], &["--mix", "all=0,create=1"]].concat());
    let repos = sim.xrpc(0, "com.atproto.sync.listRepos").json();
    assert_eq!(repos["repos"].as_array().unwrap().len(), 4);
    let mut first = BTreeSet::new();
    for bytes in subscribe(sim.host(0), Some(0)).take(30) {
        let event = event(&bytes);
        assert_eq!(event.t, "#commit");
        assert!(matches!(event.body["since"], Ipld::String(_)));
        assert!(matches!(event.body["prevData"], Ipld::Link(_)));
        first.insert(event.did().to_owned());
    }
    assert!(first.len() > 1);
}

#[test]
fn hosts_and_relays_say_what_they_are() {
    let sim = Sim::start(&["--hosts", "5", "--relay"]);
    let described = sim.xrpc(2, "com.atproto.server.describeServer").json();
    let name = sim.host(2).trim_start_matches("ws://");
    assert_eq!(described["did"], format!("did:web:{}", name.replace(':', "%3A")));
    assert_eq!(sim.xrpc(0, "_health").status, 200);
    assert_eq!(sim.xrpc(0, "com.atproto.sync.listHosts").status, 501);
    assert_eq!(sim.xrpc(0, "com.atproto.sync.getRepoStatus?did=did:plc:x").status, 400);
    assert_eq!(sim.xrpc(0, "com.atproto.sync.getRepoStatus").status, 400);
    assert_eq!(sim.xrpc(0, "com.atproto.sync.listRepos?limit=0").status, 400);
    assert_eq!(sim.xrpc(0, "com.atproto.sync.subscribeRepos?cursor=x").status, 400);

    let relay = sim.ready["relay"].as_str().unwrap();
    let mut hosts = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(relay, &format!("/xrpc/com.atproto.sync.listHosts?limit=2{cursor}"));
        assert!(page.head.contains("server: atproto-relay"));
        let page = page.json();
        for host in page["hosts"].as_array().unwrap() {
            hosts.push(format!("ws://{}", host["hostname"].as_str().unwrap()));
        }
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(
        hosts.iter().eq(sim.ready["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host.as_str().unwrap()))
    );
    assert_eq!(get(relay, "/xrpc/com.atproto.server.describeServer").status, 501);
}
