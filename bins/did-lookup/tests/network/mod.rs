//! A small network on loopback: a name server, hosts with TLS, a PLC directory. Each answers what
//! a test tells it to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// The names that the hosts have a certificate for.
const HOSTS: [&str; 4] = ["alice.test", "bob.test", "carol.test", "other.test"];

/// What the name server says of a name.
#[derive(Clone)]
pub enum Records {
    Txt(Vec<String>),
    /// SERVFAIL.
    Failure,
}

/// What a host or the directory answers: status, `Location`, body.
#[derive(Clone)]
pub struct Page(pub u16, pub Option<String>, pub Vec<u8>);

#[derive(Default)]
struct Shared {
    records: Mutex<HashMap<String, Records>>,
    pages: Mutex<HashMap<String, Page>>,
    asked: Mutex<Vec<String>>,
}

pub struct Network {
    shared: Arc<Shared>,
    folder: TempDir,
    pub dns: SocketAddr,
    pub hosts: SocketAddr,
    pub plc: SocketAddr,
}

impl Network {
    pub fn start() -> Network {
        let shared = Arc::new(Shared::default());
        let folder = tempfile::tempdir().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hosts, plc) = (listen(), listen());
        let network = Network {
            shared: Arc::clone(&shared),
            dns: udp.local_addr().unwrap(),
            hosts: hosts.local_addr().unwrap(),
            plc: plc.local_addr().unwrap(),
            folder,
        };
        let config = certificate(&network.ca());
        let of_names = Arc::clone(&shared);
        thread::spawn(move || of_names.answer_names(&udp));
        let of_hosts = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in hosts.incoming().flatten() {
                let (shared, config) = (Arc::clone(&of_hosts), Arc::clone(&config));
                thread::spawn(move || {
                    let tls = ServerConnection::new(config).unwrap();
                    shared.serve(StreamOwned::new(tls, socket), true);
                });
            }
        });
        thread::spawn(move || {
            for socket in plc.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(socket, false));
            }
        });
        network
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The options that lead into this network.
    pub fn args(&self) -> Vec<String> {
        let ca = self.ca().to_str().unwrap().to_owned();
        [
            "--allow-private",
            &format!("--dns={}", self.dns),
            &format!("--connect-to={}", self.hosts),
            &format!("--plc=http://{}/", self.plc),
            &format!("--ca={ca}"),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// TXT records of `_atproto.` and a handle.
    pub fn txt(&self, handle: &str, records: &[&str]) {
        let records = records.iter().map(|record| (*record).to_owned()).collect();
        self.records(handle, Records::Txt(records));
    }

    pub fn records(&self, handle: &str, records: Records) {
        self.shared.records.lock().unwrap().insert(format!("_atproto.{handle}"), records);
    }

    /// What a host says whom its name names.
    pub fn well_known(&self, host: &str, body: &str) {
        self.page(&format!("{host}/.well-known/atproto-did"), Page(200, None, body.into()));
    }

    /// A page of a host (`host/path`) or of the directory (`/path`).
    pub fn page(&self, place: &str, page: Page) {
        self.shared.pages.lock().unwrap().insert(place.into(), page);
    }

    /// The present document of a DID.
    pub fn document(&self, did: &str, names: &str, pds: &str, key: &str) {
        let body = format!(
            r##"{{"id": "{did}", "alsoKnownAs": {names}, "verificationMethod": [{{
                "id": "#atproto", "type": "Multikey", "publicKeyMultibase": "{key}"}}],
                "service": [{{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "{pds}"}}]}}"##
        );
        let place = match did.strip_prefix("did:web:") {
            Some(host) => format!("{host}/.well-known/did.json"),
            None => format!("/{did}"),
        };
        self.page(&place, Page(200, None, body.into()));
    }

    /// Everything that was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

fn certificate(ca: &PathBuf) -> Arc<ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = HOSTS.map(str::to_owned).to_vec();
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(ca, certificate.pem()).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

impl Shared {
    fn answer_names(&self, udp: &UdpSocket) {
        let mut room = [0; 1500];
        while let Ok((length, from)) = udp.recv_from(&mut room) {
            let question = &room[..length];
            let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
            let (mut name, mut at) = (Vec::new(), 12);
            while at < end {
                let next = at + 1 + usize::from(question[at]);
                name.push(String::from_utf8(question[at + 1..next].to_vec()).unwrap());
                at = next;
            }
            let name = name.join(".");
            self.asked.lock().unwrap().push(name.clone());
            let found = self.records.lock().unwrap().get(&name).cloned();
            let (code, records) = match found {
                Some(Records::Txt(records)) => (0, records),
                Some(Records::Failure) => (2, Vec::new()),
                None => (3, Vec::new()),
            };
            let mut out = question[..2].to_vec();
            out.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
            out.extend(&question[12..end + 5]);
            for record in records {
                out.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, record.len() as u8 + 1]);
                out.push(record.len() as u8);
                out.extend(record.bytes());
            }
            udp.send_to(&out, from).unwrap();
        }
    }

    fn serve(&self, stream: impl Read + Write, is_host: bool) {
        let mut stream = BufReader::new(stream);
        let (mut path, mut host) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            } else if let Some(name) = lower.strip_prefix("host:") {
                host = name.trim().to_owned();
            }
        }
        let place = if is_host { format!("{host}{path}") } else { path };
        self.asked.lock().unwrap().push(place.clone());
        let found = self.pages.lock().unwrap().get(&place).cloned();
        let Page(status, location, body) = found.unwrap_or(Page(404, None, b"no".to_vec()));
        let location = location.map(|to| format!("location: {to}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{location}connection: close\r\n\r\n",
            body.len()
        );
        let stream = stream.get_mut();
        // The client may have had enough before the end.
        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).and_then(|()| stream.flush());
    }
}
