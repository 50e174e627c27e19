//! What is asked over HTTP: a relay about the hosts that it knows (`com.atproto.sync.listHosts`),
//! and a host about itself (`com.atproto.server.describeServer`).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use net::http::Client;
use net::{Endpoint, Policy};
use serde::Deserialize;
use url::Url;

/// The limits of a listing: what one page may hold, and how many pages are asked for.
const PAGE_BYTES_MAX: u64 = 4 << 20;
const PAGE_HOSTS: &str = "1000";
const PAGES_MAX: usize = 1000;

/// A description is longer than this in nobody's hands.
const DESCRIPTION_BYTES_MAX: u64 = 64 << 10;

const TIMEOUT: Duration = Duration::from_secs(20);

/// What came of asking for hosts.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Names as they were listed, before anything went wrong.
    pub(crate) names: Vec<String>,
    /// Why the listing is not complete, if it isn't.
    pub(crate) error: Option<anyhow::Error>,
    /// When the relay wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

/// Asks over HTTP. The client is made when it is needed: its certificates take memory.
pub(crate) struct Asker {
    policy: Policy,
    ca: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Page {
    cursor: Option<String>,
    hosts: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    hostname: String,
}

#[derive(Deserialize)]
struct Description {
    did: String,
}

impl Asker {
    pub(crate) fn new(policy: Policy, ca: Option<PathBuf>) -> Self {
        Self { policy, ca }
    }

    fn client(&self) -> Result<Client, net::Error> {
        Client::new(self.policy, self.ca.as_deref(), TIMEOUT)
    }

    /// All hosts that a relay lists, whatever it thinks of them: whether a host speaks is found
    /// out by listening.
    pub(crate) fn hosts_of(&self, relay: &Endpoint) -> Listing {
        let mut listing = Listing::default();
        if let Err(error) = self.list(relay, &mut listing) {
            listing.error = Some(error);
        }
        listing
    }

    fn list(&self, relay: &Endpoint, listing: &mut Listing) -> anyhow::Result<()> {
        let client = self.client()?;
        let mut url = Url::parse(&relay.http_url("/xrpc/com.atproto.sync.listHosts"))?;
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            url.query_pairs_mut().clear().append_pair("limit", PAGE_HOSTS);
            if let Some(cursor) = &cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let answer = client.get(url.as_str(), PAGE_BYTES_MAX)?;
            if answer.status != 200 {
                listing.retry_after = answer.retry_after;
                bail!("listHosts is answered with status {}", answer.status);
            }
            let page: Page =
                serde_json::from_slice(&answer.body).context("the answer to listHosts")?;
            let empty = page.hosts.is_empty();
            listing.names.extend(page.hosts.into_iter().map(|host| host.hostname));
            // A relay that goes round in a circle would be asked for ever.
            if page.cursor.is_none() || page.cursor == cursor || empty {
                return Ok(());
            }
            cursor = page.cursor;
        }
        bail!("listHosts has more than {PAGES_MAX} pages; the rest is not asked for")
    }

    /// Whether a host describes itself as a PDS. Silence is no description.
    pub(crate) fn is_pds(&self, host: &Endpoint) -> bool {
        let url = host.http_url("/xrpc/com.atproto.server.describeServer");
        let answer = self.client().and_then(|client| client.get(&url, DESCRIPTION_BYTES_MAX));
        answer.is_ok_and(|answer| {
            let described = serde_json::from_slice::<Description>(&answer.body);
            answer.status == 200 && described.is_ok_and(|it| it.did.starts_with("did:"))
        })
    }
}
