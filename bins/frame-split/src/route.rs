//! Which output a frame goes to.
//!
//! It is CRC-32C of the account's DID, or of the host's name, scaled to the number of outputs: the
//! same in every run, since what a stage knows of its accounts may outlive it.

use atproto::event;
use frame::host::HostTable;
use frame::{Frame, HostId, Kind};

/// What is kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// An account's events; what speaks of no account goes by its host
    Did,
    /// All that a host sends
    Host,
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// To every output.
    All,
    /// To the one of this number.
    One(usize),
}

/// Knows the way.
#[derive(Debug)]
pub(crate) struct Router {
    by: By,
    branches: usize,
    hosts: HostTable,
}

impl Router {
    pub(crate) fn new(by: By, branches: usize) -> Router {
        Router { by, branches, hosts: HostTable::default() }
    }

    /// A new stream: ids mean other hosts.
    pub(crate) fn start(&mut self) {
        self.hosts.clear();
    }

    /// Where this frame goes.
    pub(crate) fn route(&mut self, frame: &Frame<'_>) -> Result<To, frame::Error> {
        let host = frame.header.host;
        Ok(match (frame.header.kind, self.by) {
            (Kind::HOST, _) => {
                self.hosts.apply(frame)?;
                To::All
            }
            (Kind::MARK, _) => To::All,
            (Kind::EVENT, By::Did) => {
                let event = event::parse(frame.body()).ok();
                match event.as_ref().and_then(event::Event::did) {
                    Some(did) => To::One(self.branch(did)),
                    None => To::One(self.of_host(host)),
                }
            }
            (Kind::REPO, By::Did) => match frame::repo::read(frame) {
                Ok((repo, _)) => To::One(self.branch(repo.did)),
                Err(_) => To::One(self.of_host(host)),
            },
            _ => To::One(self.of_host(host)),
        })
    }

    /// What speaks of no host that is known goes the way of a host without a name.
    fn of_host(&self, host: HostId) -> usize {
        self.branch(self.hosts.get(host).map_or("", |host| host.name))
    }

    fn branch(&self, name: &str) -> usize {
        let hash = u64::from(crc32c::crc32c(name.as_bytes()));
        ((hash * self.branches as u64) >> u32::BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spread_evenly_and_always_alike() {
        for branches in [2, 3, 4, 32] {
            let router = Router::new(By::Did, branches);
            let mut counts = vec![0; branches];
            for n in 0..10_000 {
                let did = format!("did:plc:{n:024}");
                counts[router.branch(&did)] += 1;
                assert_eq!(router.branch(&did), Router::new(By::Host, branches).branch(&did));
            }
            let even = 10_000 / branches;
            assert!(counts.iter().all(|count| (even / 2..even * 2).contains(count)), "{counts:?}");
        }
        // What stages keep on disk hangs on it.
        let router = Router::new(By::Did, 4);
        let told = ["did:plc:44ybard66vv44zksje25o7dz", "did:web:example.com", ""];
        assert_eq!(told.map(|did| router.branch(did)), GOLDEN);
    }

    const GOLDEN: [usize; 3] = [2, 1, 0];
}
