use std::io::Read;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::server::{Call, Server, event, events};
use crate::tap::{Seen, bare, fed, start, tap};

#[test]
fn sigterm_leaves_a_last_mark_and_an_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Server::start(|mut call: Call| {
            call.send_above(&events(1..50));
            call.hold();
        });
        let mut tap = tap(&["--host", &server.url(), "--cursor", "0"]);
        // There is something to mark.
        tap.until(1, 1);
        tap.signal(signal);
        let done = tap.finish().ok();
        done.holds_together();
        let seqs = done.seqs(1);
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<u64>>());
        assert_eq!(done.mark(1), Some((0, seqs.len() as u64)));
    }
}

#[test]
fn a_reader_that_goes_away_is_noticed_in_silence_and_ends_it_quietly() {
    let server = Server::start(|mut call: Call| {
        call.send_above(&events(1..3));
        call.hold();
    });
    let mut tap = tap(&["--host", &server.url(), "--cursor", "5"]);
    server.called();
    // Nothing flows: there is no write to fail.
    std::thread::sleep(Duration::from_millis(200));
    drop(tap.stdout.take());
    let done = tap.finish().ok();
    assert_eq!(done.stderr, "");
}

#[test]
fn a_reader_that_goes_away_in_the_flood_ends_it_quietly() {
    let server = Server::start(|mut call: Call| {
        for seq in 1..u64::MAX {
            if call.socket.send(tungstenite::Message::binary(event(seq, 5000))).is_err() {
                return;
            }
        }
    });
    let mut tap = tap(&["--host", &server.url()]);
    let mut some = [0; 10_000];
    tap.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    drop(tap.stdout.take());
    let done = tap.finish().ok();
    assert_eq!(done.stderr, "");
}

#[test]
fn a_slow_reader_loses_nothing_and_stops_the_clocks() {
    let server = Server::start(|mut call: Call| {
        let list: Vec<_> = (1..2000).map(|seq| (seq, event(seq, 8000))).collect();
        call.send_above(&list);
        call.hold();
    });
    let args = ["--host", &server.url(), "--cursor", "0", "--until-idle", "700ms"];
    let tap = tap(&[&args[..], &["--ping", "200ms", "--answer", "300ms"]].concat());
    server.called();
    // Longer than anything that is timed; the pipe is full meanwhile.
    std::thread::sleep(Duration::from_millis(2000));
    let done = tap.finish().ok();
    assert_eq!(done.seqs(1), (1..2000).collect::<Vec<u64>>());
    assert_eq!(server.cursors(), [Some(0)], "it was not given up");
    done.holds_together();
}

#[test]
fn private_addresses_are_not_reached_unless_allowed() {
    let server = Server::start_plain(|mut call: Call| call.hold());
    let done = bare(&["--host", &server.url()]).finish();
    assert_eq!(done.status.code(), Some(2));
    let expected = format!(
        "pds-tap: {} is no public address; --allow-private lets it be reached\n",
        server.name()
    );
    assert_eq!(done.stderr, expected);
    for url in ["ws://[::1]:1", "ws://[::ffff:127.0.0.1]:1", "ws://[fd00::1]:1"] {
        for option in ["--host", "--relay", "--discover"] {
            let done = bare(&[option, url]).finish();
            assert_eq!(done.status.code(), Some(2), "{option} {url}");
            assert!(done.stderr.contains("is no public address"), "{url}: {}", done.stderr);
        }
    }
    // A name is only known to be private after it was looked up.
    let url = format!("ws://localhost:{}", server.port);
    let done = bare(&["--host", &url]).finish();
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.contains("which is no public address; --allow-private"), "{}", done.stderr);
    assert_eq!(server.cursors(), []);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pds-tap"));
    let tap = start(command.args(["--host", &url]).env("SOVEREIGN_ALLOW_PRIVATE", "1"));
    server.called();
    tap.signal(Signal::SIGTERM);
    tap.finish().ok();
}

#[test]
fn misuse_is_told_with_2() {
    for (args, message) in [
        (&[][..], "no host to listen to"),
        (&["--host", "ftp://a.example"][..], "the scheme has to be"),
        (&["--host", "wss://a.example", "--relay", "a.example"][..], "as a PDS and as a relay"),
        (&["--host", "wss://a.example", "--cursor", "x"][..], "invalid value"),
    ] {
        let done = bare(args).finish();
        assert_eq!(done.status.code(), Some(2), "{args:?}");
        assert!(done.stderr.contains(message), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn bare_names_of_strangers_lead_to_no_odd_places() {
    let args = ["--hosts", "-"];
    let done = fed(&args, "127.0.0.1:5432\npds.example.com:22\nlocalhost\n").finish();
    assert_eq!(done.status.code(), Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("3 names are left out: a bare name has to be"), "{}", done.stderr);
}

#[test]
fn a_file_that_is_not_there_is_a_failure() {
    for option in ["--hosts", "--ca", "--deny"] {
        let args = ["--host", "wss://a.example", option, "/nonexistent/file"];
        let done = bare(&args).finish();
        assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
        assert!(done.stderr.starts_with("pds-tap: /nonexistent/file: "), "{}", done.stderr);
    }
}

#[test]
fn help_shows_an_example() {
    let mut tap = bare(&["--help"]);
    let mut text = String::new();
    tap.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let done = tap.finish().ok();
    assert!(text.contains("pds-tap --host wss://pds.example.com | frame-cat"), "{text}");
    assert!(done.stderr.is_empty());
    assert!(!done.frames.contains(&Seen::End));
}

#[test]
fn a_host_that_is_not_there_counts_as_silent() {
    // A port of which no other test can get hold.
    let done = tap(&["--host", "ws://127.0.0.1:1", "--until-idle", "200ms"]).finish().ok();
    assert_eq!(done.frames, [Seen::End]);
    assert!(done.stderr.contains("connecting: "), "{}", done.stderr);
}
