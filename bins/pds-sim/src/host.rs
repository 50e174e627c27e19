//! A host: its name, its window of events, its repositories, and who listens.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::Result;

use crate::log::Log;
use crate::repo::Repo;

/// What a host says of one of its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// CID of the last commit, if there is one yet.
    pub head: String,
    /// Rev of the last commit.
    pub rev: String,
    /// Whether the account is served.
    pub active: bool,
    /// Why not.
    pub status: Option<String>,
}

impl Default for Summary {
    /// An account of which nothing is known is served.
    fn default() -> Self {
        Self { head: String::new(), rev: String::new(), active: true, status: None }
    }
}

/// An account on a host: one that is made here, or one of which a capture tells.
#[derive(Clone)]
pub enum Account {
    /// Made here.
    Made(Arc<Mutex<Repo>>),
    /// As it was at the end of the capture.
    Recorded(Arc<Summary>),
}

impl Account {
    /// What `listRepos` and its like say of it.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Made(repo) => lock(repo).summary(),
            Self::Recorded(summary) => (**summary).clone(),
        }
    }

    /// The repository as CAR; nothing for a recorded account, whose records are not known.
    pub fn car(&self) -> Option<Result<Vec<u8>>> {
        match self {
            Self::Made(repo) => Some(lock(repo).car()),
            Self::Recorded(_) => None,
        }
    }
}

/// A lock that outlives a panic: the process ends with one, a test goes on.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host of accounts.
pub struct Host {
    /// Address and port, as a tool names it.
    pub name: String,
    /// Its events.
    pub log: Log,
    /// Its accounts by DID.
    pub accounts: RwLock<BTreeMap<String, Account>>,
    /// Position of each subscriber that is there.
    subscribers: Mutex<HashMap<u64, u64>>,
    /// Connections that ever subscribed.
    pub subscribed: AtomicUsize,
    /// The highest position that a subscriber had been sent when it went in order.
    delivered: AtomicU64,
}

impl Host {
    /// A host with these events and no accounts.
    pub fn new(name: String, log: Log) -> Self {
        Self {
            name,
            log,
            accounts: RwLock::default(),
            subscribers: Mutex::default(),
            subscribed: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    /// The account with this DID.
    pub fn account(&self, did: &str) -> Option<Account> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(did).cloned()
    }

    /// Adds an account, or replaces it.
    pub fn add_account(&self, did: String, account: Account) {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.insert(did, account);
    }

    /// A subscriber comes, moves on, or (`None`) goes.
    pub fn subscriber(&self, id: u64, position: Option<u64>) {
        let mut subscribers = lock(&self.subscribers);
        match position {
            Some(position) => subscribers.insert(id, position),
            None => subscribers.remove(&id),
        };
    }

    /// A subscriber that had been sent everything before this position went in order.
    pub fn delivered(&self, position: u64) {
        self.delivered.fetch_max(position, Ordering::Relaxed);
    }

    /// Position of the slowest subscriber; the end of time when there is none.
    pub fn slowest(&self) -> u64 {
        lock(&self.subscribers).values().copied().min().unwrap_or(u64::MAX)
    }

    /// Whether a subscriber has had everything there is and all have gone.
    pub fn is_done(&self) -> bool {
        let end = *self.log.end().borrow();
        self.delivered.load(Ordering::Relaxed) >= end
            && self.subscribed.load(Ordering::Relaxed) > 0
            && lock(&self.subscribers).is_empty()
    }
}
