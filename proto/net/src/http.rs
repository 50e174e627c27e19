//! Asking over HTTP, politely and warily.
//!
//! A blocking `GET` for directories and hosts. A status of 400 or more is an answer, not an error;
//! what is limited is limited before memory is taken: time, size (counted after decompression),
//! redirects (each judged like the first URL, never from https down to http). Addresses are
//! checked after DNS, on every connection. Proxies are not used, because behind one the addresses
//! could not be judged.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ureq::config::{Config, RedirectAuthHeaders};
use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};
use url::Url;

use crate::{Error, Policy, tls};

/// How many redirects are followed.
const REDIRECTS_MAX: u32 = 4;

/// Memory set aside for a body whose length is announced: no announcement is believed further.
const ANNOUNCED_BYTES_MAX: u64 = 1 << 20;

/// A client that keeps connections open between questions. It may be shared between threads.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    timeout: Duration,
}

/// An answer with all of its body.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// When the server wants to be asked again (`Retry-After`, in seconds or as a date).
    pub retry_after: Option<Duration>,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// An answer whose body is still to be read.
pub struct Stream {
    /// HTTP status.
    pub status: u16,
    /// When the server wants to be asked again (`Retry-After`, in seconds or as a date).
    pub retry_after: Option<Duration>,
    /// All headers.
    pub headers: HeaderMap,
    body: Box<dyn Read + Send>,
    left: u64,
    limit: u64,
}

impl Response {
    /// A header's value, when it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

impl Stream {
    /// A header's value, when it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than is left is asked for, so that a body that ends exactly at the limit
        // can be told from one that goes on.
        let ask = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let ask = ask.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..ask) else { return Ok(0) };
        let count = self.body.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Error::TooLarge { limit: self.limit })),
        }
        Ok(count)
    }
}

impl Client {
    /// A client for addresses that the policy allows, believing the system's CA certificates and
    /// those of the file `ca`. `timeout` is for a whole [`Client::get`]; in [`Client::get_reader`]
    /// it is for the answer to begin and for each pause after that.
    ///
    /// # Errors
    /// [`Error::CaFile`] and [`Error::CaEmpty`].
    pub fn new(policy: Policy, ca: Option<&Path>, timeout: Duration) -> Result<Self, Error> {
        Self::connecting_to(None, policy, ca, timeout)
    }

    /// As [`Client::new`], but whatever host is named (by a name; `localhost` stays what it is) is
    /// looked for at this address, if one is given: the hosts of a test network have names that no
    /// name server knows. Whoever runs the tool chose the address, so the policy is not asked about
    /// it; it is about every other one, so that a redirect to an address is judged as ever. TLS is
    /// spoken with the host that is named.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn connecting_to(
        address: Option<SocketAddr>,
        policy: Policy,
        ca: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let roots: Vec<Certificate<'static>> = tls::roots(ca)?
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(tls::provider())
            .root_certs(RootCerts::from(roots))
            .build();
        let config = Config::builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .user_agent(concat!("sovereign/", env!("CARGO_PKG_VERSION")))
            // As many as threads ask one directory; the default keeps three.
            .max_idle_connections_per_host(16)
            .max_idle_connections(64)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            .build();
        let resolver = PolicyResolver { policy, address, inner: DefaultResolver::default() };
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Ok(Self { agent, timeout })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a body of more than `bytes_max` (it is not read further),
    /// [`Error::Timeout`], [`Error::Private`], [`Error::Redirects`], [`Error::Downgrade`],
    /// [`Error::Url`], and [`Error::Http`] for the rest. A status is never an error.
    pub fn get(&self, url: &str, bytes_max: u64) -> Result<Response, Error> {
        let mut stream = self.ask(url, bytes_max, Some(Instant::now() + self.timeout))?;
        let announced = text(&stream.headers, "content-length").and_then(|t| t.parse().ok());
        let room = announced.unwrap_or(0u64).min(bytes_max).min(ANNOUNCED_BYTES_MAX);
        let mut body = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        stream.read_to_end(&mut body).map_err(from_io)?;
        Ok(Response {
            status: stream.status,
            retry_after: stream.retry_after,
            headers: stream.headers,
            body,
        })
    }

