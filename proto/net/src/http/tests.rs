use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use flate2::write::GzEncoder;
use rustls::{ServerConnection, StreamOwned};

use super::*;
use crate::authority::Authority;

const LOCAL: Policy = Policy { allow_private: true };
const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers one connection after the other with these bytes; the base URL comes back.
fn serve(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            read_request(&mut socket);
            // The client may have had enough before the end.
            let _ = socket.write_all(&answer);
        }
    });
    url
}

fn read_request(socket: &mut TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn client() -> Client {
    Client::new(LOCAL, None, TIMEOUT).unwrap()
}

#[test]
fn an_answer_comes_back_whole() {
    let url = serve(vec![answer("200 OK\r\nx-test: yes", b"hello")]);
    let response = client().get(&url, 5).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(response.header("X-Test"), Some("yes"));
}

#[test]
fn a_refusal_is_an_answer_and_says_when_to_come_again() {
    let url = serve(vec![answer("429 Too Many Requests\r\nretry-after: 17", b"no")]);
    let response = client().get(&url, 100).unwrap();
    assert_eq!((response.status, response.retry_after), (429, Some(Duration::from_secs(17))));
    let url = serve(vec![answer("503 Later\r\nretry-after: Fri, 31 Dec 2100 23:59:59 GMT", b"")]);
    let response = client().get(&url, 100).unwrap();
    assert!(response.retry_after.unwrap() > Duration::from_secs(86400), "{response:?}");
    let url = serve(vec![answer("503 Later\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT", b"")]);
    assert_eq!(client().get(&url, 100).unwrap().retry_after, Some(Duration::ZERO));
}

#[test]
fn a_body_over_the_limit_is_not_read() {
    let url = serve(vec![answer("200 OK", b"123456"), answer("200 OK", b"123456")]);
    let refused = client().get(&url, 5);
    assert!(matches!(refused, Err(Error::TooLarge { limit: 5 })), "{refused:?}");
    let mut stream = client().get_reader(&url, 5).unwrap();
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(matches!(from_io(error), Error::TooLarge { limit: 5 }));
}

#[test]
fn the_limit_counts_what_was_decompressed() {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 1_000_000]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 2000);
    let url = serve(vec![answer("200 OK\r\ncontent-encoding: gzip", &bomb); 2]);
    let refused = client().get(&url, 999_999);
    assert!(matches!(refused, Err(Error::TooLarge { limit: 999_999 })), "{refused:?}");
    assert_eq!(client().get(&url, 1_000_000).unwrap().body, vec![0; 1_000_000]);
}

#[test]
fn redirects_are_followed_so_far() {
    let target = serve(vec![answer("200 OK", b"there")]);
    let url = serve(vec![answer(&format!("302 Found\r\nlocation: {target}/x"), b"")]);
    assert_eq!(client().get(&url, 100).unwrap().body, b"there");
    let round = serve(vec![answer("302 Found\r\nlocation: /again", b""); 9]);
    let refused = client().get(&round, 100);
    assert!(matches!(refused, Err(Error::Redirects { .. })), "{refused:?}");
}

#[test]
fn a_redirect_never_leads_down_or_out() {
    let from = Url::parse("https://a.example/x").unwrap();
    let to = |location: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("location", location.parse().unwrap());
        redirect(307, &headers, &from)
    };
    assert_eq!(to("/y").unwrap().unwrap().as_str(), "https://a.example/y");
    assert!(matches!(to("http://a.example/"), Err(Error::Downgrade { .. })));
    assert!(matches!(to("file:///etc/passwd"), Err(Error::Scheme { .. })));
}

#[test]
fn private_addresses_are_refused_unless_allowed() {
    let url = serve(vec![answer("200 OK", b"")]);
    let wary = Client::new(Policy::default(), None, TIMEOUT).unwrap();
    let refused = wary.get(&url, 100);
    assert!(matches!(refused, Err(Error::Private { .. })), "{refused:?}");
    let port = url.rsplit_once(':').unwrap().1;
    for host in ["localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"] {
        let refused = wary.get(&format!("http://{host}:{port}"), 100);
        assert!(matches!(refused, Err(Error::Private { .. })), "{host}: {refused:?}");
    }
}

#[test]
fn hosts_of_a_test_network_are_at_one_address_and_others_are_judged() {
    let inside = serve(vec![answer("200 OK", b"inside")]);
    let to = |location: &str| answer(&format!("302 Found\r\nlocation: {location}"), b"");
    let answers = [answer("200 OK", b"there"), to("http://b.test/x"), answer("200 OK", b"b")];
    let network = serve([&answers[..], &[to(&inside)], &[to("http://localhost:1")]].concat());
    let address = network.strip_prefix("http://").unwrap().parse().unwrap();
    let client = Client::connecting_to(Some(address), Policy::default(), None, TIMEOUT).unwrap();
    for body in [&b"there"[..], b"b"] {
        assert_eq!(client.get("http://a.test/", 100).unwrap().body, body);
    }
    // The first hop is allowed and the second is not.
    for _ in 0..2 {
        let refused = client.get("http://a.test/", 100);
        assert!(matches!(refused, Err(Error::Private { .. })), "{refused:?}");
    }
}

#[test]
fn silence_ends_in_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(LOCAL, None, Duration::from_millis(200)).unwrap();
    let refused = client.get(&url, 100);
    assert!(matches!(refused, Err(Error::Timeout)), "{refused:?}");
}

#[test]
fn what_is_no_url_is_not_asked() {
    assert!(matches!(client().get("nonsense", 1), Err(Error::Url { .. })));
    assert!(matches!(client().get("ftp://a.example", 1), Err(Error::Scheme { .. })));
}

/// Answers one connection with TLS; the port comes back.
fn serve_tls(authority: &Authority) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::clone(&authority.server);
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let tls = ServerConnection::new(config).unwrap();
        let mut stream = StreamOwned::new(tls, socket);
        let mut byte = [0];
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            request.push(byte[0]);
        }
        let _ = stream.write_all(&answer("200 OK", b"safe"));
    });
    port
}

#[test]
fn tls_is_believed_by_a_ca_file_and_for_its_name_only() {
    let authority = Authority::new("localhost");
    let client = Client::new(LOCAL, Some(&authority.ca()), TIMEOUT).unwrap();
    let port = serve_tls(&authority);
    let response = client.get(&format!("https://localhost:{port}/"), 100).unwrap();
    assert_eq!(response.body, b"safe");
    let port = serve_tls(&authority);
    let refused = client.get(&format!("https://127.0.0.1:{port}/"), 100);
    assert!(matches!(refused, Err(Error::Tls(_))), "{refused:?}");
    let port = serve_tls(&authority);
    let stranger = Client::new(LOCAL, Some(&Authority::new("localhost").ca()), TIMEOUT).unwrap();
    let refused = stranger.get(&format!("https://localhost:{port}/"), 100);
    assert!(matches!(refused, Err(Error::Tls(_))), "{refused:?}");
}
