//! A host in a thread: real sockets and TLS, a list of events, and faults at chosen connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use atproto::cbor::write::{head, text};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

/// Where hosts serve events.
const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// A socket with or without TLS.
pub trait Wire: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// A wire of which the beginning has been read.
pub struct Rewound {
    head: std::io::Cursor<Vec<u8>>,
    pub wire: Box<dyn Wire>,
}

impl Read for Rewound {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.head.read(buffer)? {
            0 => self.wire.read(buffer),
            count => Ok(count),
        }
    }
}

impl Write for Rewound {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.wire.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.wire.flush()
    }
}

/// A connection that has been accepted, and nothing more.
pub struct Visit {
    /// Which connection it is, from 0.
    pub number: usize,
    pub tcp: TcpStream,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<ServerConfig>>,
    log: Arc<CallLog>,
}

/// A connection on which something was asked for.
pub struct Asked {
    pub path: String,
    number: usize,
    pub wire: Rewound,
    log: Arc<CallLog>,
}

/// A connection, after the WebSocket's handshake.
pub struct Call {
    /// Which connection it is, from 0.
    pub number: usize,
    /// The cursor that was asked for.
    pub cursor: Option<u64>,
    pub socket: WebSocket<Rewound>,
}

struct CallLog {
    cursors: Mutex<Vec<Option<u64>>>,
    sender: Mutex<Sender<usize>>,
}

impl Visit {
    /// Reads the head of the request. `None` when that fails.
    pub fn asked(self) -> Option<Asked> {
        let mut wire: Box<dyn Wire> = match self.tls {
            None => Box::new(self.tcp),
            Some(config) => {
                let tls = ServerConnection::new(config).unwrap();
                Box::new(StreamOwned::new(tls, self.tcp))
            }
        };
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            wire.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let text = String::from_utf8(head.clone()).unwrap();
        let path = text.split(' ').nth(1).unwrap().to_owned();
        let wire = Rewound { head: std::io::Cursor::new(head), wire };
        Some(Asked { path, number: self.number, wire, log: self.log })
    }

    /// A host that works: whoever asks for events gets a WebSocket.
    pub fn call(self) -> Option<Call> {
        self.asked()?.call(None)
    }
}

impl Asked {
    /// Opens the WebSocket, as a server of that name.
    pub fn call(self, server: Option<&str>) -> Option<Call> {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        assert_eq!(path, PATH);
        let cursor = query.strip_prefix("cursor=").map(|text| text.parse().unwrap());
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let named = |_: &Request, mut response: Response| {
            if let Some(server) = server {
                let value = HeaderValue::from_str(server).unwrap();
                response.headers_mut().insert("server", value);
            }
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(self.wire, named).ok()?;
        self.log.cursors.lock().unwrap().push(cursor);
        let _ = self.log.sender.lock().unwrap().send(self.number);
        Some(Call { number: self.number, cursor, socket })
    }

    /// Answers over HTTP and closes.
    pub fn reply(mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
        let _ = self.wire.write_all((head + body).as_bytes());
        let _ = self.wire.flush();
    }
}

impl Call {
    /// Sends the events above the cursor.
    pub fn send_above(&mut self, events: &[(u64, Vec<u8>)]) {
        let cursor = self.cursor.unwrap_or(0);
        for (seq, bytes) in events {
            if *seq > cursor {
                self.send(bytes);
            }
        }
        let _ = self.socket.flush();
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write(Message::binary(bytes.to_vec()));
        let _ = self.socket.flush();
    }

    /// Sends bytes that need not be a frame.
    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.get_mut().write_all(bytes)?;
        self.socket.get_mut().flush()
    }

    /// Answers pings until the other side is gone.
    pub fn hold(&mut self) {
        while self.socket.read().is_ok() {}
    }

