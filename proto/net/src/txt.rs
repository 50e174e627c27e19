//! TXT records, from a name server.
//!
//! Names come from strangers and so do the answers: the resolver (hickory) takes only answers to
//! the question it asked, from the server it asked, with the id it chose, sent to the random port
//! it asked from; it asks again over TCP when an answer was cut short, and what it reads is
//! bounded by what a message can hold (64 KiB). All of it has one limit in time. The server itself
//! is named by whoever runs the tool, or by the system, and may have any address.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData};
use tokio::runtime::Runtime;

use crate::Error;

/// Asks for TXT records. Blocks; may be shared between threads.
pub struct TxtResolver {
    resolver: TokioResolver,
    runtime: Runtime,
    timeout: Duration,
}

impl TxtResolver {
    /// Asks this server, or those of the system (`/etc/resolv.conf`). `timeout` is for a whole
    /// look-up, in which a server that is silent is asked a second time.
    ///
    /// # Errors
    /// [`Error::NameServers`] when the system names none, [`Error::Io`].
    pub fn new(server: Option<SocketAddr>, timeout: Duration) -> Result<Self, Error> {
        let failed = |source| Error::NameServers(Box::new(source));
        let mut builder = match server {
            Some(address) => {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                server.connections.iter_mut().for_each(|it| it.port = address.port());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(failed)?,
        };
        let options = builder.options_mut();
        options.timeout = timeout / 3;
        options.attempts = 2;
        // One question of each name is all that is asked.
        options.cache_size = 0;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { resolver: builder.build().map_err(failed)?, runtime, timeout })
    }

    /// The TXT records of a name, each with its parts put together; none where there is no such
    /// name or no such record. The name is a whole one: nothing is added to it.
    ///
    /// # Errors
    /// [`Error::Dns`] when a server says that it cannot answer or answers something else,
    /// [`Error::Timeout`].
    pub fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Error> {
        let failed = |source| match source {
            NetError::Timeout => Error::Timeout,
            source => Error::Dns { name: name.into(), source: Box::new(source) },
        };
        let mut whole = Name::from_ascii(name).map_err(|error| failed(error.into()))?;
        whole.set_fqdn(true);
        let found = self.runtime.block_on(async {
            tokio::time::timeout(self.timeout, self.resolver.txt_lookup(whole)).await
        });
        match found.map_err(|_| Error::Timeout)? {
            Ok(found) => Ok(found.answers().iter().filter_map(|it| text(&it.data)).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// A record's parts are of 255 bytes at most; a longer text is cut into them.
fn text(data: &RData) -> Option<Vec<u8>> {
    match data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
