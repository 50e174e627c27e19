use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

const NAME: &str = "_atproto.alice.test";
const TIMEOUT: Duration = Duration::from_secs(20);

/// A question as it came, and how.
#[derive(Clone)]
struct Asked {
    message: Vec<u8>,
    from: SocketAddr,
    tcp: bool,
}

/// A name server that answers each question with the messages that a function makes of it.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(answer: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer = Arc::new(answer);
        let (log, of_udp) = (Arc::clone(&asked), Arc::clone(&answer));
        thread::spawn(move || {
            let mut room = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut room) {
                let asked = Asked { message: room[..length].to_vec(), from, tcp: false };
                log.lock().unwrap().push(asked.clone());
                for message in of_udp(&asked) {
                    let _ = udp.send_to(&message, from);
                }
            }
        });
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            while let Ok((mut socket, from)) = tcp.accept() {
                let mut length = [0; 2];
                if socket.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut message = vec![0; u16::from_be_bytes(length).into()];
                socket.read_exact(&mut message).unwrap();
                let asked = Asked { message, from, tcp: true };
                log.lock().unwrap().push(asked.clone());
                for message in answer(&asked) {
                    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                    let _ = socket.write_all(&[&length[..], &message].concat());
                }
            }
        });
        Server { address, asked }
    }

    fn records(&self) -> Result<Vec<Vec<u8>>, Error> {
        TxtResolver::new(Some(self.address), TIMEOUT).unwrap().txt(NAME)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Both kinds of socket on one port.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

const TRUNCATED: u16 = 0x0200;
const NOT_THERE: u16 = 3;
const FAILED: u16 = 2;

/// An answer with these flags and TXT records, each of these parts.
fn reply(asked: &Asked, flags: u16, records: &[&[&[u8]]]) -> Vec<u8> {
    let question_end = 12 + asked.message[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut out = asked.message[..2].to_vec();
    out.extend((0x8180 | flags).to_be_bytes());
    out.extend([0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    out.extend(&asked.message[12..question_end]);
    for parts in records {
        let data: Vec<u8> = parts
            .iter()
            .flat_map(|part| [&[u8::try_from(part.len()).unwrap()][..], part].concat())
            .collect();
        out.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    out
}

#[test]
fn records_come_back_with_their_parts_put_together() {
    let server = Server::start(|asked| {
        vec![reply(asked, 0, &[&[b"did=did:plc:", b"x"], &[b"v=spf1"], &[b"\xff"]])]
    });
    let expected: [&[u8]; 3] = [b"did=did:plc:x", b"v=spf1", b"\xff"];
    assert_eq!(server.records().unwrap(), expected);
    let asked = &server.asked()[0].message;
    let question = b"\x08_atproto\x05alice\x04test\x00\x00\x10\x00\x01";
    assert_eq!(&asked[12..12 + question.len()], question, "the whole name, and TXT");
}

#[test]
fn a_name_that_is_not_there_has_no_records() {
    let server = Server::start(|asked| vec![reply(asked, NOT_THERE, &[])]);
    assert!(server.records().unwrap().is_empty());
    let server = Server::start(|asked| vec![reply(asked, 0, &[])]);
    assert!(server.records().unwrap().is_empty());
}

#[test]
fn a_server_that_cannot_answer_is_an_error() {
    let server = Server::start(|asked| vec![reply(asked, FAILED, &[])]);
    let refused = server.records();
    assert!(matches!(refused, Err(Error::Dns { .. })), "{refused:?}");
}

#[test]
fn an_answer_that_was_cut_short_is_asked_for_over_tcp() {
    let server = Server::start(|asked| {
        let flags = if asked.tcp { 0 } else { TRUNCATED };
        vec![reply(asked, flags, if asked.tcp { &[&[b"whole"]] } else { &[] })]
    });
    assert_eq!(server.records().unwrap(), [b"whole"]);
    assert!(server.asked().iter().any(|asked| asked.tcp));
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    let server = Server::start(|asked| {
        let good = reply(asked, 0, &[&[b"good"]]);
        let mut other_id = reply(asked, 0, &[&[b"id"]]);
        other_id[0] ^= 1;
        let mut other_name = reply(asked, 0, &[&[b"name"]]);
        other_name[13] ^= 2;
        let mut other_type = reply(asked, 0, &[&[b"type"]]);
        let name_end = 12 + other_type[12..].iter().position(|byte| *byte == 0).unwrap();
        other_type[name_end + 2] = 1;
        vec![vec![], vec![0], other_id, other_name, other_type, good]
    });
    assert_eq!(server.records().unwrap(), [b"good"]);
}

#[test]
fn ids_and_ports_are_not_to_be_guessed() {
    let server = Server::start(|asked| vec![reply(asked, 0, &[&[b"x"]])]);
    let resolver = TxtResolver::new(Some(server.address), TIMEOUT).unwrap();
    for number in 0..8 {
        resolver.txt(&format!("{number}.test")).unwrap();
    }
    let asked = server.asked();
    let mut ids: Vec<&[u8]> = asked.iter().map(|asked| &asked.message[..2]).collect();
    ids.sort();
    ids.dedup();
    let mut ports: Vec<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    ports.sort();
    ports.dedup();
    assert!(ids.len() > 4 && ports.len() > 4, "{ids:?} {ports:?}");
}

type Damage = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

#[test]
fn damaged_answers_are_errors_and_end_in_time() {
    // Cut short, with a count that is too high, a name that points at itself, and a record longer
    // than the message.
    let damage: Vec<Damage> = vec![
        Box::new(|out| out.truncate(20)),
        Box::new(|out| out.truncate(out.len() - 1)),
        Box::new(|out| out[7] = 200),
        Box::new(|out| {
            let at = out.windows(2).position(|two| two == [0xc0, 12]).unwrap();
            out[at + 1] = u8::try_from(at).unwrap();
        }),
        Box::new(|out| {
            let at = out.len() - 4;
            out[at - 2..at].copy_from_slice(&[0xff, 0xff]);
        }),
    ];
    let kinds = damage.len();
    let turn = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        let mut out = reply(asked, 0, &[&[b"abc"]]);
        damage[turn.fetch_add(1, Ordering::Relaxed) % kinds](&mut out);
        vec![out]
    });
    let resolver = TxtResolver::new(Some(server.address), Duration::from_secs(3)).unwrap();
    for _ in 0..kinds {
        // A damaged answer is no answer; that there is none is not what it may say.
        assert_ne!(resolver.txt(NAME).ok(), Some(Vec::new()));
    }
}

#[test]
fn a_silent_server_is_asked_again_and_then_given_up() {
    let server = Server::start(|_| Vec::new());
    let resolver = TxtResolver::new(Some(server.address), Duration::from_millis(900)).unwrap();
    let refused = resolver.txt(NAME);
    assert!(matches!(refused, Err(Error::Timeout)), "{refused:?}");
    assert!(server.asked().len() > 1);
}
