use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::server::{Call, Server, error, event, events};
use crate::tap::{Seen, tap};

#[test]
fn after_a_reset_in_mid_frame_everything_arrives_once() {
    let server = Server::start(|mut call: Call| match call.number {
        0..5 => {
            let upto = 10 * (call.number as u64 + 1);
            call.send_above(&events(1..=upto));
            // The head of a frame of 300 bytes, and a little of it.
            call.send_raw(&[0x82, 126, 1, 44, 1, 2, 3]).unwrap();
            if call.number % 2 == 1 {
                // And the head of a record of TLS, and a little of that.
                let mut tcp = call.socket.get_ref().wire.tcp();
                tcp.write_all(&[23, 3, 3, 1, 44, 9, 9]).unwrap();
            }
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
        0 => {
            // A reset takes away what was not read: the tap has to have seen that it is open.
            call.socket.send(Message::Ping(Default::default())).unwrap();
            while !matches!(call.socket.read(), Ok(Message::Pong(_)) | Err(_)) {}
            call.reset();
        }
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
fn a_message_of_100_mb_is_read_past_in_little_memory() {
    let server = Server::start(|mut call: Call| {
        call.send(&event(1, 100));
        let mut head = vec![0x82, 127];
        head.extend_from_slice(&100_000_000u64.to_be_bytes());
        call.send_raw(&head).unwrap();
        for _ in 0..100 {
            call.send_raw(&[7; 1_000_000]).unwrap();
        }
        call.send(&event(2, 100));
        call.hold();
    });
    let mut tap = tap(&["--host", &server.url(), "--cursor", "0"]);
    tap.until(1, 1);
    let (before, _) = tap.memory();
    tap.until(1, 2);
    let (_, most) = tap.memory();
    assert!(most < before + 16_000, "{most} KiB, and {before} KiB before");
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(done.seqs(1), [1, 2]);
    assert_eq!(server.cursors(), [Some(0)], "the connection went on");
    assert!(
        done.stderr.contains("a message of 100000000 bytes, over the limit"),
        "{}",
        done.stderr
    );
    done.holds_together();
}

#[test]
fn a_message_that_drips_is_given_up_and_asked_for_again() {
    let server = Server::start(|mut call: Call| match call.number {
        0 => {
            call.send_above(&events(1..=3));
            let whole = event(4, 100_000);
            let mut head = vec![0x82, 127];
            head.extend_from_slice(&(whole.len() as u64).to_be_bytes());
            call.send_raw(&head).unwrap();
            for byte in whole {
                if call.send_raw(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        _ => {
            call.send_above(&events(1..=3));
            call.send(&event(4, 100_000));
            call.hold();
        }
    });
    let args = ["--host", &server.url(), "--cursor", "0", "--grace", "500ms"];
    let done = tap(&args).stop_after(1, 4);
    assert_eq!(done.seqs(1), [1, 2, 3, 4]);
    assert_eq!(server.cursors(), [Some(0), Some(3)], "{}", done.stderr);
    assert!(done.stderr.contains("the host sends too slowly"), "{}", done.stderr);
    done.holds_together();
}

#[test]
fn compressed_frames_were_not_agreed_on_and_cost_nothing_but_the_connection() {
    let server = Server::start(|mut call: Call| match call.number {
        0 => {
            call.send_above(&events(1..=3));
            // A whole binary frame with the bit of permessage-deflate.
            call.send_raw(&[0x82 | 0x40, 3, 1, 2, 3]).unwrap();
            call.hold();
        }
        _ => {
            call.send_above(&events(1..=5));
            call.hold();
        }
    });
    let done = tap(&["--host", &server.url(), "--cursor", "0"]).stop_after(1, 5);
    assert!(done.events(1) == events(1..=5), "{:?}", done.seqs(1));
    assert_eq!(server.cursors(), [Some(0), Some(3)]);
    assert!(done.stderr.contains("such as a compressed one"), "{}", done.stderr);
    done.holds_together();
}

#[test]
fn an_event_that_is_too_long_moves_the_mark_so_that_it_does_not_come_again() {
    let server = Server::start(|mut call: Call| {
        call.send_above(&events(1..=3));
        if call.cursor < Some(4) {
            call.send(&event(4, 6_000_000));
            // Its reader is through with it when it answers.
            call.socket.send(Message::Ping(Default::default())).unwrap();
            while !matches!(call.socket.read(), Ok(Message::Pong(_)) | Err(_)) {}
            return call.reset();
        }
        call.send_above(&events(5..=6));
        call.hold();
    });
    let mut tap = tap(&["--host", &server.url(), "--cursor", "0"]);
    tap.until(1, 6);
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(done.seqs(1), [1, 2, 3, 5, 6]);
    assert_eq!(server.cursors(), [Some(0), Some(4)]);
    assert_eq!(done.stderr.matches("over the limit of 5000000; read past").count(), 1);
    assert_eq!(done.mark(1), Some((0, 6)));
}
