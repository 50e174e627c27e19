//! `did-lookup`: what `did.idx` says about a DID, and about itself; whose a handle is.

mod about;
mod answer;
mod live;
mod names;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cli::{Cli, Common, Sockets, Text, Tool};
use didindex::{DidIndex, Error};

use crate::live::Upstreams;
use crate::names::Names;

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// Looks DIDs and handles up and prints a JSON object for each
///
/// About a DID: did, status (active, no-pds, unknown-key-type, no-key, tombstoned, unknown), key
/// (the present signing key, a did:key), pds (host name) and history (from when which key was in
/// force; from is null for a first key of which that is not kept: it counts from the beginning). A
/// did:web is not in the index: its host is asked (status no-answer, with error, if it does not
/// answer).
///
/// About a handle: handle, did, verified, how (dns or https), and what is said about that DID.
/// Name servers and the handle's host are asked whom it names, and it is verified when the DID's
/// present document names it in turn; otherwise error says why not. Nothing that is asked is added
/// to the index.
///
/// Ends with 1 if a DID is unknown or a handle is not verified.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The index that index-build made
    #[arg(value_name = "INDEX")]
    index: PathBuf,

    /// DIDs and handles; without any, or with `-`, they are read from standard input, one a line
    #[arg(value_name = "NAME", conflicts_with_all = ["info", "hosts", "verify"])]
    names: Vec<String>,

    /// Print what the index holds: accounts, load, bytes, hosts, what has changed since it was
    /// built, and up to when it has read
    #[arg(long, conflicts_with_all = ["hosts", "verify"])]
    info: bool,

    /// Print the names of PDS hosts, those with most accounts first, one a line
    #[arg(long, conflicts_with = "verify")]
    hosts: bool,

    /// Read all of the index and of what lies beside it and compare their checksums
    #[arg(long)]
    verify: bool,

    /// Print --info as a JSON object, --hosts as one a line with their accounts; names always are
    #[arg(long, conflicts_with = "verify")]
    json: bool,

    /// The PLC directory that has the present documents of handles' accounts
    #[arg(long, value_name = "URL", default_value = "https://plc.directory", env = "SOVEREIGN_PLC", value_parser = cli::directory_url)]
    plc: String,

    /// Ask this name server [default: those of the system]
    #[arg(long, value_name = "ADDR[:PORT]", env = "SOVEREIGN_DNS", value_parser = name_server)]
    dns: Option<SocketAddr>,

    /// Look for all hosts of handles and of did:web at this address (a test network)
    #[arg(long, value_name = "ADDR:PORT", env = "SOVEREIGN_CONNECT_TO")]
    connect_to: Option<SocketAddr>,

    #[command(flatten)]
    sockets: Sockets,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "did-lookup";
    const EXAMPLE: &'static str = "\
did-lookup did.idx did:plc:ewvi7nxzyoun6zhxrhs64oiz
did-lookup did.idx @atproto.com | jq .verified
did-lookup did.idx --hosts | pds-tap --hosts -";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let name = self.index.display();
        let mut index = match DidIndex::open(&self.index) {
            Err(error @ Error::NotAnIndex { .. }) => {
                return Err(cli::usage(format!("{name}: {error}")));
            }
            index => index.with_context(|| name.to_string())?,
        };
        let mut out = Text::new(cli);
        if self.verify {
            index.verify().with_context(|| name.to_string())?;
            cli.info(format_args!("{name}: whole"));
            return Ok(());
        }
        if self.info {
            about::info(&index, self.json, &mut out)?;
            return out.flush();
        }
        if self.hosts {
            about::hosts(&index, self.json, &mut out)?;
            return out.flush();
        }
        let upstreams = Upstreams {
            plc: &self.plc,
            dns: self.dns,
            hosts_at: self.connect_to,
            allow_private: self.sockets.allow_private,
            ca: self.sockets.ca.as_deref(),
        };
        let mut names = Names::new(cli, &mut index, &upstreams);
        if self.names.is_empty() {
            names.look_up_stdin(&mut out)?;
        }
        for asked in &self.names {
            match asked.as_str() {
                "-" => names.look_up_stdin(&mut out)?,
                asked => names.look_up(asked, &mut out)?,
            }
        }
        out.flush()?;
        names.finish(name)
    }
}

fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    let alone = || text.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| "a name server is an address: 9.9.9.9 or [::1]:53")
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