    /// Asks, and leaves the body to be read, for answers too long to be held. Reading past
    /// `bytes_max` is an [`io::Error`] that wraps [`Error::TooLarge`].
    ///
    /// # Errors
    /// As [`Client::get`], except about the body.
    pub fn get_reader(&self, url: &str, bytes_max: u64) -> Result<Stream, Error> {
        self.ask(url, bytes_max, None)
    }

    fn ask(&self, url: &str, limit: u64, until: Option<Instant>) -> Result<Stream, Error> {
        let mut url = parse(url)?;
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.agent.get(url.as_str());
            if let Some(until) = until {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Error::Timeout);
                }
                request = request.config().timeout_global(Some(left)).build();
            }
            let (parts, body) = request.call().map_err(from_ureq)?.into_parts();
            if let Some(next) = redirect(parts.status.as_u16(), &parts.headers, &url)? {
                url = next;
                continue;
            }
            return Ok(Stream {
                status: parts.status.as_u16(),
                retry_after: retry_after(&parts.headers),
                headers: parts.headers,
                body: Box::new(Body::into_reader(body)),
                left: limit,
                limit,
            });
        }
        Err(Error::Redirects { limit: REDIRECTS_MAX })
    }
}

fn parse(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|source| Error::Url { url: text.into(), source })?;
    match url.scheme() {
        "https" | "http" => Ok(url),
        _ => Err(Error::Scheme { url: text.into() }),
    }
}

/// Where a redirect leads, or `None` when the answer isn't one that can be followed.
fn redirect(status: u16, headers: &HeaderMap, from: &Url) -> Result<Option<Url>, Error> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = text(headers, "location") else { return Ok(None) };
    let to = from.join(location).map_err(|source| Error::Url { url: location.into(), source })?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(Some(to)),
        ("https", "http") => Err(Error::Downgrade { url: to.into() }),
        _ => Err(Error::Scheme { url: to.into() }),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How long a server wants to be left alone (RFC 9110, 10.2.3). A date in the past is no time.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let seconds = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_second();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

fn from_ureq(error: ureq::Error) -> Error {
    match error {
        ureq::Error::Timeout(_) => Error::Timeout,
        ureq::Error::Rustls(error) => Error::Tls(error),
        ureq::Error::Io(error) => from_io(error),
        ureq::Error::Other(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::Http(Box::new(ureq::Error::Other(other))),
        },
        other => Error::Http(Box::new(other)),
    }
}

/// Finds out again what was wrapped into an [`io::Error`] on its way through a reader.
fn from_io(error: io::Error) -> Error {
    if error.get_ref().is_none() {
        return Error::Io(error);
    }
    let kind = error.kind();
    let Some(inner) = error.into_inner() else { return Error::Io(kind.into()) };
    match inner.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(inner) => match inner.downcast::<ureq::Error>() {
            Ok(theirs) => from_ureq(*theirs),
            Err(inner) => match inner.downcast::<rustls::Error>() {
                Ok(theirs) => Error::Tls(*theirs),
                Err(inner) => Error::Io(io::Error::new(kind, inner)),
            },
        },
    }
}

/// The usual look-up, whose answer is then held against the policy.
#[derive(Debug)]
struct PolicyResolver {
    policy: Policy,
    /// Where every host that has a name is.
    address: Option<SocketAddr>,
    inner: DefaultResolver,
}

impl Resolver for PolicyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let mut result = self.empty();
        if let Some(address) = self.address.filter(|_| is_name(host)) {
            result.push(address);
            return Ok(result);
        }
        let found = self.inner.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(source) => {
                ureq::Error::Other(Box::new(Error::Resolve { host: host.into(), source }))
            }
            other => other,
        })?;
        let found: Vec<SocketAddr> = found.iter().copied().collect();
        let kept = crate::dns::allowed(host, &found, self.policy)
            .map_err(|error| ureq::Error::Other(Box::new(error)))?;
        for address in kept {
            result.push(address);
        }
        Ok(result)
    }
}

/// Whether a host of a URL is a name, and not one of this machine's own.
fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host != "localhost" && host.parse::<Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests;
