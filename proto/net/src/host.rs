//! What a host is called.
//!
//! The directory, people and relays write the same host in many ways. Hosts are compared by one
//! canonical name: lower case, without scheme, trailing slash and default port (443 with TLS, 80
//! without), an IPv6 address in brackets and in its shortest form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::Error;

/// Where a host is to be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// TLS is spoken (`wss`, `https`, or no scheme at all).
    pub tls: bool,
    /// Host name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The name the host is compared by, such as `pds.example.com` or `127.0.0.1:2583`.
    pub canonical: String,
}

/// Why a text is not the name of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Another scheme than wss, ws, https, http.
    #[error("the scheme has to be wss, ws, https or http")]
    Scheme,
    /// There is no host in it.
    #[error("there is no host name in it")]
    Empty,
    /// A user name or password.
    #[error("a user name has no place in it")]
    User,
    /// A path, query or fragment.
    #[error("it goes on after the host")]
    Path,
    /// The port is no number from 1 to 65535.
    #[error("the port has to be a number from 1 to 65535")]
    Port,
    /// The host is neither a DNS name nor an address.
    #[error("that is neither a host name nor an address")]
    Name,
}

impl Endpoint {
    /// The host, if it is given as an address rather than a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The URL of a path on this host, `https` or `http`. The path begins with a slash.
    pub fn http_url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "https" } else { "http" }, self.canonical)
    }

    /// The URL of a path on this host, `wss` or `ws`. The path begins with a slash.
    pub fn ws_url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "wss" } else { "ws" }, self.canonical)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|fault| Error::Endpoint { text: text.into(), fault })
    }
}

/// The canonical name of a host that is given as an URL or a bare name.
///
/// # Errors
/// [`Error::Endpoint`] when the text doesn't name a host.
pub fn canonical_host(text: &str) -> Result<String, Error> {
    Ok(text.parse::<Endpoint>()?.canonical)
}

fn parse(text: &str) -> Result<Endpoint, Fault> {
    let (tls, rest) = match text.split_once("://") {
        None => (true, text),
        Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
            "wss" | "https" => (true, rest),
            "ws" | "http" => (false, rest),
            _ => return Err(Fault::Scheme),
        },
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(Fault::User);
    }
    if authority.contains(['/', '?', '#']) {
        return Err(Fault::Path);
    }
    let (host, port) = split_port(authority)?;
    let default_port = if tls { 443 } else { 80 };
    let port = port.map_or(Ok(default_port), parse_port)?;
    let host = Host::parse(host)?;
    let written = host.to_string();
    let canonical = if port == default_port { written } else { format!("{written}:{port}") };
    Ok(Endpoint { tls, host: host.bare(), port, canonical })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Fault> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(Fault::Name)? + 1;
        return match authority.split_at_checked(end) {
            Some((host, "")) => Ok((host, None)),
            Some((host, rest)) => {
                rest.strip_prefix(':').map(|port| (host, Some(port))).ok_or(Fault::Name)
            }
            None => Err(Fault::Name),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn parse_port(text: &str) -> Result<u16, Fault> {
    // `u16::from_str` takes a leading plus sign, an URL doesn't.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::Port);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(Fault::Port)
}

enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Host {
    fn parse(text: &str) -> Result<Self, Fault> {
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return inner.parse().map(Host::V6).map_err(|_| Fault::Name);
        }
        if let Ok(v4) = text.parse() {
            return Ok(Host::V4(v4));
        }
        // The root's dot is dropped: it names the same host.
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(Fault::Empty);
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(Fault::Name);
        }
        Ok(Host::Name(name.to_ascii_lowercase()))
    }

    fn bare(self) -> String {
        match self {
            Host::Name(name) => name,
            Host::V4(v4) => v4.to_string(),
            Host::V6(v6) => v6.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(v4) => v4.fmt(f),
            Host::V6(v6) => write!(f, "[{v6}]"),
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_canonical_name() {
        for (text, canonical) in [
            ("https://PDS.Example.com/", "pds.example.com"),
            ("wss://pds.example.com:443", "pds.example.com"),
            ("pds.example.com.", "pds.example.com"),
            ("http://pds.example.com:80/", "pds.example.com"),
            ("ws://127.0.0.1:2583", "127.0.0.1:2583"),
            ("http://localhost:2583", "localhost:2583"),
            ("https://h.example:80", "h.example:80"),
            ("WSS://[2001:DB8:0:0::1]:443/", "[2001:db8::1]"),
            ("ws://[::1]:3000", "[::1]:3000"),
        ] {
            assert_eq!(canonical_host(text).unwrap(), canonical, "{text}");
            // What is canonical stays as it is.
            assert_eq!(canonical_host(canonical).unwrap(), canonical);
        }
    }

    #[test]
    fn an_endpoint_says_how_to_connect() {
        let endpoint: Endpoint = "ws://[::1]:3000/".parse().unwrap();
        assert_eq!((endpoint.tls, endpoint.host.as_str(), endpoint.port), (false, "::1", 3000));
        assert_eq!(endpoint.http_url("/xrpc"), "http://[::1]:3000/xrpc");
        assert_eq!(endpoint.address(), Some("::1".parse().unwrap()));
        let endpoint: Endpoint = "pds.example.com".parse().unwrap();
        assert_eq!((endpoint.tls, endpoint.port), (true, 443));
        assert_eq!(endpoint.ws_url("/"), "wss://pds.example.com/");
        assert_eq!(endpoint.address(), None);
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_reason() {
        for (text, fault) in [
            ("", Fault::Empty),
            ("wss://", Fault::Empty),
            ("wss:///", Fault::Empty),
            ("ftp://a", Fault::Scheme),
            ("https://user@host", Fault::User),
            ("https://host/path", Fault::Path),
            ("https://host?x", Fault::Path),
            ("https://host:0", Fault::Port),
            ("https://host:+80", Fault::Port),
            ("https://host:65536", Fault::Port),
            ("https://host:", Fault::Port),
            ("https://ho st", Fault::Name),
            ("https://h\r\nx: y", Fault::Port),
            ("https://a..b", Fault::Name),
            ("https://[::1", Fault::Name),
            ("https://-a.example", Fault::Name),
        ] {
            assert_eq!(parse(text), Err(fault), "{text:?}");
        }
    }
}
