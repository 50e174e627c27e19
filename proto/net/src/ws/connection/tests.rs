use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ServerConnection, StreamOwned};
use tungstenite::{Message as Sent, WebSocket};

use super::*;
use crate::authority::Authority;

const LIMITS: Limits = Limits { message_bytes_max: 100_000, read_past_bytes_max: 1 << 30 };

/// Serves one connection in a thread.
fn serve(work: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || work(listener.accept().unwrap().0));
    port
}

fn accept<S: Read + Write>(stream: S) -> WebSocket<S> {
    tungstenite::accept(stream).unwrap()
}

fn start(endpoint: &str, tls: &Arc<ClientConfig>) -> Connection {
    let endpoint: Endpoint = endpoint.parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], endpoint.port));
    Connection::start(&endpoint, address, "/x", tls, LIMITS).unwrap()
}

fn wait(connection: &Connection) {
    let Interest { read, write } = connection.interest();
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, read);
    flags.set(PollFlags::POLLOUT, write);
    let mut polled = [PollFd::new(connection.as_fd(), flags)];
    assert_ne!(poll(&mut polled, PollTimeout::from(10_000u16)).unwrap(), 0, "no readiness in 10 s");
}

/// Everything up to the error that ends the connection.
fn drain(connection: &mut Connection) -> (Vec<String>, Error) {
    let mut scratch = Scratch::new();
    let mut messages = Vec::new();
    loop {
        if !connection.holds_data() {
            wait(connection);
        }
        let count = match connection.on_ready(&mut scratch) {
            Ok(Progress::Waiting) => 0,
            Ok(Progress::Opened(count) | Progress::Read(count)) => count,
            Err(error) => return (messages, error),
        };
        let mut input = scratch.bytes(count);
        loop {
            match connection.next(&mut input) {
                Ok(Some(Message::Binary(bytes))) => {
                    messages.push(format!("{} {:?}", bytes.len(), bytes.first()));
                }
                Ok(Some(Message::TooLong { bytes, .. })) => {
                    messages.push(format!("too long: {bytes}"));
                }
                Ok(Some(other)) => messages.push(format!("{other:?}")),
                Ok(None) => break,
                Err(error) => return (messages, error),
            }
        }
    }
}

/// Messages of many lengths, a flood that no buffer holds at once, and one over the limit.
fn send_all<S: Read + Write>(socket: &mut WebSocket<S>) {
    for n in 0..200u32 {
        socket.write(Sent::binary(vec![n as u8; (n * 97) as usize])).unwrap();
    }
    socket.write(Sent::binary(vec![9; 300_000])).unwrap();
    socket.write(Sent::Ping(vec![1, 2].into())).unwrap();
    socket.write(Sent::binary(vec![8; 100_000])).unwrap();
    socket.flush().unwrap();
}

fn all_sent() -> Vec<String> {
    let mut expected: Vec<String> =
        (0..200u32).map(|n| format!("{} {:?}", n * 97, (n > 0).then_some(n as u8))).collect();
    expected.push("too long: 300000".into());
    expected.push("Ping([1, 2])".into());
    expected.push("100000 Some(8)".into());
    expected
}

#[test]
fn messages_arrive_whole_and_in_order_and_pings_are_answered() {
    let port = serve(|socket| {
        let mut socket = accept(socket);
        send_all(&mut socket);
        assert_eq!(socket.read().unwrap(), Sent::Pong(vec![1, 2].into()));
        socket.close(None).unwrap();
        let _ = socket.flush();
    });
    let tls = Authority::new("localhost").client();
    let mut connection = start(&format!("ws://127.0.0.1:{port}"), &tls);
    let (mut messages, error) = drain(&mut connection);
    assert_eq!(messages.pop().unwrap(), "Close { code: None, reason: [] }");
    assert_eq!(messages, all_sent());
    assert!(matches!(error, Error::Cut), "{error:?}");
}

#[test]
fn tls_carries_the_same() {
    let authority = Authority::new("localhost");
    let config = Arc::clone(&authority.server);
    let port = serve(|socket| {
        let tls = ServerConnection::new(config).unwrap();
        let mut socket = accept(StreamOwned::new(tls, socket));
        send_all(&mut socket);
        assert_eq!(socket.read().unwrap(), Sent::Pong(vec![1, 2].into()));
    });
    let mut connection = start(&format!("wss://localhost:{port}"), &authority.client());
    let (messages, error) = drain(&mut connection);
    assert_eq!(messages, all_sent());
    assert!(matches!(error, Error::Cut), "{error:?}");
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new("other.example");
    let config = Arc::clone(&authority.server);
    let port = serve(|mut socket| {
        let mut tls = ServerConnection::new(config).unwrap();
        let _ = tls.complete_io(&mut socket);
    });
    let mut connection = start(&format!("wss://localhost:{port}"), &authority.client());
    let (messages, error) = drain(&mut connection);
    assert!(messages.is_empty());
    assert!(matches!(error, Error::Tls(rustls::Error::InvalidCertificate(_))), "{error:?}");
}

