//! Names in a network of their own: the index says what it holds, handles and did:web are asked
//! for where they live, and what a host of the index sends is proved.

use std::net::UdpSocket;
use std::path::PathBuf;

use e2e::{Chain, Sim, json_lines};

use crate::text;

/// Accounts 0 and 1 are did:web, the others did:plc.
const ACCOUNTS: usize = 6;

struct Network {
    sim: Sim,
    dir: tempfile::TempDir,
}

impl Network {
    fn start() -> Network {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        // Without rotations, so that every look-up gives the key of every event.
        let args = ["--accounts", "6", "--web", "2", "--events", "60", "--backfill", "60"];
        let args = [&args[..], &["--mix", "all=0,create=1"]].concat();
        let network = ["--tls", "--ca-out", text(&ca), "--dns-listen", "127.0.0.1:0"];
        let network = Network { sim: Sim::start(&[&args[..], &network].concat()), dir };
        let ops = network.path("ops");
        let (sim, index) = (&network.sim, network.index());
        Chain::new()
            .stage("plc-fetch", &["--url", &sim.plc, "--out", text(&ops), "--allow-private"])
            .succeed();
        Chain::new().stage("index-build", &["--ops", text(&ops), "--out", &index]).succeed();
        network
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn index(&self) -> String {
        text(&self.path("did.idx")).to_owned()
    }

    /// Address and port of the one host.
    fn host(&self) -> &str {
        self.sim.hosts[0].strip_prefix("wss://").unwrap()
    }
}

#[test]
fn handles_are_found_by_both_ways_and_lead_to_their_accounts() {
    let network = Network::start();
    let (index, ca) = (network.index(), network.path("ca.pem"));
    let dns = network.sim.dns.as_deref().unwrap();
    let handles: Vec<String> = (0..ACCOUNTS).map(|number| format!("user{number}.test")).collect();
    // Where one way fails the other is the only one.
    let (no_names, no_host) = (failing_name_server(), "127.0.0.1:1");
    for (how, dns, host) in [("dns", dns, no_host), ("https", &no_names, network.host())] {
        let args = ["--plc", &network.sim.plc, "--allow-private", "--ca", text(&ca)];
        let mut all = vec![index.as_str(), "--dns", dns, "--connect-to", host];
        all.extend(args);
        // The documents of did:web lie at hosts, which are not there by the first way.
        let asked = if how == "dns" { &handles[2..] } else { &handles[..] };
        all.extend(asked.iter().map(String::as_str));
        let lines = json_lines(&Chain::new().stage("did-lookup", &all).succeed());
        assert_eq!(lines.len(), asked.len());
        for (line, handle) in lines.iter().zip(asked) {
            assert_eq!(line["handle"], handle.as_str());
            assert_eq!((&line["verified"], &line["how"]), (&true.into(), &how.into()), "{line}");
            assert_eq!(line["status"], "active", "{line}");
            assert_eq!(line["pds"], network.host());
        }
    }
}

/// Says of every name that it cannot answer (SERVFAIL).
fn failing_name_server() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut message = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            (message[2], message[3]) = (message[2] | 0x80, 0x82);
            let _ = socket.send_to(&message[..length], from);
        }
    });
    address
}

#[test]
fn the_hosts_of_an_index_are_what_a_tap_listens_to_and_did_web_is_proved_beside_it() {
    let network = Network::start();
    let (index, ca) = (network.index(), network.path("ca.pem"));
    let local = ["--allow-private", "--ca", text(&ca)];
    let tap = ["--hosts", "-", "--cursor", "0", "--until-idle", "2"];
    let resolve = ["--index", &index, "--resolve", &network.sim.plc, "--pass-all"];
    let output = Chain::new()
        .stage("did-lookup", &[&index, "--hosts"])
        .stage("pds-tap", &[&tap[..], &local].concat())
        .stage("sig-verify", &[&resolve[..], &["--connect-to", network.host()], &local].concat())
        .stage("frame-cat", &["--events"])
        .succeed();
    let events = json_lines(&output);
    assert_eq!(events.len(), 60);
    assert!(events.iter().all(|event| event["verdict"] == "ok"), "{events:#?}");
    let of_web = events
        .iter()
        .filter(|event| event["did"].as_str().is_some_and(|did| did.starts_with("did:web:user")));
    assert!(of_web.count() > 4, "{events:#?}");

    let hosts = Chain::new().stage("did-lookup", &[&index, "--hosts", "--json"]).succeed();
    let accounts = ACCOUNTS - 2;
    assert_eq!(json_lines(&hosts)[0]["accounts"], accounts, "did:web is not in the index");
}

#[test]
fn the_hosts_that_a_relay_lists_are_joined_with_tls_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let tls = ["--tls", "--ca-out", text(&ca)];
    for (tls, believed) in [(&tls[..], &["--ca", text(&ca)][..]), (&[], &[])] {
        let args = ["--accounts", "6", "--hosts", "3", "--events", "60", "--backfill", "60"];
        let sim = Sim::start(&[&args[..], &["--relay"], tls].concat());
        let relay = sim.relay.as_deref().unwrap();
        let tap = ["--discover", relay, "--cursor", "0", "--until-idle", "3", "--allow-private"];
        let output = Chain::new()
            .stage("pds-tap", &[&tap[..], believed].concat())
            .stage("frame-cat", &["--events"])
            .succeed();
        assert_eq!(json_lines(&output).len(), 60, "{tls:?}");
    }
}
