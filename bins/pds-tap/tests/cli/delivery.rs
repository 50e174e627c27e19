use nix::sys::signal::Signal;

use crate::server::{Call, Server, event, events, info};
use crate::tap::{Seen, fed, tap};

#[test]
fn events_come_out_as_they_came_in_behind_their_host_and_before_their_mark() {
    let mut list = events(1..300);
    list.push((300, event(300, 1_900_000)));
    list.push((301, event(301, 0)));
    let sent = list.clone();
    let server = Server::start(move |mut call: Call| {
        call.send_above(&sent);
        call.hold();
    });
    let done = tap(&["--host", &server.url(), "--cursor", "0"]).stop_after(1, 301);
    let host = Seen::Host { id: 1, relay: false, name: server.name() };
    assert_eq!(done.frames[0], host);
    assert!(done.events(1) == list, "the events differ: {:?}", done.seqs(1));
    assert_eq!(done.mark(1), Some((0, 301)));
    done.holds_together();
    assert_eq!(server.cursors(), [Some(0)]);
}

#[test]
fn the_first_run_of_all_joins_live_and_a_relay_is_called_one() {
    let server = Server::start(|mut call: Call| {
        call.send_above(&events([7_000_000_000]));
        call.hold();
    });
    let done = tap(&["--relay", &server.url()]).stop_after(1, 7_000_000_000);
    assert_eq!(server.cursors(), [None]);
    assert_eq!(done.frames[0], Seen::Host { id: 1, relay: true, name: server.name() });
    assert_eq!(done.mark(1), Some((0, 7_000_000_000)));
    done.holds_together();
}

#[test]
fn what_is_not_above_the_last_seq_is_dropped() {
    let server = Server::start(|mut call: Call| {
        // An inclusive cursor, a repeat, a step back, a jump.
        for seq in [50, 51, 51, 52, 40, 53, 90] {
            call.send(&event(seq, 10));
        }
        call.hold();
    });
    let done = tap(&["--host", &server.url(), "--cursor", "50"]).stop_after(1, 90);
    assert_eq!(done.seqs(1), [51, 52, 53, 90]);
    assert!(done.stderr.contains("goes back to seq 40 behind 52"), "{}", done.stderr);
    assert!(!done.stderr.contains("seq 50"), "{}", done.stderr);
    done.holds_together();
}

