//! A host in a thread: real sockets, a list of events, and faults at chosen connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

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

pub type Socket = WebSocket<Box<dyn Wire>>;

/// One connection, after the handshake.
pub struct Call {
    /// Which connection it is, from 0.
    pub number: usize,
    /// The cursor that was asked for.
    pub cursor: Option<u64>,
    pub socket: Socket,
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

    /// Answers pings until the other side is gone.
    pub fn hold(&mut self) {
        while self.socket.read().is_ok() {}
    }

    /// Ends it with a reset: what was not read by then is gone.
    pub fn reset(self) {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let tcp = self.socket.get_ref().tcp();
        nix::sys::socket::setsockopt(tcp, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    }
}

pub struct Server {
    pub port: u16,
    cursors: Arc<Mutex<Vec<Option<u64>>>>,
    calls: Receiver<usize>,
}

impl Server {
    /// Serves each connection in a thread of its own.
    pub fn start(work: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self::start_with(None, work)
    }

    pub fn start_tls(
        config: Arc<ServerConfig>,
        work: impl Fn(Call) + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(config), work)
    }

    fn start_with(
        tls: Option<Arc<ServerConfig>>,
        work: impl Fn(Call) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cursors: Arc<Mutex<Vec<Option<u64>>>> = Arc::default();
        let (sender, calls) = channel();
        let (work, seen) = (Arc::new(work), Arc::clone(&cursors));
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let wire: Box<dyn Wire> = match &tls {
                    None => Box::new(tcp),
                    Some(config) => {
                        let tls = ServerConnection::new(Arc::clone(config)).unwrap();
                        Box::new(StreamOwned::new(tls, tcp))
                    }
                };
                let (work, seen, sender) = (Arc::clone(&work), Arc::clone(&seen), sender.clone());
                thread::spawn(move || answer(wire, &*work, &seen, &sender));
            }
        });
        Self { port, cursors, calls }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The cursors asked for so far, in order.
    pub fn cursors(&self) -> Vec<Option<u64>> {
        self.cursors.lock().unwrap().clone()
    }

    /// Waits for the next connection to have been made.
    pub fn called(&self) {
        self.calls.recv_timeout(Duration::from_secs(20)).expect("no connection in 20 s");
    }
}

fn answer(
    wire: Box<dyn Wire>,
    work: &(dyn Fn(Call) + Send + Sync),
    seen: &Mutex<Vec<Option<u64>>>,
    sender: &Sender<usize>,
) {
    let mut cursor = None;
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let callback = |request: &Request, response: Response| {
        assert_eq!(request.uri().path(), "/xrpc/com.atproto.sync.subscribeRepos");
        let query = request.uri().query().unwrap_or_default();
        cursor = query.strip_prefix("cursor=").map(|text| text.parse().unwrap());
        Ok(response)
    };
    let Ok(socket) = tungstenite::accept_hdr(wire, callback) else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(cursor);
        seen.len() - 1
    };
    let _ = sender.send(number);
    work(Call { number, cursor, socket });
}

/// A certificate for a name, and the file that makes it believed.
pub struct Authority {
    pub config: Arc<ServerConfig>,
    pub pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .unwrap();
        Self { config: Arc::new(config), pem: certificate.pem() }
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

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A CBOR head in its shortest form.
fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..24 => out.push(major | value as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, value as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
