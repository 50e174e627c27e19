//! `--resume ARCHIVE`: what an archive says of the accounts, as of its last mark.
//!
//! What it holds behind its last mark comes again, since that mark is where hosts are resumed: it
//! does not count, so that it is judged as it was the first time. Repositories that were fetched
//! (`repo` frames) come from nowhere again and count wherever they lie: what comes again and is in
//! one already is a repeat, as it was then. What the archive learns later is kept in memory and dies
//! with the process, as the next start learns it from the archive.

use std::path::{Path, PathBuf};

use anyhow::Context;
use atproto::Tid;
use cli::Cli;

use crate::heads::{Account, Head, HostKey};

/// An archive that is asked for accounts.
#[derive(Debug)]
pub(crate) struct Archived {
    dir: PathBuf,
    heads: archive::Heads,
    failed: Option<archive::Error>,
}

impl Archived {
    /// Opens an archive; `None`, if there is none yet, or none that has a mark.
    ///
    /// # Errors
    /// What the archive says.
    pub(crate) fn open(dir: &Path, cli: &Cli) -> anyhow::Result<Option<Archived>> {
        // Waits while a writer repairs.
        let opened = archive::heads(dir).with_context(|| format!("--resume {}", dir.display()))?;
        let Some(heads) = opened else { return Ok(None) };
        let (dir, scanned) = (dir.to_owned(), heads.scanned());
        let name = dir.display();
        cli.info(format_args!("--resume {name}: {scanned} events gone through"));
        Ok(Some(Archived { dir, heads, failed: None }))
    }

    /// What the archive knows of an account; `None` if nothing.
    pub(crate) fn get(&mut self, did: &str) -> Option<Account> {
        match self.heads.get(did) {
            Ok(known) => Some(account(&known)).filter(|account| *account != Account::default()),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    /// Has the archive say what it has learnt since: accounts that it knew less of are forgotten here.
    pub(crate) fn renew(&mut self) {
        match archive::heads(&self.dir) {
            Ok(Some(heads)) => self.heads = heads,
            Ok(None) => {}
            Err(error) => self.failed = Some(error),
        }
    }

    /// Whether it could be asked all the time.
    ///
    /// # Errors
    /// What it said.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error).with_context(|| format!("--resume {}", self.dir.display())),
            None => Ok(()),
        }
    }
}

fn account(known: &archive::Account) -> Account {
    let head =
        |head: archive::Head| Head { rev: Tid(head.rev), commit: head.commit, data: head.data };
    Account {
        head: known.head.map(head),
        away: known.away.and_then(HostKey::from_number),
        healed: known.head.is_some_and(|head| head.healed),
    }
}
