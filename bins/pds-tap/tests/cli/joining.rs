use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::server::{Authority, Call, Events, Net, Server, Visit, events};
use crate::tap::{Seen, tap};

/// What a host does after its fault is over.
fn works(visit: Visit) {
    let Some(mut call) = visit.call() else { return };
    call.send_above(&events(1..=9));
    call.hold();
}

/// All events arrive once, and something is said about what was wrong at first.
fn everything_arrives(server: &Server, args: &[&str], said: &str) {
    let url = server.url();
    let args = [&["--host", &url, "--cursor", "0"], args].concat();
    let done = tap(&args).stop_after(1, 9);
    assert!(done.events(1) == events(1..=9), "{:?}", done.seqs(1));
    assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    done.holds_together();
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new(&["other.example"]);
    refused_for_its_certificate(&authority, "localhost");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::with(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    refused_for_its_certificate(&authority, "localhost");
}

fn refused_for_its_certificate(authority: &Authority, name: &str) {
    let server = Server::visited(Some(Arc::clone(&authority.config)), works);
    let good = Server::start_visited(works);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let both = format!("{}{}", authority.pem, crate::server::LOCAL.0.pem);
    std::fs::write(&ca, both).unwrap();
    let url = format!("wss://{name}:{}", server.port);
    let args = ["--host", &url, "--host", &good.url(), "--ca", ca.to_str().unwrap()];
    let ca_once = ["--allow-private", "--retry", "20ms", "--cursor", "0"];
    let tap = crate::tap::bare(&[&args[..], &ca_once].concat());
    tap.says("certificate");
    let done = tap.stop_after(2, 9);
    assert_eq!(done.seqs(1), []);
    assert_eq!(done.seqs(2), (1..=9).collect::<Vec<u64>>());
    assert_eq!(server.cursors(), []);
}

#[test]
fn a_certificate_that_is_renewed_is_believed() {
    let bad = Authority::new(&["other.example"]);
    let server = Server::start_visited(move |mut visit| {
        if visit.number < 2 {
            visit.tls = Some(Arc::clone(&bad.config));
        }
        works(visit);
    });
    everything_arrives(&server, &[], "certificate");
}

#[test]
fn after_tls_alerts_everything_arrives_once() {
    let server = Server::start_visited(|mut visit| match visit.number {
        // A fatal alert instead of an answer.
        0 => {
            let mut some = [0; 100];
            let _ = visit.tcp.read(&mut some);
            let _ = visit.tcp.write_all(&[21, 3, 3, 0, 2, 2, 40]);
        }
        // One behind the handshake: there is no certificate to show.
        1 => {
            visit.tls = Some(crate::server::LOCAL.0.asking_for_a_certificate());
            works(visit);
        }
        // In mid-stream a record that no key fits: the tap's own alert.
        2 => {
            let Some(mut call) = visit.call() else { return };
            call.send_above(&events(1..=4));
            let mut tcp = call.socket.get_ref().wire.tcp();
            let _ = tcp.write_all(&[23, 3, 3, 0, 40]);
            let _ = tcp.write_all(&[9; 40]);
            call.hold();
        }
        _ => works(visit),
    });
    let url = server.url();
    let done = tap(&["-v", "--host", &url, "--cursor", "0"]).stop_after(1, 9);
    assert!(done.events(1) == events(1..=9), "{:?}", done.seqs(1));
    assert_eq!(server.cursors(), [Some(0), Some(4)]);
    for said in ["HandshakeFailure", "CertificateRequired", "cannot decrypt"] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    done.holds_together();
}

#[test]
fn a_host_that_wants_quiet_gets_it_and_is_asked_again() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&times);
    let server = Server::start_visited(move |visit| {
        seen.lock().unwrap().push(Instant::now());
        match visit.number {
            0 => {
                let Some(asked) = visit.asked() else { return };
                asked.reply("429 Too Many Requests", "retry-after: 1\r\n", "");
            }
            1 => {
                let Some(asked) = visit.asked() else { return };
                asked.reply("503 Service Unavailable", "", "later");
            }
            2 => {
                let Some(asked) = visit.asked() else { return };
                asked.reply("500 Internal Server Error", "", "");
            }
            _ => works(visit),
        }
    });
    everything_arrives(&server, &[], "status 429");
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= Duration::from_secs(1), "it was not left in quiet");
}

