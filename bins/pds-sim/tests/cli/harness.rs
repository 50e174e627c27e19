//! A running `pds-sim`, and clients that share no code with it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use serde_ipld_dagcbor::de::Deserializer;
use serde_json::Value;
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Sim {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    pub dir: TempDir,
    pub ready: Value,
}

impl Sim {
    /// Starts it; `DIR` in an argument is a directory of its own.
    pub fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let place = dir.path().to_str().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pds-sim"))
            .args(args.iter().map(|arg| arg.replace("DIR", place)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line:?}"));
        Self { child, out, dir, ready }
    }

    pub fn host(&self, number: usize) -> &str {
        self.ready["hosts"][number].as_str().unwrap()
    }

    pub fn plc(&self) -> &str {
        self.ready["plc"].as_str().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a host answers to an XRPC query.
    pub fn xrpc(&self, host: usize, query: &str) -> Answer {
        get(&self.host(host).replace("ws://", "http://"), &format!("/xrpc/{query}"))
    }

    /// Ends it by SIGTERM and returns how it ended and what else it printed.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut rest = String::new();
                self.out.read_to_string(&mut rest).unwrap();
                return (status, rest);
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The truth file, once it is there.
    pub fn truth(&self) -> Vec<Value> {
        let path = self.path("truth.jsonl");
        wait_until(|| path.exists());
        json_lines(&std::fs::read_to_string(path).unwrap())
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn wait_until(mut fact: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !fact() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to pass");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/refnet");
    path.join(name).to_str().unwrap().to_owned()
}

/// The events of a capture.
pub fn capture(name: &str) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(fixture(name)).unwrap();
    let bytes = zstd::stream::decode_all(file).unwrap();
    let mut rest = &bytes[..];
    let mut events = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (event, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        events.push(event.to_vec());
        rest = behind;
    }
    events
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One GET over a connection of its own.
pub fn get(url: &str, path: &str) -> Answer {
    let address = url.strip_prefix("http://").unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// A subscription.
pub struct Client<S>(WebSocket<S>);

pub fn subscribe(url: &str, cursor: Option<i64>) -> Client<TcpStream> {
    let tcp = TcpStream::connect(url.strip_prefix("ws://").unwrap()).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(tungstenite::client(request(url, cursor), tcp).unwrap().0)
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A subscription over TLS that trusts the authority in `ca`, or why there is none.
pub fn subscribe_tls(url: &str, ca: &Path, cursor: Option<i64>) -> Result<Client<Tls>, String> {
    let address = url.strip_prefix("wss://").unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let ip = address.split(':').next().unwrap().to_owned();
    let name = ServerName::try_from(ip).unwrap();
    let tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    // Where nobody is at home, and where somebody leaves in this moment.
    let tcp = TcpStream::connect(address).map_err(|error| error.to_string())?;
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(request(url, cursor), rustls::StreamOwned::new(tls, tcp))
        .map(|(socket, _)| Client(socket))
        .map_err(|error| error.to_string())
}

fn request(url: &str, cursor: Option<i64>) -> String {
    let cursor = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    format!("{url}/xrpc/com.atproto.sync.subscribeRepos{cursor}")
}

impl<S: Read + Write> Client<S> {
    /// The next message, or nothing when the other side is gone or says good-bye.
    pub fn try_next(&mut self) -> Option<Vec<u8>> {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "pings and no events");
            match self.0.read() {
                Ok(Message::Binary(bytes)) => return Some(bytes.to_vec()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub fn next(&mut self) -> Vec<u8> {
        self.try_next().expect("the stream ended")
    }

    pub fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Says good-bye and waits for the answer.
    pub fn close(mut self) {
        self.0.close(None).unwrap();
        while self.0.read().is_ok() {}
    }
}

/// An event taken apart: `t` (or `op` for an error) and the body.
pub struct Event {
    pub t: String,
    pub body: BTreeMap<String, Ipld>,
}

pub fn event(bytes: &[u8]) -> Event {
    let mut rest = Deserializer::from_slice(bytes);
    let Ipld::Map(header) = Ipld::deserialize(&mut rest).unwrap() else { panic!("no header") };
    let Ipld::Map(body) = Ipld::deserialize(&mut rest).unwrap() else { panic!("no body") };
    let t = match (&header["op"], header.get("t")) {
        (Ipld::Integer(1), Some(Ipld::String(t))) => t.clone(),
        (Ipld::Integer(op), None) => op.to_string(),
        other => panic!("{other:?}"),
    };
    Event { t, body }
}

impl Event {
    pub fn text(&self, name: &str) -> &str {
        text(&self.body, name)
    }

    pub fn seq(&self) -> i64 {
        match self.body["seq"] {
            Ipld::Integer(seq) => i64::try_from(seq).unwrap(),
            _ => panic!("no seq"),
        }
    }

    pub fn did(&self) -> &str {
        self.text(if self.t == "#commit" { "repo" } else { "did" })
    }

    pub fn blocks(&self) -> Blocks {
        let Ipld::Bytes(car) = &self.body["blocks"] else { panic!("no blocks") };
        blocks(car)
    }
}

pub fn text<'a>(map: &'a BTreeMap<String, Ipld>, name: &str) -> &'a str {
    match map.get(name) {
        Some(Ipld::String(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

pub fn link(map: &BTreeMap<String, Ipld>, name: &str) -> Option<Cid> {
    match map.get(name) {
        Some(Ipld::Link(cid)) => Some(*cid),
        None | Some(Ipld::Null) => None,
        other => panic!("{name}: {other:?}"),
    }
}

/// A CAR file.
pub struct Blocks {
    pub root: Cid,
    pub blocks: Vec<(Cid, Vec<u8>)>,
}

pub fn blocks(car: &[u8]) -> Blocks {
    let (header, mut rest) = section(car);
    let Ipld::Map(header) = serde_ipld_dagcbor::from_slice(header).unwrap() else { panic!() };
    let Ipld::List(roots) = &header["roots"] else { panic!("no roots") };
    let Ipld::Link(root) = roots[0] else { panic!("no root") };
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (block, behind) = section(rest);
        blocks.push((Cid::try_from(&block[..36]).unwrap(), block[36..].to_vec()));
        rest = behind;
    }
    Blocks { root, blocks }
}

fn section(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (mut length, mut at) = (0usize, 0);
    loop {
        length |= usize::from(bytes[at] & 0x7f) << (7 * at);
        at += 1;
        if bytes[at - 1] < 0x80 {
            return bytes[at..].split_at(length);
        }
    }
}
