//! The head of a request, as far as this server asks (RFC 9112, 3): method, path, version.

/// Bytes of a head: a browser's has one or two thousand.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;
/// Fields of a head.
const FIELDS_MAX: usize = 64;

/// What a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Without what stands behind a question mark.
    pub(super) path: &'a str,
}

/// Reads a head; `None` while it is not complete, the status to answer with if it is no good.
pub(super) fn read(bytes: &[u8]) -> Option<Result<Request<'_>, u16>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(Err(431));
        }
        Err(httparse::Error::Version) => return Some(Err(505)),
        Err(_) => return Some(Err(400)),
    }
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => return Some(Err(405)),
    };
    let target = head.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    Some(Ok(Request { method, path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let head = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(read(&head[..end]), None, "{end}");
        }
        let expected = Request { method: Method::Get, path: "/metrics" };
        assert_eq!(read(head), Some(Ok(expected)));
        let expected = Request { method: Method::Head, path: "/" };
        assert_eq!(read(b"HEAD / HTTP/1.0\r\n\r\n"), Some(Ok(expected)));
    }

    #[test]
    fn what_is_no_request_has_its_status() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
        let long = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(HEAD_BYTES_MAX));
        for (head, status) in [
            ("POST / HTTP/1.1\r\n\r\n", 405),
            ("GET / HTTP/2.0\r\n\r\n", 505),
            ("GET /\r\n\r\n", 400),
            ("\u{1}\u{2}\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}", 400),
            (&many, 431),
            (&long, 431),
        ] {
            assert_eq!(read(head.as_bytes()), Some(Err(status)), "{head}");
        }
    }
}
