use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::server::{Authority, Call, Server, error, event, events};
use crate::tap::{Seen, tap};

#[test]
fn after_a_reset_in_mid_frame_everything_arrives_once() {
    let server = Server::start(|mut call: Call| match call.number {
        0..5 => {
            let upto = 10 * (call.number as u64 + 1);
            call.send_above(&events(1..=upto));
            // The head of a frame of 300 bytes, and a little of it.
            let _ = call.socket.get_mut().write_all(&[0x82, 126, 1, 44, 1, 2, 3]);
            call.reset();
        }
        _ => {
            call.send_above(&events(1..=60));
            call.hold();
        }
    });
    let done = tap(&["--host", &server.url(), "--cursor", "0"]).stop_after(1, 60);
    assert!(done.events(1) == events(1..=60), "{:?}", done.seqs(1));
    assert_eq!(server.cursors().len(), 6);
    done.holds_together();
}

#[test]
fn a_host_that_was_silent_until_it_was_lost_is_asked_for_its_window() {
    let server = Server::start(|mut call: Call| match call.number {
        0 => call.reset(),
        _ => {
            call.send_above(&events(1..=3));
            call.hold();
        }
    });
    let done = tap(&["--host", &server.url()]).stop_after(1, 3);
    assert_eq!(server.cursors(), [None, Some(0)]);
    assert_eq!(done.seqs(1), [1, 2, 3]);
}

#[test]
fn a_peer_that_answers_nothing_is_given_up() {
    let server = Server::start(|mut call: Call| match call.number {
        0 => {
            call.send_above(&events(1..=3));
            // It neither reads nor closes.
            std::thread::sleep(Duration::from_secs(30));
        }
        _ => {
            call.send_above(&events(1..=5));
            call.hold();
        }
    });
    let args = ["--host", &server.url(), "--cursor", "0", "--ping", "200ms", "--answer", "1s"];
    let mut tap = tap(&args);
    tap.until(1, 5);
    // Some pings, which are answered.
    std::thread::sleep(Duration::from_millis(1500));
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(server.cursors(), [Some(0), Some(3)], "the one that answers pings is kept");
    assert_eq!(done.seqs(1), [1, 2, 3, 4, 5]);
    assert!(done.stderr.contains("the host has fallen silent"), "{}", done.stderr);
}