    /// Ends it with a reset: what was not read by then is gone.
    pub fn reset(self) {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let tcp = self.socket.get_ref().wire.tcp();
        nix::sys::socket::setsockopt(tcp, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    }

    /// Sends the events of a list above the cursor, also those that are added later, and answers
    /// pings, until the other side is gone.
    pub fn follow(mut self, list: &Events) {
        let tcp = self.socket.get_ref().wire.tcp();
        tcp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut last = self.cursor.unwrap_or(0);
        loop {
            let fresh: Vec<_> =
                list.lock().unwrap().iter().filter(|(seq, _)| *seq > last).cloned().collect();
            for (seq, bytes) in fresh {
                self.send(&bytes);
                last = seq;
            }
            match self.socket.read() {
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Events of a host, to which more can be added.
pub type Events = Mutex<Vec<(u64, Vec<u8>)>>;

pub struct Server {
    pub port: u16,
    tls: bool,
    log: Arc<CallLog>,
    calls: Receiver<usize>,
}

impl Server {
    /// Speaks TLS, and serves each connection in a thread of its own.
    pub fn start(work: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self::visited(Some(Arc::clone(&LOCAL.0.config)), move |visit| {
            if let Some(call) = visit.call() {
                work(call);
            }
        })
    }

    /// As [`Server::start`], without TLS.
    pub fn start_plain(work: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self::visited(None, move |visit| {
            if let Some(call) = visit.call() {
                work(call);
            }
        })
    }

    /// Gives each connection to the work as soon as it is accepted.
    pub fn start_visited(work: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        Self::visited(Some(Arc::clone(&LOCAL.0.config)), work)
    }

    /// As [`Server::start_visited`], with another certificate, or without TLS.
    pub fn visited(
        tls: Option<Arc<ServerConfig>>,
        work: impl Fn(Visit) + Send + Sync + 'static,
    ) -> Self {
        Self::visited_at("127.0.0.1:0", tls, work)
    }

    /// As [`Server::visited`], at this address.
    pub fn visited_at(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        work: impl Fn(Visit) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, calls) = channel();
        let log = Arc::new(CallLog { cursors: Mutex::default(), sender: Mutex::new(sender) });
        let (is_tls, seen) = (tls.is_some(), Arc::clone(&log));
        let work = Arc::new(work);
        thread::spawn(move || {
            for (number, tcp) in listener.incoming().map_while(Result::ok).enumerate() {
                let visit = Visit { number, tcp, tls: tls.clone(), log: Arc::clone(&seen) };
                let work = Arc::clone(&work);
                thread::spawn(move || work(visit));
            }
        });
        Self { port, tls: is_tls, log, calls }
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The cursors asked for so far, in order.
    pub fn cursors(&self) -> Vec<Option<u64>> {
        self.log.cursors.lock().unwrap().clone()
    }

    /// Waits for the next WebSocket to have been opened.
    pub fn called(&self) {
        self.calls.recv_timeout(Duration::from_secs(20)).expect("no connection in 20 s");
    }
}

/// A certificate for names, and the file that makes it believed.
pub struct Authority {
    pub config: Arc<ServerConfig>,
    pub pem: String,
    key: rcgen::KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub fn new(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    pub fn with(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        let config = builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret(&key))
            .unwrap();
        Self { config: Arc::new(config), pem: certificate.pem(), key, certificate }
    }

    /// The same certificate on a server that wants to see one of the client, too.
    pub fn asking_for_a_certificate(&self) -> Arc<ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
                .build()
                .unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![self.certificate.der().clone()];
        let config = builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, secret(&self.key))
            .unwrap();
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap()
}

fn secret(key: &rcgen::KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// The certificate of all hosts here, and the file by which the tap believes it.
pub static LOCAL: LazyLock<(Authority, PathBuf)> = LazyLock::new(|| {
    let authority =
        Authority::new(&["localhost", "127.0.0.1", "::1", "*.evil.test", "pds.good.test"]);
    let name = format!("pds-tap-{}.pem", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, &authority.pem).unwrap();
    (authority, path)
});

/// A network between the tap and a host, which can drop what it carries without a word.
pub struct Net {
    pub port: u16,
    up: Arc<Mutex<bool>>,
}

impl Net {
    pub fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, far) = (Arc::new(Mutex::new(true)), server.port);
        let state = Arc::clone(&up);
        thread::spawn(move || {
            let mut lost = Vec::new();
            for near in listener.incoming().map_while(Result::ok) {
                if !*state.lock().unwrap() {
                    // It seems to stand, and nothing comes.
                    lost.push(near);
                    continue;
                }
                let far = TcpStream::connect(("127.0.0.1", far)).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&state);
                    thread::spawn(move || carry(from, to, &state));
                }
            }
        });
        Self { port, up }
    }

    pub fn url(&self) -> String {
        format!("wss://127.0.0.1:{}", self.port)
    }

    /// From here on everything is lost: what stands, for good; what is begun, until it is up again.
    pub fn set(&self, up: bool) {
        *self.up.lock().unwrap() = up;
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, up: &Mutex<bool>) {
    let mut buffer = [0; 16 << 10];
    let mut lost = false;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // Held while it is carried, so that nothing is carried after the network went down.
        let up = up.lock().unwrap();
        lost |= !*up;
        if !lost && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if !lost {
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}

/// An event of that seq: a header, and a body with so many bytes of blocks.
pub fn event(seq: u64, bytes: usize) -> Vec<u8> {
    let mut out = b"\xa2\x61t\x67#commit\x62op\x01\xa2\x63seq".to_vec();
    head(&mut out, 0, seq);
    out.extend_from_slice(b"\x66blocks");
    head(&mut out, 2, bytes as u64);
    out.resize(out.len() + bytes, seq as u8);
    out
}

/// An event of that seq about an account.
pub fn event_of(seq: u64, did: &str) -> Vec<u8> {
    let mut out = b"\xa2\x61t\x67#commit\x62op\x01\xa2\x63seq".to_vec();
    head(&mut out, 0, seq);
    out.extend_from_slice(b"\x64repo");
    text(&mut out, did);
    out
}

pub fn events(seqs: impl IntoIterator<Item = u64>) -> Vec<(u64, Vec<u8>)> {
    seqs.into_iter().map(|seq| (seq, event(seq, (seq as usize * 37) % 9000))).collect()
}

pub fn info(name: &str) -> Vec<u8> {
    let mut out = b"\xa2\x61t\x65#info\x62op\x01\xa1\x64name".to_vec();
    text(&mut out, name);
    out
}

pub fn error(name: &str) -> Vec<u8> {
    let mut out = b"\xa1\x62op\x20\xa1\x65error".to_vec();
    text(&mut out, name);
    out
}
