use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::server::{Call, Server, event, event_of, events};
use crate::tap::tap;

#[test]
fn a_host_that_speaks_too_fast_is_slowed_and_loses_nothing() {
    let fast = Server::start(|mut call: Call| {
        call.send_above(
            &events(1..=300).into_iter().map(|(n, _)| (n, event(n, 1))).collect::<Vec<_>>(),
        );
        // A ping that is answered says that all of it was read.
        call.socket.send(tungstenite::Message::Ping(Default::default())).unwrap();
        while !matches!(call.socket.read(), Ok(tungstenite::Message::Pong(_)) | Err(_)) {}
        call.send(&event(301, 1));
        call.hold();
    });
    let other = Server::start(|mut call: Call| {
        call.send_above(&events(1..=5));
        call.hold();
    });
    let began = Instant::now();
    let limit = ["--host-rate", "100", "--host-rate-over", "1s"];
    let args = ["--host", &fast.url(), "--host", &other.url(), "--cursor", "0"];
    let mut tap = tap(&[&args[..], &limit].concat());
    tap.until(2, 5);
    tap.until(1, 300);
    tap.until(1, 301);
    // A second's worth at once, and the other two hundred at their rate.
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(done.seqs(1), (1..=301).collect::<Vec<u64>>());
    assert_eq!(fast.cursors(), [Some(0)], "it was not given up");
    done.holds_together();
}

#[test]
fn a_host_that_claims_too_many_accounts_is_left_alone() {
    let claims = |accounts: u64| {
        Server::start(move |mut call: Call| {
            for seq in 1..=400 {
                call.send(&event_of(seq, &format!("did:plc:{:024}", seq % accounts)));
            }
            call.hold();
        })
    };
    let (greedy, modest, relay) = (claims(400), claims(10), claims(400));
    let args = ["--host", &greedy.url(), "--host", &modest.url(), "--relay", &relay.url()];
    let limit = ["--cursor", "0", "--host-accounts", "50"];
    let mut tap = tap(&[&args[..], &limit].concat());
    tap.says("it speaks for more than 50 accounts (--host-accounts); refused for a day");
    tap.until(2, 400);
    tap.until(3, 400);
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    let claimed = done.seqs(1).len();
    assert!((40..100).contains(&claimed), "{claimed}");
    assert_eq!((done.seqs(2).len(), done.seqs(3).len()), (400, 400));
    assert_eq!(greedy.cursors().len(), 1, "it is left alone");
    done.holds_together();
}

#[test]
fn unfinished_messages_share_a_budget_and_what_is_cut_is_resumed() {
    const MESSAGE: usize = 4_500_000;
    let hosts: Vec<Server> = (0..8)
        .map(|_| {
            Server::start(|mut call: Call| {
                call.send_above(&events(1..=2));
                let whole = event(3, MESSAGE);
                if call.number > 0 {
                    call.send(&whole);
                    return call.hold();
                }
                let mut head = vec![0x82, 127];
                head.extend_from_slice(&(whole.len() as u64).to_be_bytes());
                call.send_raw(&head).unwrap();
                // All but the last byte, which never comes.
                let _ = call.send_raw(&whole[..whole.len() - 1]);
                call.hold();
            })
        })
        .collect();
    let urls: Vec<String> = hosts.iter().flat_map(|host| ["--host".into(), host.url()]).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let limits = ["--cursor", "0", "--unfinished", "12MiB"];
    let mut tap = tap(&[&urls[..], &limits].concat());
    let (before, _) = tap.memory();
    // No more than two can be held: six are cut and resumed.
    let resumed = tap.until_hosts(6, 3);
    let (_, most) = tap.memory();
    assert!(most < before + 60_000, "{most} KiB, and {before} KiB before");
    assert!(resumed.iter().all(|id| hosts[*id as usize - 1].cursors().len() > 1));
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    for id in 1..=8 {
        let seqs = done.seqs(id);
        let held = !resumed.contains(&id) && seqs == [1, 2];
        assert!(held || seqs == [1, 2, 3], "host {id}: {seqs:?}");
    }
    assert!(done.stderr.contains("its own is the longest with"), "{}", done.stderr);
    done.holds_together();
}

#[test]
fn a_reader_that_stands_still_stops_all_hosts_and_memory_stays_as_it_is() {
    const HOSTS: u64 = 20;
    const EVENTS: u64 = 400;
    let sent = Arc::new(AtomicU64::new(0));
    let hosts: Vec<Server> = (0..HOSTS)
        .map(|_| {
            let sent = Arc::clone(&sent);
            Server::start(move |mut call: Call| {
                for seq in call.cursor.unwrap_or(0) + 1..=EVENTS {
                    call.send(&event(seq, 20_000));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                call.hold();
            })
        })
        .collect();
    let urls: Vec<String> = hosts.iter().flat_map(|host| ["--host".into(), host.url()]).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let clocks = ["--cursor", "0", "--ping", "1s", "--answer", "1s", "--grace", "2s"];
    let mut tap = tap(&[&urls[..], &clocks].concat());
    let mut some = vec![0; 1 << 20];
    tap.read_exact(&mut some);
    let (before, _) = tap.memory();
    // Until nobody has been able to send anything for a while: longer than all that is timed.
    let mut last = (sent.load(Ordering::Relaxed), Instant::now());
    crate::tap::wait_for("the hosts to be stopped", || {
        let now = sent.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(4)
    });
    let stopped = sent.load(Ordering::Relaxed);
    assert!(stopped < HOSTS * EVENTS, "nobody was stopped");
    let (after, _) = tap.memory();
    assert!(after < before + 16_000, "{after} KiB, and {before} KiB before");
    (1..=HOSTS as u32).for_each(|id| tap.until(id, EVENTS));
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    for (id, host) in (1..).zip(&hosts) {
        assert_eq!(done.seqs(id), (1..=EVENTS).collect::<Vec<u64>>(), "host {id}");
        assert_eq!(host.cursors(), [Some(0)], "it was given up: {}", done.stderr);
    }
    done.holds_together();
}
