//! What can go wrong with a socket.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::Fault;
use crate::ws::Breach;

/// Errors of this room. The host is named by whoever asked, except where it explains the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that should name a host doesn't.
    #[error("{text:?} doesn't name a host: {fault}")]
    Endpoint {
        /// The text as it was given.
        text: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The name server has no address for the host, or none could be asked.
    #[error("looking up {host}")]
    Resolve {
        /// Host name or address.
        host: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// The system names no name server that could be asked.
    #[error("this system names no name server; name one by --dns")]
    NameServers(#[source] Box<hickory_resolver::net::NetError>),
    /// A name server could not answer, or its answer can't be read.
    #[error("asking a name server about {name}")]
    Dns {
        /// The name that was asked about.
        name: String,
        /// What came of it.
        source: Box<hickory_resolver::net::NetError>,
    },
    /// The host's addresses are all local ones, which the [`Policy`](crate::Policy) forbids.
    #[error(
        "{host} is at {address}, which is no public address; --allow-private lets it be reached"
    )]
    Private {
        /// Host name or address.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
    },
    /// A file of certificates can't be read.
    #[error("{}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// A file of certificates holds none that can be used.
    #[error("{} holds no certificate in PEM form", path.display())]
    CaEmpty {
        /// The file.
        path: PathBuf,
    },
    /// The system has no certificates and no file of them was given.
    #[error(
        "this system has no CA certificates; install them (ca-certificates) or name a --ca file"
    )]
    NoRoots,
    /// TLS failed: certificate, name, protocol or alert.
    #[error("tls")]
    Tls(#[from] rustls::Error),
    /// TLS needs a DNS name or an address to check the certificate against.
    #[error("tls can't be spoken with a host called {host:?}")]
    ServerName {
        /// The host.
        host: String,
    },
    /// The connection could not be opened.
    #[error("connecting")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("connection")]
    Io(#[from] io::Error),
    /// The peer closed the connection without the closing words of TLS or WebSocket.
    #[error("the connection was cut")]
    Cut,
    /// The server answered the WebSocket request with something else than a WebSocket.
    #[error("the host answered with status {status} instead of a websocket")]
    Status {
        /// HTTP status.
        status: u16,
        /// What it said about when to come again.
        retry_after: Option<Duration>,
        /// What it calls itself.
        server: Option<Box<str>>,
    },
    /// The server's answer to the WebSocket request is no valid one, or longer than is read.
    #[error("the answer to the websocket request is not valid: {0}")]
    Upgrade(&'static str),
    /// The peer broke the WebSocket protocol.
    #[error("websocket")]
    Breach(#[from] Breach),
    /// An URL can't be used.
    #[error("{url:?} is no URL to ask")]
    Url {
        /// The text as it was given.
        url: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// An URL has another scheme than https and http.
    #[error("{url:?} is neither an https nor an http URL")]
    Scheme {
        /// The text as it was given.
        url: String,
    },
    /// A redirect led from https to http.
    #[error("redirected from https to {url}, which is not followed")]
    Downgrade {
        /// Where it led.
        url: String,
    },
    /// More redirects than are followed.
    #[error("redirected more than {limit} times")]
    Redirects {
        /// How many are followed.
        limit: u32,
    },
    /// The response's body is longer than was asked for.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: u64,
    },
    /// The time for an answer is over.
    #[error("no answer within the time for it")]
    Timeout,
    /// Anything else about an HTTP exchange.
    #[error("http")]
    Http(#[source] Box<ureq::Error>),
}
