use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::server::{Call, Server, events};
use crate::tap::{Seen, Tap, tap};

/// A host that has nine events.
fn host() -> Server {
    Server::start(|mut call: Call| {
        call.send_above(&events(1..=9));
        call.hold();
    })
}

fn write(path: &Path, lines: &[String]) {
    // As a person should: the tap may read it at any moment.
    let beside = path.with_extension("new");
    std::fs::write(&beside, lines.join("\n") + "\n").unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn stop(tap: Tap) -> crate::tap::Done {
    tap.signal(Signal::SIGTERM);
    tap.finish().ok()
}

#[test]
fn hosts_that_appear_in_a_file_are_joined_and_those_that_are_gone_are_left() {
    let (gone, left) = std::sync::mpsc::channel();
    let gone = Mutex::new(gone);
    let first = Server::start(move |mut call: Call| {
        call.send_above(&events(1..=9 + call.number as u64));
        call.hold();
        let _ = gone.lock().unwrap().send(());
    });
    let (second, third) = (host(), host());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    write(&file, &[first.url(), second.url()]);
    let mut tap = tap(&["--hosts", file.to_str().unwrap(), "--cursor", "0"]);
    tap.until(1, 9);
    tap.until(2, 9);
    write(&file, &[second.url(), third.url()]);
    tap.signal(Signal::SIGHUP);
    tap.until(3, 9);
    left.recv_timeout(std::time::Duration::from_secs(20)).expect("the first host is not left");
    // A file that can't be read is no reason to leave anyone.
    std::fs::write(&file, "what is this\n").unwrap();
    tap.signal(Signal::SIGHUP);
    tap.says("it stays as it was");
    // One that comes back goes on where it was.
    write(&file, &[first.url(), second.url(), third.url()]);
    tap.signal(Signal::SIGHUP);
    tap.until(1, 10);
    let done = stop(tap);
    assert_eq!(done.seqs(1), (1..=10).collect::<Vec<u64>>());
    for id in [2, 3] {
        assert_eq!(done.seqs(id), (1..=9).collect::<Vec<u64>>(), "host {id}");
    }
    assert_eq!(first.cursors(), [Some(0), Some(9)]);
    assert_eq!(second.cursors(), [Some(0)], "it was held all the time");
    done.holds_together();
}

#[test]
fn hosts_that_come_and_go_by_their_file_again_and_again_lose_nothing() {
    const HOSTS: usize = 12;
    const ROUNDS: usize = 6;
    const EVENTS: u64 = 5;
    let list = events(1..=EVENTS * ROUNDS as u64);
    // Each time that it is joined a host has some events more.
    let hosts: Vec<Server> = (0..HOSTS)
        .map(|_| {
            let list = list.clone();
            Server::start(move |mut call: Call| {
                let many = EVENTS as usize * (call.number + 1);
                call.send_above(&list[..many.min(list.len())]);
                call.hold();
            })
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    // A third of them is away in each round, and not the same third.
    let of_round = |round: usize| (0..HOSTS).filter(move |host| !(host + round).is_multiple_of(3));
    let lines = |round| of_round(round).map(|host| hosts[host].url()).collect::<Vec<_>>();
    write(&file, &lines(0));
    let mut tap = tap(&["--hosts", file.to_str().unwrap(), "--cursor", "0"]);
    let mut ids: Vec<usize> = of_round(0).collect();
    let mut joined = [0; HOSTS];
    for round in 0..ROUNDS {
        if round > 0 {
            write(&file, &lines(round));
            tap.signal(Signal::SIGHUP);
        }
        let is_there = |round: usize, host: usize| of_round(round).any(|other| other == host);
        for host in of_round(round) {
            if round == 0 || !is_there(round - 1, host) {
                joined[host] += 1;
            }
            let id = ids.iter().position(|other| *other == host).unwrap_or_else(|| {
                ids.push(host);
                ids.len() - 1
            });
            tap.until(id as u32 + 1, EVENTS * joined[host]);
        }
    }
    let done = stop(tap);
    for (at, host) in ids.iter().enumerate() {
        let seqs = done.seqs(at as u32 + 1);
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<u64>>(), "host {host}");
        assert!(seqs.len() as u64 >= EVENTS * joined[*host], "host {host}: {seqs:?}");
    }
    done.holds_together();
}

#[test]
fn who_is_denied_is_left_and_comes_back_when_he_is_no_longer() {
    let (one, two) = (host(), host());
    let dir = tempfile::tempdir().unwrap();
    let deny = dir.path().join("deny");
    write(&deny, &[format!("{} # for now", one.name())]);
    let args = ["--host", &one.url(), "--host", &two.url(), "--cursor", "0"];
    let mut tap = tap(&[&args[..], &["--deny", deny.to_str().unwrap(), "-v"]].concat());
    // It is the only one, and so the first.
    tap.until(1, 9);
    assert_eq!(one.cursors(), []);
    write(&deny, &[two.name()]);
    tap.signal(Signal::SIGHUP);
    tap.says(&format!("{}: is no longer wanted, and left", two.name()));
    tap.until(2, 9);
    // An address is denied under whatever name.
    write(&deny, &["127.0.0.1".into()]);
    tap.signal(Signal::SIGHUP);
    tap.says("files read again: 0 hosts, 1 before");
    let done = stop(tap);
    let names: Vec<&Seen> =
        done.frames.iter().filter(|frame| matches!(frame, Seen::Host { .. })).collect();
    assert_eq!(names[0], &Seen::Host { id: 1, relay: false, name: two.name() });
    assert_eq!(names[1], &Seen::Host { id: 2, relay: false, name: one.name() });
    done.holds_together();
}

#[test]
fn a_name_that_leads_to_a_denied_address_is_not_reached() {
    let server = host();
    let dir = tempfile::tempdir().unwrap();
    let deny = dir.path().join("deny");
    write(&deny, &["127.0.0.1".into(), "[::1]".into()]);
    let url = format!("wss://localhost:{}", server.port);
    let args = ["--host", &url, "--deny", deny.to_str().unwrap(), "--until-idle", "200ms"];
    let done = tap(&args).finish().ok();
    assert!(done.stderr.contains("its address is denied"), "{}", done.stderr);
    assert_eq!(server.cursors(), []);
}

#[test]
fn a_relay_is_asked_for_its_hosts_page_by_page_and_again_now_and_then() {
    let hosts: Vec<Server> = (0..5).map(|_| host()).collect();
    let names: Vec<String> = hosts.iter().map(Server::name).collect();
    // The first hosts are known from the beginning.
    let known = Arc::new(Mutex::new(3));
    let shown = Arc::clone(&known);
    let relay = Server::start_visited(move |visit| {
        let number = visit.number;
        let Some(asked) = visit.asked() else { return };
        let path = asked.path.clone();
        let query = path.strip_prefix("/xrpc/com.atproto.sync.listHosts?limit=1000").unwrap();
        // It fails at first, and once in the middle.
        if number == 0 || number == 2 {
            return asked.reply("503 Service Unavailable", "", "");
        }
        let from = query.strip_prefix("&cursor=a+%26b%3D").map_or(0, |n| n.parse().unwrap());
        let known = *shown.lock().unwrap();
        let page = &names[from..known.min(from + 2)];
        let list: Vec<String> = page
            .iter()
            .map(|name| format!(r#"{{"hostname":"{name}","seq":1,"status":"offline"}}"#))
            .collect();
        let next = from + 2;
        let cursor =
            if next < known { format!(r#","cursor":"a &b={next}""#) } else { String::new() };
        asked.reply("200 OK", "", &format!(r#"{{"hosts":[{}]{cursor}}}"#, list.join(",")));
    });
    let url = format!("https://127.0.0.1:{}", relay.port);
    let args = ["--discover", &url, "--discover-every", "300ms"];
    let mut tap = tap(&args);
    for server in &hosts[..3] {
        server.called();
    }
    // Those that are found first are joined live, those that come later from their beginning.
    *known.lock().unwrap() = 5;
    for server in &hosts[3..] {
        server.called();
    }
    (1..=5).for_each(|id| tap.until(id, 9));
    let done = stop(tap);
    for (server, id) in hosts.iter().zip(1..) {
        assert_eq!(done.seqs(id), (1..=9).collect::<Vec<u64>>(), "host {id}");
        assert_eq!(server.cursors(), [(id > 3).then_some(0)]);
    }
    assert!(done.stderr.contains("listHosts is answered with status 503"), "{}", done.stderr);
    done.holds_together();
}

#[test]
fn a_relay_that_poses_as_a_pds_is_refused() {
    // One that is asked whether it is a PDS, and says so.
    let described = |is_pds: bool| {
        Server::start_visited(move |visit| {
            let Some(asked) = visit.asked() else { return };
            if asked.path == "/xrpc/com.atproto.server.describeServer" {
                return match is_pds {
                    true => asked.reply("200 OK", "", r#"{"did":"did:web:pds.example"}"#),
                    false => asked.reply("501 Not Implemented", "", r#"{"error":"x"}"#),
                };
            }
            let Some(mut call) = asked.call(Some("atproto-relay/1.2")) else { return };
            call.send_above(&events(1..=9));
            call.hold();
        })
    };
    let (relay, pds) = (described(false), described(true));
    // One that only lists hosts.
    let lists = Server::start_visited(|visit| {
        let Some(asked) = visit.asked() else { return };
        asked.reply("501 Not Implemented", "server: atproto-relay\r\n", "{}");
    });
    let urls = [relay.url(), pds.url(), lists.url()];
    let args: Vec<&str> = urls.iter().flat_map(|url| ["--host", url]).collect();
    let mut tap = tap(&[&args[..], &["--cursor", "0"]].concat());
    tap.until(2, 9);
    tap.says_times("it is a relay, and no PDS", 2);
    let done = stop(tap);
    assert_eq!(done.seqs(1), []);
    assert_eq!(done.seqs(2), (1..=9).collect::<Vec<u64>>());
    assert_eq!(relay.cursors().len(), 1, "it is left alone");
    // In its own role it is welcome.
    let done = crate::tap::tap(&["--relay", &relay.url(), "--cursor", "0"]).stop_after(1, 9);
    assert_eq!(done.seqs(1), (1..=9).collect::<Vec<u64>>());
}

#[test]
fn new_names_and_connections_at_an_address_have_budgets() {
    let hosts: Vec<Server> = (0..6).map(|_| host()).collect();
    let urls: Vec<String> = hosts.iter().map(Server::url).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    write(&file, &urls[1..]);
    let args = ["--host", &urls[0], "--hosts", file.to_str().unwrap(), "--cursor", "0"];
    let budgets = ["--new-names", "3", "--per-address", "2", "-v"];
    let mut tap = tap(&[&args[..], &budgets].concat());
    // What is named by hand has no budget: it, and two of the three names that are taken up.
    (1..=3).for_each(|id| tap.until(id, 9));
    tap.says("2 names wait: no more than 3 new ones are taken up a day");
    tap.says("2 hosts at 127.0.0.1 are listened to already");
    let done = stop(tap);
    assert_eq!(done.seqs(4), []);
    let reached = hosts.iter().filter(|server| !server.cursors().is_empty()).count();
    assert_eq!(reached, 3);
    done.holds_together();
}