#[test]
fn an_unknown_authority_is_refused() {
    let authority = Authority::new("localhost");
    let port = serve(move |mut socket| {
        let mut tls = ServerConnection::new(Arc::clone(&authority.server)).unwrap();
        let _ = tls.complete_io(&mut socket);
    });
    let stranger = Authority::new("localhost");
    let mut connection = start(&format!("wss://localhost:{port}"), &stranger.client());
    let (_, error) = drain(&mut connection);
    assert!(matches!(error, Error::Tls(rustls::Error::InvalidCertificate(_))), "{error:?}");
}

#[test]
fn what_came_before_a_reset_is_handed_out() {
    let port = serve(|socket| {
        let mut socket = accept(socket);
        socket.send(Sent::binary(vec![5; 10])).unwrap();
        // The beginning of a frame, and the end of the connection.
        let raw = socket.get_mut();
        raw.write_all(&[0x82, 126, 1, 0, 7, 7]).unwrap();
        thread::sleep(Duration::from_millis(100));
    });
    let tls = Authority::new("localhost").client();
    let mut connection = start(&format!("ws://127.0.0.1:{port}"), &tls);
    let (messages, error) = drain(&mut connection);
    assert_eq!(messages, ["10 Some(5)"]);
    assert!(matches!(error, Error::Cut | Error::Io(_)), "{error:?}");
    assert!(connection.is_within_message());
}

#[test]
fn a_refusal_at_the_door_has_its_status() {
    let port = serve(|mut socket| {
        let mut request = [0; 1000];
        let _ = socket.read(&mut request).unwrap();
        socket.write_all(b"HTTP/1.1 429 Slow\r\nretry-after: 9\r\n\r\nno").unwrap();
    });
    let tls = Authority::new("localhost").client();
    let mut connection = start(&format!("ws://127.0.0.1:{port}"), &tls);
    let (_, error) = drain(&mut connection);
    let nine = Some(Duration::from_secs(9));
    assert!(
        matches!(error, Error::Status { status: 429, retry_after, .. } if retry_after == nine),
        "{error:?}"
    );
}

#[test]
fn nobody_listening_is_an_error_of_connecting() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tls = Authority::new("localhost").client();
    let mut connection = start(&format!("ws://127.0.0.1:{port}"), &tls);
    let (_, error) = drain(&mut connection);
    assert!(matches!(error, Error::Connect(_)), "{error:?}");
}

#[test]
fn a_control_frame_is_masked_with_changing_bytes() {
    let (first, second) = (control(Control::Ping, b"abc"), control(Control::Ping, b"abc"));
    assert_eq!((first[0], first[1], first.len()), (0x89, 0x83, 9));
    assert_ne!(first[2..6], second[2..6]);
    let plain: Vec<u8> = first[6..].iter().zip(&first[2..6]).map(|(a, b)| a ^ b).collect();
    assert_eq!(plain, b"abc");
}

/// How often memory is taken while so many events arrive over TLS, the handshake with them.
fn allocations(events: usize) -> u64 {
    let authority = Authority::new("localhost");
    let config = Arc::clone(&authority.server);
    let port = serve(move |socket| {
        let tls = ServerConnection::new(config).unwrap();
        let mut socket = accept(StreamOwned::new(tls, socket));
        for _ in 0..events {
            socket.send(Sent::binary(vec![7; 5400])).unwrap();
        }
        socket.close(None).unwrap();
        // Until the other side is gone, so that nothing is cut off.
        while socket.read().is_ok() {}
    });
    let mut connection = start(&format!("wss://localhost:{port}"), &authority.client());
    let mut scratch = Scratch::new();
    let (mut come, mut closed) = (0, false);
    let counted = allocation_counter::measure(|| {
        while !closed {
            if !connection.holds_data() {
                wait(&connection);
            }
            let count = match connection.on_ready(&mut scratch).unwrap() {
                Progress::Waiting => 0,
                Progress::Opened(count) | Progress::Read(count) => count,
            };
            let mut input = scratch.bytes(count);
            while let Some(message) = connection.next(&mut input).unwrap() {
                come += usize::from(matches!(message, Message::Binary(_)));
                closed |= matches!(message, Message::Close { .. });
            }
        }
    });
    assert_eq!(come, events);
    counted.count_total
}

#[test]
fn an_event_over_tls_costs_few_allocations() {
    let (few, many) = (allocations(1000), allocations(5000));
    let each = (many - few) as f64 / 4000.0;
    assert!(each <= 2.0, "{each} an event");
}
