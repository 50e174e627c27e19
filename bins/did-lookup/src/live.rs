//! What is asked of the network: whom a handle names, and what the document of a DID says.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use atproto::PlcDid;
use diddoc::{Document, Handle, NotFound, did_in_body, did_in_records, web};
use net::http::Client;
use net::{Policy, TxtResolver};
use serde::Serialize;

/// How long one request, and one look-up by name servers, may take.
const REQUEST: Duration = Duration::from_secs(10);
const LOOK_UP: Duration = Duration::from_secs(6);

/// The longest document that is read, and the longest text that can be a DID with some space.
const DOCUMENT_BYTES_MAX: u64 = 256 << 10;
const DID_TEXT_BYTES_MAX: u64 = 4096;

/// Who is asked, and how.
#[derive(Debug)]
pub(crate) struct Upstreams<'a> {
    /// The PLC directory, without a slash at the end.
    pub(crate) plc: &'a str,
    /// The name server, if not the system's.
    pub(crate) dns: Option<SocketAddr>,
    /// Where all hosts of handles and of did:web are, in a test network.
    pub(crate) hosts_at: Option<SocketAddr>,
    /// Private addresses may be asked.
    pub(crate) allow_private: bool,
    /// Certificates to believe beside the system's.
    pub(crate) ca: Option<&'a Path>,
}

/// Where a handle's DID was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// In a TXT record.
    Dns,
    /// At the host of the handle's name.
    Https,
}

/// Whom a handle's domain names.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) did: String,
    pub(crate) how: How,
    /// What the other way of asking has against it.
    pub(crate) doubt: Option<String>,
}

/// The network. Nothing is remembered: each name is asked about when it is looked up.
pub(crate) struct Live<'a> {
    upstreams: &'a Upstreams<'a>,
    directory: Client,
    hosts: Client,
    /// A machine without a name server can still ask hosts.
    names: Result<TxtResolver, net::Error>,
}

impl<'a> Live<'a> {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// If a certificate cannot be read.
    pub(crate) fn new(upstreams: &'a Upstreams<'a>) -> anyhow::Result<Self> {
        let policy = Policy { allow_private: upstreams.allow_private };
        Ok(Self {
            upstreams,
            directory: Client::new(policy, upstreams.ca, REQUEST)?,
            hosts: Client::connecting_to(upstreams.hosts_at, policy, upstreams.ca, REQUEST)?,
            names: TxtResolver::new(upstreams.dns, LOOK_UP),
        })
    }

    /// Whom a handle names. Name servers and the host are both asked; where the name servers know
    /// somebody, it is them who count.
    ///
    /// # Errors
    /// Why it names nobody, or more than one.
    pub(crate) fn resolve(&self, handle: &Handle) -> anyhow::Result<Named> {
        ensure!(
            self.upstreams.allow_private || !handle.is_test(),
            ".test is for test networks; --allow-private lets it be asked about"
        );
        let (dns, https) = std::thread::scope(|scope| {
            let https = scope.spawn(|| self.by_host(handle));
            let dns = self.by_records(handle);
            (dns, https.join().unwrap_or_else(|_| Err(anyhow!("no answer"))))
        });
        match (dns, https) {
            (Ok(did), https) => {
                let other = https.ok().filter(|other| *other != did);
                let doubt = other.map(|other| format!("its host names {other}"));
                Ok(Named { did, how: How::Dns, doubt })
            }
            (Err(Undecided::Several(error)), _) => Err(error),
            (Err(Undecided::Nobody(_)), Ok(did)) => Ok(Named { did, how: How::Https, doubt: None }),
            (Err(Undecided::Unclear(error)), Ok(did)) => {
                Ok(Named { did, how: How::Https, doubt: Some(format!("{error:#}")) })
            }
            (Err(Undecided::Nobody(dns) | Undecided::Unclear(dns)), Err(https)) => {
                Err(anyhow!("{dns:#}; {https:#}"))
            }
        }
    }

    fn by_records(&self, handle: &Handle) -> Result<String, Undecided> {
        let nobody = |why: String| Undecided::Nobody(anyhow!(why));
        let name = handle.txt_name().ok_or_else(|| nobody("too long for a TXT record".into()))?;
        let unclear =
            |error: anyhow::Error| Undecided::Unclear(error.context(format!("TXT {name}")));
        let names = self.names.as_ref().map_err(|error| unclear(anyhow!("{error}")))?;
        let records = names.txt(&name).map_err(|error| unclear(error.into()))?;
        match did_in_records(records.iter().map(Vec::as_slice)) {
            Ok(Some(did)) => Ok(did),
            Ok(None) => Err(nobody(format!("TXT {name}: no record with did="))),
            Err(error @ NotFound::Several { .. }) => {
                Err(Undecided::Several(anyhow!("TXT {name}: {error}")))
            }
            Err(error) => Err(unclear(error.into())),
        }
    }

    fn by_host(&self, handle: &Handle) -> anyhow::Result<String> {
        let url = handle.url();
        let answer = self.hosts.get(&url, DID_TEXT_BYTES_MAX).with_context(|| url.clone())?;
        ensure!((200..300).contains(&answer.status), "{url}: status {}", answer.status);
        did_in_body(&answer.body).context(url)
    }

    /// The present document of a DID, from the directory or from its host; nothing if there is no
    /// such account, or no longer.
    ///
    /// # Errors
    /// Why there is no answer, or none that can be read. That says nothing about the account.
    pub(crate) fn document(&self, did: &str) -> anyhow::Result<Option<Document>> {
        let (client, url) = if PlcDid::parse(did).is_some() {
            (&self.directory, format!("{}/{did}", self.upstreams.plc))
        } else if let Some(url) = web::url(did, self.upstreams.allow_private) {
            (&self.hosts, url)
        } else {
            // No account can have this DID.
            return Ok(None);
        };
        let answer = client.get(&url, DOCUMENT_BYTES_MAX).with_context(|| url.clone())?;
        match answer.status {
            200 => Ok(Some(Document::read(did, &answer.body).context(url)?)),
            404 | 410 => Ok(None),
            status => bail!("{url}: status {status}"),
        }
    }
}

/// Why name servers name nobody, or nobody for certain.
enum Undecided {
    /// There is no record.
    Nobody(anyhow::Error),
    /// No answer, or none that can be read.
    Unclear(anyhow::Error),
    /// More than one DID; then the host is not heard either.
    Several(anyhow::Error),
}
