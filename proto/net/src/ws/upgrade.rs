//! The HTTP exchange that opens a WebSocket (RFC 6455, section 4), as bytes.
//!
//! tungstenite writes the request, and reads the response and computes its key. What the response
//! must say is checked here: it is stricter about extensions, which were not asked for, and kinder
//! about the spelling of headers.

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{Response, generate_request};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::http::{HeaderMap, HeaderValue};

use crate::{Endpoint, Error};

/// The longest response head that is read.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// A request under way.
#[derive(Debug)]
pub(super) struct Upgrade {
    accept: String,
    head: Vec<u8>,
}

/// A WebSocket is open.
#[derive(Debug)]
pub(super) struct Opened {
    /// What the server calls itself (`Server`).
    pub(super) server: Option<Box<str>>,
    /// How many of the bytes given last belong to the WebSocket already.
    pub(super) tail: usize,
}

impl Upgrade {
    /// A request for a path, and its bytes.
    pub(super) fn new(endpoint: &Endpoint, path: &str) -> Result<(Self, Vec<u8>), Error> {
        const BAD: Error = Error::Upgrade("the path can't be put into a request");
        let mut request = endpoint.ws_url(path).into_client_request().map_err(|_| BAD)?;
        let agent = HeaderValue::from_static(concat!("sovereign/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert("user-agent", agent);
        let (bytes, key) = generate_request(request).map_err(|_| BAD)?;
        Ok((Self { accept: derive_accept_key(key.as_bytes()), head: Vec::new() }, bytes))
    }

    /// Takes more of the response. `None` when it is not complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<Opened>, Error> {
        self.head.extend_from_slice(bytes);
        let parsed = Response::try_parse(&self.head)
            .map_err(|_| Error::Upgrade("it is not HTTP"))?
            .filter(|(size, _)| *size <= HEAD_BYTES_MAX);
        match parsed {
            Some((size, response)) => {
                let server = self.verify(&response)?;
                let tail = self.head.len() - size;
                self.head = Vec::new();
                Ok(Some(Opened { server, tail }))
            }
            None if self.head.len() > HEAD_BYTES_MAX => Err(Error::Upgrade("its head is too long")),
            None => Ok(None),
        }
    }

    fn verify(&self, response: &Response) -> Result<Option<Box<str>>, Error> {
        let status = response.status().as_u16();
        let headers = response.headers();
        if status != 101 {
            let retry_after = crate::http::retry_after(headers);
            return Err(Error::Status { status, retry_after, server: server(headers) });
        }
        if !has_token(headers, "upgrade", "websocket") {
            return Err(Error::Upgrade("it doesn't upgrade to a websocket"));
        }
        if !has_token(headers, "connection", "upgrade") {
            return Err(Error::Upgrade("it doesn't upgrade the connection"));
        }
        if headers.get("sec-websocket-accept").is_none_or(|value| value != self.accept.as_str()) {
            return Err(Error::Upgrade("its key is not the answer to ours"));
        }
        let foreign = ["sec-websocket-extensions", "sec-websocket-protocol"];
        if foreign.iter().any(|name| headers.get(*name).is_some_and(|value| !value.is_empty())) {
            return Err(Error::Upgrade("it agrees to what was not asked for"));
        }
        Ok(server(headers))
    }
}

/// What the server calls itself, and those in front of it.
fn server(headers: &HeaderMap) -> Option<Box<str>> {
    let names = headers.get_all("server").iter().filter_map(|value| value.to_str().ok());
    let names: String = names.collect::<Vec<&str>>().join(", ").chars().take(100).collect();
    (!names.is_empty()).then(|| names.into())
}

/// Whether a header that is a list holds a word.
fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> (Upgrade, String) {
        let endpoint: Endpoint = "ws://127.0.0.1:2583".parse().unwrap();
        let (upgrade, bytes) = Upgrade::new(&endpoint, "/xrpc/x?cursor=7").unwrap();
        (upgrade, String::from_utf8(bytes).unwrap())
    }

    fn answer(upgrade: &Upgrade, more: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, \
             Upgrade\r\nsec-websocket-accept: {}\r\n{more}\r\n",
            upgrade.accept
        )
    }

    #[test]
    fn a_request_names_host_and_path() {
        let (_, request) = begun();
        assert!(request.starts_with("GET /xrpc/x?cursor=7 HTTP/1.1\r\nHost: 127.0.0.1:2583\r\n"));
        assert!(request.ends_with("\r\n\r\n"));
    }

    #[test]
    fn what_comes_behind_the_head_is_counted() {
        let (mut upgrade, _) = begun();
        let text = answer(&upgrade, "server: front\r\nserver: atproto-relay\r\n") + "tail";
        let (first, second) = text.as_bytes().split_at(20);
        assert!(upgrade.take(first).unwrap().is_none());
        let opened = upgrade.take(second).unwrap().unwrap();
        assert_eq!((opened.tail, opened.server.as_deref()), (4, Some("front, atproto-relay")));
    }

    #[test]
    fn another_answer_is_no_websocket() {
        let (mut upgrade, _) = begun();
        let refused = upgrade.take(b"HTTP/1.1 429 Slow\r\nretry-after: 3\r\n\r\n");
        assert!(matches!(refused, Err(Error::Status { status: 429, retry_after: Some(_), .. })));
        for bad in
            ["HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "SSH-2.0\r\n"]
        {
            let (mut upgrade, _) = begun();
            assert!(matches!(upgrade.take(bad.as_bytes()), Err(Error::Upgrade(_))), "{bad:?}");
        }
        let (mut upgrade, _) = begun();
        let text = answer(&upgrade, "sec-websocket-extensions: permessage-deflate\r\n");
        assert!(matches!(upgrade.take(text.as_bytes()), Err(Error::Upgrade(_))));
    }

    #[test]
    fn an_endless_head_is_refused() {
        let (mut upgrade, _) = begun();
        let text = answer(&upgrade, &format!("x: {}", "y".repeat(HEAD_BYTES_MAX)));
        assert!(matches!(upgrade.take(text.as_bytes()), Err(Error::Upgrade(_))));
    }
}
