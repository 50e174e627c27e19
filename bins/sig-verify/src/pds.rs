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
use atproto::Tid;
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

/// The longest answer about a status, and the longest list of accounts.
const STATUS_BYTES_MAX: u64 = 64 << 10;
const LIST_BYTES_MAX: u64 = 1 << 20;

/// The largest repository that is fetched.
const REPO_BYTES_MAX: u64 = 64 << 20;

/// Accounts in a list.
const LIST_MAX: usize = 1000;

/// What is asked of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// Whether the repository of an account of its own may be had.
    Status(Box<str>),
    /// The repository of an account.
    Repo(Box<str>),
    /// Its accounts behind this one.
    List(Box<str>),
}

/// What is asked, and of whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) asked: Asked,
    /// The host's canonical name.
    pub(crate) pds: Box<str>,
}

/// What a host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Whether the account is active.
    Active(bool),
    /// A CAR, perhaps.
    Repo(Vec<u8>),
    /// Accounts with their revs, and behind which account the list goes on.
    List(Vec<(Box<str>, Tid)>, Option<Box<str>>),
    /// Nothing that could be read.
    Silence,
}

/// A question and what came of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) question: Question,
    pub(crate) answer: Answer,
    /// When it was asked, unix ns: of what came to be later the answer knows nothing.
    pub(crate) asked_ns: u64,
}

/// Takes questions and gives answers, in whatever order they come.
pub(crate) struct Hosts {
    desk: Arc<Desk>,
    sender: Sender<Told>,
    answers: Receiver<Told>,
    asked: HashSet<Question>,
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

    /// Asks, unless the same is being asked already.
    pub(crate) fn ask(&mut self, question: Question) {
        if !self.asked.insert(question.clone()) {
            return;
        }
        let mut state = self.desk.lock();
        if state.queue.len() >= QUESTIONS_MAX {
            drop(state);
            // The receiver lives as long as the sender does.
            let told = Told { question, answer: Answer::Silence, asked_ns: cli::now_ns() };
            let _ = self.sender.send(told);
            return;
        }
        state.queue.push_back(question);
        drop(state);
        self.desk.changed.notify_one();
    }

    /// How many answers are still to come.
    pub(crate) fn pending(&self) -> usize {
        self.asked.len()
    }

    /// The next answer, if one comes within `wait`.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<Told> {
        if self.asked.is_empty() {
            return None;
        }
        let told = self.answers.recv_timeout(wait).ok()?;
        self.asked.remove(&told.question);
        Some(told)
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
    fn work(&self, answers: &Sender<Told>) {
        while let Some((question, is_silent)) = self.next() {
            let asked_ns = cli::now_ns();
            let answer = if is_silent { None } else { self.fetch(&question) };
            if !is_silent {
                self.done(&question.pds, answer.is_none());
            }
            let answer = answer.unwrap_or(Answer::Silence);
            if answers.send(Told { question, answer, asked_ns }).is_err() {
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

    /// What the host answers; `None` for no answer.
    fn fetch(&self, question: &Question) -> Option<Answer> {
        let mut endpoint: Endpoint = question.pds.parse().ok()?;
        if endpoint.port != 443 {
            if !self.ports {
                return None;
            }
            endpoint.tls = self.tls;
        }
        let (path, bytes_max) = match &question.asked {
            Asked::Status(did) => (format!("getRepoStatus?did={did}"), STATUS_BYTES_MAX),
            Asked::Repo(did) => (format!("getRepo?did={did}"), REPO_BYTES_MAX),
            Asked::List(did) if did.is_empty() => {
                (format!("listRepos?limit={LIST_MAX}"), LIST_BYTES_MAX)
            }
            Asked::List(did) => {
                (format!("listRepos?limit={LIST_MAX}&cursor={did}"), LIST_BYTES_MAX)
            }
        };
        let url = endpoint.http_url(&format!("/xrpc/com.atproto.sync.{path}"));
        let response = self.client.get(&url, bytes_max).ok()?;
        match &question.asked {
            Asked::Status(did) => status(response.status, &response.body, did).map(Answer::Active),
            Asked::Repo(_) => (response.status == 200).then_some(Answer::Repo(response.body)),
            Asked::List(_) => list(&response.body).filter(|_| response.status == 200),
        }
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

/// Reads an answer of `listRepos`. Accounts that cannot be read are left out.
fn list(body: &[u8]) -> Option<Answer> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value, field: &str| value.get(field)?.as_str().map(str::to_owned);
    let repos = body.get("repos")?.as_array()?.iter().filter_map(|repo| {
        let (did, rev) = (text(repo, "did")?, text(repo, "rev")?);
        atproto::syntax::is_did(&did).then_some((did.into(), rev.parse().ok()?))
    });
    // It goes into a URL as it is.
    let is_plain = |cursor: &String| {
        cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":._-".contains(&byte))
    };
    let cursor = text(&body, "cursor").filter(|cursor| !cursor.is_empty()).filter(is_plain);
    Some(Answer::List(repos.take(LIST_MAX).collect(), cursor.map(Into::into)))
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

    #[test]
    fn a_list_is_read_as_far_as_it_can_be() {
        let (did, rev) = ("did:plc:2a7ygipkrbh544aqhcav53oy", "3jzfcijpj2z2a");
        let good = format!(r#"{{"did":"{did}","rev":"{rev}","head":"x","active":true}}"#);
        let body =
            format!(r#"{{"repos":[{good},{{"did":"no","rev":"{rev}"}},{{}}],"cursor":"a:b"}}"#);
        let repos = vec![(did.into(), rev.parse().unwrap())];
        assert_eq!(list(body.as_bytes()), Some(Answer::List(repos, Some("a:b".into()))));
        let end = Some(Answer::List(Vec::new(), None));
        assert_eq!(list(br#"{"repos":[]}"#), end);
        assert_eq!(list(br#"{"repos":[],"cursor":"a&did=b"}"#), end);
        assert_eq!(list(b"{}"), None);
    }
}