#[test]
fn a_handshake_that_drips_or_never_comes_is_given_up() {
    let server = Server::start_visited(|mut visit| match visit.number {
        // Nothing comes.
        0 => {
            let mut all = Vec::new();
            let _ = visit.tcp.read_to_end(&mut all);
        }
        // An answer that never ends.
        1 => {
            let Some(mut asked) = visit.asked() else { return };
            let head = b"HTTP/1.1 101 Switching Protocols\r\nx: ";
            asked.wire.write_all(head).unwrap();
            while asked.wire.write_all(b"y").and_then(|()| asked.wire.flush()).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        _ => works(visit),
    });
    everything_arrives(&server, &["--connect", "500ms"], "the host doesn't answer");
}

#[test]
fn compression_that_was_not_asked_for_is_not_agreed_to() {
    let server = Server::start_visited(|visit| match visit.number {
        0 => {
            let Some(asked) = visit.asked() else { return };
            let agreed = "upgrade: websocket\r\nconnection: upgrade\r\n\
                          sec-websocket-extensions: permessage-deflate\r\n";
            asked.reply("101 Switching Protocols", agreed, "");
        }
        _ => works(visit),
    });
    everything_arrives(&server, &[], "the answer to the websocket request is not valid");
}

#[test]
fn a_name_that_nobody_knows_is_tried_again_and_holds_up_nobody() {
    let server = Server::start_visited(works);
    let args = ["-v", "--host", "wss://nobody.invalid", "--host", &server.url(), "--cursor", "0"];
    let mut tap = tap(&args);
    tap.until(2, 9);
    // Said as a warning, then as what -v shows.
    tap.says_times("looking up nobody.invalid", 3);
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(done.seqs(1), []);
    assert_eq!(done.seqs(2), (1..=9).collect::<Vec<u64>>());
}

#[test]
fn a_network_that_goes_away_without_a_word_and_comes_back_loses_nothing() {
    const HOSTS: usize = 20;
    let lists: Vec<Arc<Events>> =
        (0..HOSTS).map(|_| Arc::new(Mutex::new(events(1..=20)))).collect();
    let servers: Vec<Server> = lists
        .iter()
        .map(|list| {
            let list = Arc::clone(list);
            Server::start(move |call: Call| call.follow(&list))
        })
        .collect();
    let nets: Vec<Net> = servers.iter().map(Net::to).collect();
    let mut args: Vec<String> = nets.iter().flat_map(|net| ["--host".into(), net.url()]).collect();
    let short = "-v --cursor 0 --ping 200ms --answer 500ms --connect 500ms";
    args.extend(short.split(' ').map(String::from));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut tap = tap(&args);
    let each =
        |tap: &mut crate::tap::Tap, seq| (1..=HOSTS as u32).for_each(|id| tap.until(id, seq));
    each(&mut tap, 20);
    for net in &nets {
        net.set(false);
    }
    for list in &lists {
        list.lock().unwrap().extend(events(21..=40));
    }
    // Longer than it takes to find out, and to fail some times at coming back.
    tap.says_times("the host has fallen silent", 15);
    tap.says("the host doesn't answer");
    for net in &nets {
        net.set(true);
    }
    for list in &lists {
        list.lock().unwrap().extend(events(41..=60));
    }
    each(&mut tap, 60);
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    for id in 1..=HOSTS as u32 {
        assert!(done.events(id) == events(1..=60), "host {id}: {:?}", done.seqs(id));
    }
    assert!(!done.frames.iter().any(|frame| matches!(frame, Seen::Hole { .. })));
    done.holds_together();
}
