//! Listening: connections in, requests to the right router, over TCP or TLS.
//!
//! One router serves all hosts; which one a request is for travels with the request. So a host
//! costs a socket and a task, and thousands are cheap.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::host::Host;
use crate::stats::Stats;
use crate::wire::{Switch, Wire};

/// Limit on the time of a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// Which host a connection is to, and how to break it.
#[derive(Clone)]
pub struct Peer {
    /// The host.
    pub host: Arc<Host>,
    /// The connection's switch.
    pub switch: Switch,
}

/// A listening host.
pub struct Door {
    /// Its socket.
    pub listener: TcpListener,
    /// Its TLS, if it has any.
    pub tls: Option<TlsAcceptor>,
    /// Who it is.
    pub host: Arc<Host>,
}

/// Takes connections for a host, for ever.
pub async fn serve(door: Door, router: Router, stats: Arc<Stats>) {
    loop {
        let Some(tcp) = accept(&door.listener).await else { continue };
        stats.connections.add(1);
        let switch = Switch::default();
        let peer = Peer { host: Arc::clone(&door.host), switch: switch.clone() };
        let wire = Wire::new(tcp, switch);
        let router = router.clone();
        match door.tls.clone() {
            None => {
                tokio::spawn(http(wire, router, Some(peer)));
            }
            Some(tls) => {
                let stats = Arc::clone(&stats);
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(wire)).await {
                        Ok(Ok(stream)) => http(stream, router, Some(peer)).await,
                        _ => stats.handshakes_failed.add(1),
                    }
                });
            }
        }
    }
}

/// Takes connections for a server that is no host, for ever.
pub async fn serve_plain(listener: TcpListener, router: Router) {
    loop {
        if let Some(tcp) = accept(&listener).await {
            tokio::spawn(http(tcp, router.clone(), None));
        }
    }
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((tcp, _)) => {
            // Without it a short event waits for the acknowledgement of the one before.
            let _ = tcp.set_nodelay(true);
            Some(tcp)
        }
        Err(_) => {
            // Too many open files, most likely: give the others time to go.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Serves the requests of one connection.
async fn http<S>(stream: S, router: Router, peer: Option<Peer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A client that goes in the middle of a request is nothing to speak of.
    let _ = connection.await;
}
