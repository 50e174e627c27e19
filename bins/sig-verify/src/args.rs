//! What the tool is told.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use anyhow::Context;
use cli::{Common, Inputs, Out, Sockets};
use didindex::DidIndex;

use crate::heal::OnGap;
use crate::identity::Identities;
use crate::pds::Hosts;
use crate::resolve::{Resolver, Upstream};
use crate::verify::{Foreign, Keys, Legacy, Policy};

/// The most threads that are of use.
const JOBS_MAX: usize = 256;

/// Prove each event against the identity directory and append the verdict
///
/// Proved events are passed on; what is refused or cannot be checked is dropped, or kept by
/// --rejects, unless --pass-all. Identities come from an index, from the directory itself, or
/// from the index first and the directory where that falls short. The last commit of each account
/// is remembered (of some 3.6 million accounts, in 510 MB): copies of it are dropped, earlier ones
/// refused, and one that does not follow it is noted as a gap.
///
/// Unsigned events (#account, #identity) count from the account's own host. A relay's #account is
/// confirmed by asking that host (getRepoStatus), if anybody may be asked (--resolve); and so is an
/// account that commits although it is held inactive.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) inputs: Inputs,

    #[command(flatten)]
    pub(crate) out: Out,

    /// The index of the identity directory, as index-build makes it
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_INDEX")]
    pub(crate) index: Option<PathBuf>,

    /// Which key of an account counts
    #[arg(long, value_name = "WHICH", default_value = "auto", env = "SOVEREIGN_KEYS")]
    pub(crate) keys: Keys,

    /// What to do about commits without prevData or an op's prev, as older hosts send them
    #[arg(long, value_name = "WHAT", default_value = "pass", env = "SOVEREIGN_LEGACY")]
    pub(crate) legacy: Legacy,

    /// What to do about signed events from a PDS that is not the account's
    #[arg(long, value_name = "WHAT", default_value = "mark", env = "SOVEREIGN_FOREIGN")]
    pub(crate) foreign: Foreign,

    /// Take a relay's word for unsigned events, instead of asking the account's host
    #[arg(long, env = "SOVEREIGN_TRUST_RELAY")]
    pub(crate) trust_relay: bool,

    /// Close gaps: fetch the account's repository from its host, prove it, pass it on as a frame
    ///
    /// The account's events wait meanwhile; those that the repository holds already are dropped as
    /// repeats. After a hole, the host's list of accounts says which have moved on.
    #[arg(long, env = "SOVEREIGN_HEAL", requires = "resolve")]
    pub(crate) heal: bool,

    /// What to do about an event behind a gap that is not closed
    #[arg(long, value_name = "WHAT", default_value = "pass", env = "SOVEREIGN_ON_GAP")]
    pub(crate) on_gap: OnGap,

    /// Begin with what this archive says of accounts, as of its last mark
    #[arg(long, value_name = "ARCHIVE", env = "SOVEREIGN_RESUME")]
    pub(crate) resume: Option<PathBuf>,

    /// Keep what is known of accounts in this file, for the next run (where no archive is behind)
    ///
    /// It is written and synced before a mark goes on. What the last run proved shortly before it
    /// ended, and what comes again therefore, is judged as it was then.
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_STATE", conflicts_with = "resume")]
    pub(crate) state: Option<PathBuf>,

    /// Threads that prove events [default: one for each core]
    ///
    /// What comes out, and in which order, does not hang on how many there are.
    #[arg(long, value_name = "N", env = "SOVEREIGN_JOBS")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Check one in N good signatures with a second implementation too; refusals always are
    #[arg(long, value_name = "N", env = "SOVEREIGN_SECOND_OPINION")]
    pub(crate) second_opinion: Option<NonZeroU64>,

    /// Where to keep what is not passed on, with the rule that failed
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,

    /// Pass everything on, with its verdict
    #[arg(long)]
    pub(crate) pass_all: bool,

    /// Ask this PLC directory, and did:web hosts, for what the index lacks or has outdated
    ///
    /// An answer of the directory is believed for 6 hours, that of a did:web host for 1 hour, and
    /// "no such account" for a minute. A key that fails, or an #identity event, asks again after a
    /// minute. Where nobody answers any longer, what was said last is believed for a day.
    #[arg(long, value_name = "URL", env = "SOVEREIGN_RESOLVE", value_parser = cli::directory_url)]
    pub(crate) resolve: Option<String>,

    /// How long an event waits for a directory that does not answer
    #[arg(long, value_name = "TIME", default_value = "30s", env = "SOVEREIGN_PATIENCE")]
    pub(crate) patience: cli::units::Span,

    /// Look for all hosts of did:web, and of accounts, at this address (a test network)
    #[arg(long, value_name = "ADDR:PORT", env = "SOVEREIGN_CONNECT_TO")]
    pub(crate) connect_to: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) sockets: Sockets,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Args {
    /// Opens the index and starts the look-ups, as far as they are asked for.
    ///
    /// # Errors
    /// If the index or the certificates cannot be read.
    pub(crate) fn identities(&self) -> anyhow::Result<Identities> {
        let index = self
            .index
            .as_deref()
            .map(|path| DidIndex::open(path).with_context(|| path.display().to_string()));
        let resolver = self.upstream().map(|upstream| Resolver::start(&upstream));
        Ok(Identities::new(index.transpose()?, resolver.transpose()?, self.keys))
    }

    /// Starts what asks the hosts of accounts, if anybody may be asked.
    ///
    /// # Errors
    /// If the certificates cannot be read.
    pub(crate) fn asker(&self) -> anyhow::Result<Option<Hosts>> {
        self.upstream().map(|upstream| Hosts::start(&upstream)).transpose()
    }

    fn upstream(&self) -> Option<Upstream> {
        self.resolve.as_ref().map(|url| Upstream {
            url: url.clone(),
            hosts_at: self.connect_to,
            allow_private: self.sockets.allow_private,
            ca: self.sockets.ca.clone(),
            patience: self.patience.0,
        })
    }

    /// How many threads prove events: no more than anybody has cores.
    pub(crate) fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.jobs.unwrap_or_else(cores).get().min(JOBS_MAX)
    }

    /// What is asked of all events alike.
    pub(crate) fn policy(&self) -> Policy {
        let Args { keys, legacy, foreign, trust_relay, .. } = *self;
        Policy { keys, legacy, foreign, trust_relay }
    }
}