#[test]
fn a_loud_host_does_not_starve_the_others() {
    let loud = Server::start(|mut call: Call| {
        let list: Vec<_> = (1..3000).map(|seq| (seq, event(seq, 9000))).collect();
        call.send_above(&list);
        call.hold();
    });
    let quiet: Vec<Server> = (0..30)
        .map(|_| {
            Server::start(|mut call: Call| {
                call.send_above(&events(1..5));
                call.hold();
            })
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts.txt");
    let lines: Vec<String> = quiet.iter().map(|server| server.url() + " # quiet\n").collect();
    std::fs::write(&file, "# all of them\n\n".to_owned() + &lines.concat()).unwrap();
    let file = file.to_str().unwrap();
    let mut tap = tap(&["--host", &loud.url(), "--hosts", file, "--cursor", "0"]);
    (2..32).for_each(|id| tap.until(id, 4));
    let done = tap.stop_after(1, 2999);
    assert_eq!(done.seqs(1), (1..3000).collect::<Vec<u64>>());
    for id in 2..32 {
        assert_eq!(done.seqs(id), [1, 2, 3, 4], "host {id}");
    }
    done.holds_together();
}

#[test]
fn a_host_may_be_named_with_a_name_and_without_tls() {
    let list = events(1..200);
    let sent = list.clone();
    let server = Server::start_plain(move |mut call: Call| {
        call.send_above(&sent);
        call.hold();
    });
    let url = format!("ws://LOCALHOST:{}/", server.port);
    let done = tap(&["--host", &url, "--cursor", "0"]).stop_after(1, 199);
    assert!(done.events(1) == list);
    let name = format!("localhost:{}", server.port);
    assert_eq!(done.frames[0], Seen::Host { id: 1, relay: false, name });
    done.holds_together();
}

#[test]
fn a_window_that_was_asked_for_whole_has_no_hole_and_a_lost_one_has() {
    let server = Server::start(|mut call: Call| {
        call.send(&info("OutdatedCursor"));
        if call.number == 0 {
            call.send_above(&events([100, 101]));
            call.socket.close(None).unwrap();
        } else {
            call.send_above(&events([500, 501]));
        }
        call.hold();
    });
    let done = tap(&["--host", &server.url(), "--cursor", "0"]).stop_after(1, 501);
    assert_eq!(server.cursors(), [Some(0), Some(101)]);
    let holes: Vec<&Seen> =
        done.frames.iter().filter(|frame| matches!(frame, Seen::Hole { .. })).collect();
    assert_eq!(holes, [&Seen::Hole { host: 1, after: 101, until: 500 }]);
    assert!(done.stderr.contains("there is a hole"), "{}", done.stderr);
    assert_eq!(done.seqs(1), [100, 101, 500, 501]);
    done.holds_together();
}

#[test]
fn the_archive_says_where_to_go_on() {
    let known = Server::start(|mut call: Call| {
        call.send_above(&events(1..20));
        call.hold();
    });
    let found = Server::start(|mut call: Call| {
        call.send_above(&events(1..4));
        call.hold();
    });
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    crate::tap::archive_with_mark(&archive, &known.name(), 3, 15);
    let archive = archive.to_str().unwrap();
    let args = ["--host", &known.url(), "--host", &found.url(), "--resume", archive];
    let mut tap = tap(&args);
    tap.until(2, 3);
    let done = tap.stop_after(1, 19);
    assert_eq!(known.cursors(), [Some(15)]);
    assert_eq!(done.seqs(1), [16, 17, 18, 19]);
    assert_eq!(done.mark(1), Some((3, 19)));
    assert_eq!(found.cursors(), [Some(0)], "a host without a mark is joined at its beginning");
    assert_eq!(done.seqs(2), [1, 2, 3]);
    done.holds_together();
}

#[test]
fn a_host_that_was_silent_is_known_to_the_archive_and_asked_for_what_it_said_meanwhile() {
    let server = Server::start(|mut call: Call| {
        if call.number > 0 {
            call.send(&info("OutdatedCursor"));
            call.send_above(&events(1..=3));
        }
        call.hold();
    });
    let first = tap(&["--host", &server.url(), "-v"]);
    first.says(": connected");
    first.signal(Signal::SIGTERM);
    let done = first.finish().ok();
    assert_eq!((done.mark(1), done.seqs(1)), (Some((0, 0)), Vec::new()));
    done.holds_together();

    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    crate::tap::archive_with_mark(&archive, &server.name(), 0, 0);
    let args = ["--host", &server.url(), "--resume", archive.to_str().unwrap()];
    let done = tap(&args).stop_after(1, 3);
    assert_eq!(server.cursors(), [None, Some(0)]);
    assert_eq!((done.seqs(1), done.mark(1)), (vec![1, 2, 3], Some((0, 3))));
    assert!(!done.stderr.contains("there is a hole"), "{}", done.stderr);
    done.holds_together();
}

#[test]
fn an_archive_that_is_not_there_yet_is_the_first_run_of_all() {
    let server = Server::start(|mut call: Call| {
        call.send_above(&events([8]));
        call.hold();
    });
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("none");
    let args = ["--host", &server.url(), "--resume", archive.to_str().unwrap()];
    assert_eq!(tap(&args).stop_after(1, 8).seqs(1), [8]);
    assert_eq!(server.cursors(), [None]);
}

#[test]
fn marks_come_while_events_flow() {
    let server = Server::start(|mut call: Call| {
        for seq in 1..=15 {
            call.send(&event(seq, 10));
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        call.hold();
    });
    let done = tap(&["--host", &server.url()]).stop_after(1, 15);
    let last = done.frames.iter().position(|f| matches!(f, Seen::Event { seq: 15, .. })).unwrap();
    let marks = done.frames[..last].iter().filter(|frame| matches!(frame, Seen::Mark(_))).count();
    assert!(marks >= 2, "{marks} marks in 1.5 s");
    done.holds_together();
}

#[test]
fn it_ends_when_all_are_silent_and_hosts_may_come_from_standard_input() {
    let server = Server::start_plain(|mut call: Call| {
        call.send_above(&events(1..=2));
        call.hold();
    });
    let args = ["--allow-private", "--hosts", "-", "--until-idle", "1s"];
    let done = fed(&args, &format!("# one\n{}\n", server.url())).finish().ok();
    assert_eq!(done.seqs(1), [1, 2]);
    done.holds_together();
}
