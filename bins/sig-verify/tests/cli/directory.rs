//! A directory over HTTP that answers as a test tells it, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use atproto::Cid;
use keys::PublicKey;
use serde_json::json;

/// What it answers to a path.
#[derive(Clone)]
pub enum Reply {
    Json(String),
    Bytes(Vec<u8>),
    Status(u16),
    /// With `Retry-After` in seconds.
    Later(u64),
    /// To another place.
    Redirect(String),
    /// Nothing until [`Directory::let_go`].
    Hang(Box<Reply>),
}

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Vec<Reply>>>,
    asked: Mutex<Vec<String>>,
    free: Mutex<bool>,
    freed: Condvar,
}

pub struct Directory {
    pub url: String,
    pub port: u16,
    shared: Arc<Shared>,
}

impl Directory {
    pub fn start() -> Directory {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let of_threads = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&of_threads);
                std::thread::spawn(move || shared.serve(socket));
            }
        });
        Directory { url: format!("http://127.0.0.1:{port}"), port, shared }
    }

    /// Answers to a path: one reply after the other, the last one from then on.
    pub fn answer(&self, path: &str, replies: &[Reply]) {
        self.shared.replies.lock().unwrap().insert(path.into(), replies.into());
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == path).count()
    }

    /// Waits until a path was asked for.
    pub fn wait_for(&self, path: &str) {
        for _ in 0..6000 {
            if self.count(path) > 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{path} is never asked for; asked was {:?}", self.asked());
    }

    /// Lets the answers go that hang.
    pub fn let_go(&self) {
        *self.shared.free.lock().unwrap() = true;
        self.shared.freed.notify_all();
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream) {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line.trim_end() != "" {
            line.clear();
            let _ = reader.read_line(&mut line);
        }
        self.asked.lock().unwrap().push(path.clone());
        let reply = {
            let mut replies = self.replies.lock().unwrap();
            let queue = replies.entry(path).or_default();
            let first = queue.first().cloned().unwrap_or(Reply::Status(404));
            if queue.len() > 1 {
                queue.remove(0);
            }
            first
        };
        self.send(socket, reply);
    }

    fn send(&self, mut socket: TcpStream, reply: Reply) {
        let (status, more, body) = match reply {
            Reply::Bytes(body) => {
                let head = format!("content-length: {}\r\nconnection: close", body.len());
                let _ = write!(socket, "HTTP/1.1 200 X\r\n{head}\r\n\r\n");
                let _ = socket.write_all(&body);
                return;
            }
            Reply::Json(body) => (200, String::new(), body),
            Reply::Status(status) => (status, String::new(), "{}".into()),
            Reply::Later(seconds) => (429, format!("retry-after: {seconds}\r\n"), "{}".into()),
            Reply::Redirect(to) => (302, format!("location: {to}\r\n"), "{}".into()),
            Reply::Hang(reply) => {
                let free = self.free.lock().unwrap();
                drop(self.freed.wait_while(free, |free| !*free).unwrap());
                return self.send(socket, *reply);
            }
        };
        let _ = write!(
            socket,
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n{body}",
            body.len()
        );
    }
}

/// A DID document.
pub fn document(did: &str, key: PublicKey, pds: &str) -> Reply {
    let document = json!({
        "id": did,
        "verificationMethod": [{
            "id": format!("{did}#atproto"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key.to_multibase(),
        }],
        "service": [{
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": match pds.contains(':') {
                true => format!("http://{pds}"),
                false => format!("https://{pds}"),
            },
        }],
    });
    Reply::Json(document.to_string())
}

/// An audit log: keys, each from a time in unix ms on.
pub fn log(did: &str, keys: &[(u64, PublicKey)]) -> Reply {
    let name = |n: usize| Cid::dag_cbor(&[n as u8]).to_string();
    let time = |ms: &u64| {
        // These tests live around one midnight.
        let second = ms / 1000 % 86_400;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let day = if *ms < crate::harness::NOW_NS / 1_000_000 { "11-30" } else { "12-01" };
        format!("2026-{day}T{hour:02}:{minute:02}:{:02}.{:03}Z", second % 60, ms % 1000)
    };
    let operations: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, (from_ms, key))| {
            json!({
                "did": did,
                "cid": name(n),
                "nullified": false,
                "createdAt": time(from_ms),
                "operation": {
                    "type": "plc_operation",
                    "prev": n.checked_sub(1).map(name),
                    "sig": "x",
                    "rotationKeys": [],
                    "alsoKnownAs": [],
                    "verificationMethods": {"atproto": key.to_did_key()},
                    "services": {"atproto_pds": {
                        "type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example",
                    }},
                },
            })
        })
        .collect();
    Reply::Json(json!(operations).to_string())
}