#[test]
fn garbage_is_refused_alone_counted_and_kept() {
    let server = Server::start(|mut call: Call| {
        call.send(&event(1, 100));
        call.send(b"garbage");
        call.send(&event(2, 100));
        call.socket.send(Message::text("not binary")).unwrap();
        call.send(&[]);
        call.send(&event(3, 100));
        // A whole event at the limit, and one byte over it.
        call.send(&event(4, 5_000_000 - event(4, 1_000_000).len() + 1_000_000));
        call.send(&vec![0; 5_000_001]);
        call.send(&event(5, 100));
        call.hold();
    });
    let dir = tempfile::tempdir().unwrap();
    let rejects = dir.path().join("rejects.frames");
    let file = rejects.to_str().unwrap();
    let args = ["--host", &server.url(), "--cursor", "0", "--rejects", file];
    let done = tap(&args).stop_after(1, 5);
    assert_eq!(done.seqs(1), [1, 2, 3, 4, 5]);
    assert_eq!(done.events(1)[3].1.len(), 5_000_000);
    assert_eq!(server.cursors(), [Some(0)], "the connection went on");
    assert!(done.stderr.contains("a message of 7 bytes that is no event"), "{}", done.stderr);
    assert!(done.stderr.contains("a message of 5000001 bytes, over the limit"), "{}", done.stderr);
    done.holds_together();
    let kept = crate::tap::frames(&std::fs::read(&rejects).unwrap());
    let bodies: Vec<&[u8]> = kept
        .iter()
        .filter_map(|frame| match frame {
            Seen::Event { body, .. } => Some(body.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!(bodies, [&b"garbage"[..], b"not binary", b""]);
    assert_eq!(kept.last(), Some(&Seen::End));
}

#[test]
fn an_error_frame_is_told_and_the_host_is_tried_again() {
    let server = Server::start(|mut call: Call| match call.number {
        0 => {
            call.send_above(&events(1..=3));
            call.send(&error("ConsumerTooSlow"));
            call.hold();
        }
        _ => {
            call.send_above(&events(1..=4));
            call.hold();
        }
    });
    let done = tap(&["--host", &server.url(), "--cursor", "0"]).stop_after(1, 4);
    assert_eq!(server.cursors(), [Some(0), Some(3)]);
    assert_eq!(done.seqs(1), [1, 2, 3, 4]);
    assert!(done.stderr.contains("the host says ConsumerTooSlow"), "{}", done.stderr);
}

/// A host that had come to seq 900 and has restarted at seq 1.
fn restarted() -> Server {
    Server::start(|mut call: Call| match (call.number, call.cursor) {
        (0, _) => {
            call.send_above(&events([899, 900]));
            call.socket.close(None).unwrap();
            call.hold();
        }
        (_, Some(900)) => {
            call.send(&error("FutureCursor"));
            call.hold();
        }
        _ => {
            call.send_above(&events(1..=3));
            call.hold();
        }
    })
}

#[test]
fn a_host_that_restarts_at_seq_1_gets_a_new_epoch() {
    let server = restarted();
    let done = tap(&["--host", &server.url(), "--reset-after", "100ms"]).stop_after(1, 3);
    assert_eq!(done.seqs(1), [899, 900, 1, 2, 3]);
    assert_eq!(done.mark(1), Some((1, 3)));
    let cursors = server.cursors();
    assert!(cursors.len() >= 5, "it was believed too soon: {cursors:?}");
    assert_eq!((cursors[0], cursors[1], *cursors.last().unwrap()), (None, Some(900), Some(0)));
    assert!(done.stderr.contains("it has begun anew, and is joined at its beginning, in epoch 1"));
    done.holds_together();
}

#[test]
fn a_host_that_restarts_can_wait_for_a_person() {
    let server = restarted();
    let tap = tap(&["--host", &server.url(), "--on-reset", "stop"]);
    tap.says("It is left alone");
    // It would be tried again within this.
    std::thread::sleep(Duration::from_millis(200));
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(done.seqs(1), [899, 900]);
    assert_eq!(server.cursors(), [None, Some(900)]);
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new("other.example");
    let server = Server::start_tls(Arc::clone(&authority.config), |mut call: Call| call.hold());
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let url = format!("wss://localhost:{}", server.port);
    let args = ["--host", &url, "--ca", ca.to_str().unwrap(), "--until-idle", "300ms"];
    let done = tap(&args).finish().ok();
    assert_eq!(done.frames, [Seen::End]);
    assert!(done.stderr.contains("certificate"), "{}", done.stderr);
    assert_eq!(server.cursors(), []);
}

#[test]
fn a_host_that_wants_quiet_gets_it_and_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answers: [&[u8]; 2] = [
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\n\r\n",
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        ];
        let mut times = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            times.push(std::time::Instant::now());
            socket.write_all(answer).unwrap();
        }
        let (socket, _) = listener.accept().unwrap();
        let mut socket = tungstenite::accept(socket).unwrap();
        socket.send(Message::binary(event(1, 10))).unwrap();
        while socket.read().is_ok() {}
        times[1] - times[0]
    });
    let done = tap(&["--host", &url]).stop_after(1, 1);
    assert_eq!(done.seqs(1), [1]);
    assert!(server.join().unwrap() >= Duration::from_secs(1), "it was not left in quiet");
    assert!(done.stderr.contains("status 429"), "{}", done.stderr);
}

#[test]
fn a_network_that_goes_away_and_comes_back_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |listener: TcpListener, upto: u64| {
        let (socket, _) = listener.accept().unwrap();
        drop(listener);
        let mut socket = tungstenite::accept(socket).unwrap();
        for seq in upto - 5..=upto {
            socket.send(Message::binary(event(seq, 10))).unwrap();
        }
        socket
    };
    let server = std::thread::spawn(move || {
        drop(serve(listener, 6));
        // Nobody listens for a while.
        std::thread::sleep(Duration::from_millis(300));
        let mut socket = serve(TcpListener::bind(address).unwrap(), 11);
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{address}");
    let done = tap(&["--host", &url, "--cursor", "0"]).stop_after(1, 11);
    assert_eq!(done.seqs(1), (1..=11).collect::<Vec<u64>>());
    done.holds_together();
    server.join().unwrap();
}
