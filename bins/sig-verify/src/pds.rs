//! Asks the hosts of accounts, on threads of its own.
//!
//! Hosts are strangers, and any number of them can be named. So one question at a time goes to a
//! host, one that does not answer is left alone for a minute, and what waits is bounded: a question
//! that finds no room has no answer. No answer decides nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use net::Endpoint;
use net::http::Client;
use serde_json::Value;

use crate::resolve::Upstream;

/// Hosts that are asked at a time.
const THREADS: usize = 6;

/// Questions that wait.
const QUESTIONS_MAX: usize = 1024;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// How long a host that gave no answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Hosts that are left alone; of more, some are asked again sooner.
const SILENT_MAX: usize = 1 << 14;

/// The longest answer about a status.
const STATUS_BYTES_MAX: u64 = 64 << 10;

/// What a host says of an account of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Whether its repository may be had.
    Active(bool),
    /// Nothing that could be read.
    Silence,
}

/// Which account, and at which host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) did: Box<str>,
    /// The host's canonical name.
    pub(crate) pds: Box<str>,
}

/// Takes questions and gives answers, in whatever order they come.
pub(crate) struct Hosts {
    desk: Arc<Desk>,
    sender: Sender<(Question, Said)>,
    answers: Receiver<(Question, Said)>,
    asked: HashSet<Box<str>>,
}

impl Hosts {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a certificate cannot be read, or the system has no more threads.
    pub(crate) fn start(upstream: &Upstream) -> anyhow::Result<Hosts> {
        let policy = net::Policy { allow_private: upstream.allow_private };
        let ca = upstream.ca.as_deref();
        let client = Client::connecting_to(upstream.hosts_at, policy, ca, REQUEST)?;
        let (sender, answers) = mpsc::channel();
        let desk = Arc::new(Desk {
            state: Mutex::default(),
            changed: Condvar::new(),
            client,
            ports: upstream.allow_private,
            tls: ca.is_some(),
        });
        for _ in 0..THREADS {
            let (desk, sender) = (Arc::clone(&desk), sender.clone());
            let thread = thread::Builder::new().name("hosts".into());
            thread.spawn(move || desk.work(&sender)).context("starting a thread")?;
        }
        Ok(Hosts { desk, sender, answers, asked: HashSet::new() })
    }

    /// Asks, unless that account is being asked about already.
    pub(crate) fn ask(&mut self, question: Question) {
        if !self.asked.insert(question.did.clone()) {
            return;
        }
        let mut state = self.desk.lock();
        if state.queue.len() >= QUESTIONS_MAX {
            drop(state);
            // The receiver lives as long as the sender does.
            let _ = self.sender.send((question, Said::Silence));
            return;
        }
        state.queue.push_back(question);
        drop(state);
        self.desk.changed.notify_one();
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The next answer, if one comes within `wait`.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<(Question, Said)> {
        if self.asked.is_empty() {
            return None;
        }
        let (question, said) = self.answers.recv_timeout(wait).ok()?;
        self.asked.remove(&question.did);
        Some((question, said))
    }
}

impl Drop for Hosts {
    /// Lets the threads end. One that waits for a host is not waited for.
    fn drop(&mut self) {
        self.desk.lock().closed = true;
        self.desk.changed.notify_all();
    }
}

/// What the threads share.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    client: Client,
    /// Hosts at ports of their own may be asked, as test networks have them.
    ports: bool,
    /// Those speak TLS.
    tls: bool,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Question>,
    /// Hosts that are being asked.
    busy: HashSet<Box<str>>,
    /// Hosts that gave no answer, and until when they are left alone.
    silent: HashMap<Box<str>, Instant>,
    closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one question after the other until all is closed.
    fn work(&self, answers: &Sender<(Question, Said)>) {
        while let Some((question, is_silent)) = self.next() {
            let said = if is_silent { None } else { self.status(&question) };
            if !is_silent {
                self.done(&question.pds, said.is_none());
            }
            if answers.send((question, said.map_or(Said::Silence, Said::Active))).is_err() {
                return;
            }
        }
    }

    /// A question to a host that is not being asked, and whether that host is left alone.
    fn next(&self) -> Option<(Question, bool)> {
        let mut state = self.lock();
        while !state.closed {
            let free = state.queue.iter().position(|it| !state.busy.contains(&it.pds));
            if let Some(question) = free.and_then(|place| state.queue.remove(place)) {
                let until = state.silent.get(&question.pds);
                let is_silent = until.is_some_and(|until| Instant::now() < *until);
                if !is_silent {
                    state.busy.insert(question.pds.clone());
                }
                return Some((question, is_silent));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn done(&self, pds: &str, is_silent: bool) {
        let mut state = self.lock();
        state.busy.remove(pds);
        if is_silent {
            if state.silent.len() >= SILENT_MAX {
                let now = Instant::now();
                state.silent.retain(|_, until| now < *until);
                if state.silent.len() >= SILENT_MAX {
                    state.silent.clear();
                }
            }
            state.silent.insert(pds.into(), Instant::now() + LEFT_ALONE);
        } else {
            state.silent.remove(pds);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Whether the account is active, as its host says; `None` for no answer.
    fn status(&self, question: &Question) -> Option<bool> {
        let mut endpoint: Endpoint = question.pds.parse().ok()?;
        if endpoint.port != 443 {
            if !self.ports {
                return None;
            }
            endpoint.tls = self.tls;
        }
        let path = format!("/xrpc/com.atproto.sync.getRepoStatus?did={}", question.did);
        let response = self.client.get(&endpoint.http_url(&path), STATUS_BYTES_MAX).ok()?;
        status(response.status, &response.body, &question.did)
    }
}

/// Reads an answer of `getRepoStatus`.
fn status(code: u16, body: &[u8], did: &str) -> Option<bool> {
    let body: Value = serde_json::from_slice(body).ok()?;
    match code {
        200 if body.get("did")?.as_str()? == did => body.get("active")?.as_bool(),
        400 | 404 if body.get("error")?.as_str()? == "RepoNotFound" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_what_hosts_send() {
        let did = "did:plc:2a7ygipkrbh544aqhcav53oy";
        let body = |active: bool| format!(r#"{{"did":"{did}","active":{active},"status":"x"}}"#);
        assert_eq!(status(200, body(true).as_bytes(), did), Some(true));
        assert_eq!(status(200, body(false).as_bytes(), did), Some(false));
        assert_eq!(status(200, body(true).as_bytes(), "did:plc:other"), None);
        assert_eq!(status(200, b"{}", did), None);
        assert_eq!(status(200, b"<html>", did), None);
        assert_eq!(status(400, br#"{"error":"RepoNotFound"}"#, did), Some(false));
        assert_eq!(status(400, br#"{"error":"InvalidRequest"}"#, did), None);
        assert_eq!(status(502, body(true).as_bytes(), did), None);
    }
}
