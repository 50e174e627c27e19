//! Where all hosts are reached: one listening socket, and an address and a certificate for each.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt,
};
use rustls::ServerConfig;

use crate::args::Network;
use crate::network::ADDRESSES_MAX;
use crate::tls::Authority;

/// The door of all hosts.
pub struct Door {
    listener: TcpListener,
    /// The address of the first host; the others have the next ones.
    first: u32,
    port: u16,
    hosts: usize,
    /// What each group of addresses says in its handshakes.
    configs: Vec<Arc<ServerConfig>>,
    pem: String,
}

impl Door {
    /// Opens it. What does not come over the loopback device is not heard: the socket is bound to
    /// no address, because it has thousands.
    pub fn open(network: &Network) -> Result<Self> {
        let SocketAddr::V4(address) = network.listen else {
            return Err(cli::usage("--load needs an IPv4 address to --listen at"));
        };
        let (first, hosts) = (u32::from(*address.ip()), network.hosts as usize);
        let last = first.checked_add(network.hosts - 1).map(Ipv4Addr::from);
        if !address.ip().is_loopback() || !last.is_some_and(|last| last.is_loopback()) {
            return Err(cli::usage("--load needs loopback addresses: --listen 127.0.0.1:0"));
        }
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        setsockopt(&socket, sockopt::BindToDevice, &"lo".into())
            .context("the loopback device lo")?;
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port()));
        let opened = bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &any)
            .and_then(|()| listen(&socket, Backlog::MAXALLOWABLE));
        opened.with_context(|| format!("{address}: the hosts cannot listen"))?;
        let listener = TcpListener::from(socket);
        let port = listener.local_addr()?.port();

        let authority = Authority::new()?;
        let all: Vec<usize> = (0..hosts).collect();
        let configs = all.chunks(ADDRESSES_MAX).map(|group| {
            let addresses = group.iter().map(|number| IpAddr::V4(at(first, *number)));
            authority.config(&addresses.collect::<BTreeSet<_>>())
        });
        let configs = configs.collect::<Result<_>>()?;
        Ok(Self { listener, first, port, hosts, configs, pem: authority.pem().to_owned() })
    }

    /// The certificate of the authority.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// Where a host is.
    pub fn address(&self, host: usize) -> SocketAddrV4 {
        SocketAddrV4::new(at(self.first, host), self.port)
    }

    /// What a host says in its handshakes.
    pub fn config(&self, host: usize) -> Option<Arc<ServerConfig>> {
        self.configs.get(host / ADDRESSES_MAX).cloned()
    }

    /// The next connection that waits, and the host that it is to; none for an address of nobody.
    /// `None` when no connection waits.
    pub fn accept(&self) -> Option<(TcpStream, Option<usize>)> {
        // What can't be accepted (its client is gone, there are too many files) waits or goes.
        let (tcp, _) = self.listener.accept().ok()?;
        let host = match tcp.local_addr() {
            Ok(SocketAddr::V4(address)) => u32::from(*address.ip()).checked_sub(self.first),
            _ => None,
        };
        let host = host.map(|number| number as usize).filter(|number| *number < self.hosts);
        Some((tcp, host))
    }
}

fn at(first: u32, host: usize) -> Ipv4Addr {
    Ipv4Addr::from(first.wrapping_add(host as u32))
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
