//! Asks directories over the network, on threads of its own.
//!
//! A question costs a round trip to somebody else's machine, so each is asked once, a few at a
//! time, and what the other side says about how it wants to be asked is obeyed. The PLC directory
//! and the hosts of did:web have threads of their own, so that slow hosts, which anyone can name,
//! hold up nobody but themselves.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use didindex::PlcDid;
use net::http::Client;

use crate::budget::Budget;
use crate::directory;
use crate::identity::Identity;
use crate::queue::{Job, Next, Queue};

/// Questions at a time to the PLC directory.
const PLC_THREADS: usize = 12;

/// Questions at a time to hosts of did:web.
const WEB_THREADS: usize = 6;

/// Questions to hosts of did:web that may wait; others are left without an answer at once.
const WEB_QUESTIONS_MAX: usize = 1024;

/// Questions that may wait when another is put for which nobody waits.
const IDLE_QUESTIONS_MAX: usize = 64;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// The longest document and the longest audit log that are read.
const DOCUMENT_BYTES_MAX: u64 = 256 << 10;
const LOG_BYTES_MAX: u64 = 4 << 20;

/// Which account is asked about, and whether its former keys matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) did: Box<str>,
    pub(crate) history: bool,
}

/// Who knows an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The PLC directory.
    Plc,
    /// The host that a did:web is called by. It knows no former keys.
    Web,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The account exists.
    Found(Identity),
    /// There is no such account: a definite answer.
    Missing,
    /// No answer, or none that could be read: that decides nothing.
    Silence,
}

/// How directories are asked.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// The PLC directory, without a slash at the end.
    pub(crate) url: String,
    /// Where all hosts of did:web are, in a test network.
    pub(crate) hosts_at: Option<SocketAddr>,
    /// Private addresses may be asked.
    pub(crate) allow_private: bool,
    /// Certificates to believe beside the system's.
    pub(crate) ca: Option<std::path::PathBuf>,
    /// How long a question is asked again while there is no answer.
    pub(crate) patience: Duration,
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
pub(crate) struct Resolver {
    plc: Pool,
    web: Pool,
    sender: Sender<Told>,
    answers: Receiver<Told>,
    asked: HashSet<Box<str>>,
    answered: u64,
    allow_private: bool,
    /// Of questions to hosts of did:web.
    budget: Budget,
}

impl Resolver {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a certificate cannot be read, or the system has no more threads.
    pub(crate) fn start(upstream: &Upstream) -> anyhow::Result<Resolver> {
        let policy = net::Policy { allow_private: upstream.allow_private };
        let ca = upstream.ca.as_deref();
        let plc = Client::new(policy, ca, REQUEST)?;
        let web = Client::connecting_to(upstream.hosts_at, policy, ca, REQUEST)?;
        let (sender, answers) = mpsc::channel();
        let start = |threads, client, one_server| {
            let desk = Desk {
                state: Mutex::new(State {
                    queue: Queue::new(upstream.patience, one_server),
                    closed: false,
                    why: None,
                }),
                changed: Condvar::new(),
                upstream: upstream.clone(),
                client,
            };
            Pool::start(threads, desk, &sender)
        };
        Ok(Resolver {
            plc: start(PLC_THREADS, plc, true)?,
            web: start(WEB_THREADS, web, false)?,
            sender,
            answers,
            asked: HashSet::new(),
            answered: 0,
            allow_private: upstream.allow_private,
            budget: Budget::new(Instant::now()),
        })
    }

    /// Who knows an account of this name, if anybody can.
    pub(crate) fn source(&self, did: &str) -> Option<Source> {
        if PlcDid::parse(did).is_some() {
            return Some(Source::Plc);
        }
        diddoc::web::is_possible(did, self.allow_private).then_some(Source::Web)
    }

    /// Asks, unless that account is being asked about already.
    pub(crate) fn ask(&mut self, question: Question) {
        if !self.asked.insert(question.did.clone()) {
            return;
        }
        match self.source(&question.did) {
            Some(Source::Plc) => self.plc.ask(question),
            Some(Source::Web)
                if self.web.waiting() < WEB_QUESTIONS_MAX && self.budget.takes(&question.did) =>
            {
                self.web.ask(question);
            }
            Some(Source::Web) => self.say(question, Answer::Silence),
            None => self.say(question, Answer::Missing),
        }
    }

    /// Asks, if there is little to do.
    pub(crate) fn ask_if_idle(&mut self, question: Question) {
        if self.asked.len() < IDLE_QUESTIONS_MAX {
            self.ask(question);
        }
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The next answer, if one comes within `wait`.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<Told> {
        if self.asked.is_empty() {
            return None;
        }
        let told = self.answers.recv_timeout(wait).ok()?;
        self.asked.remove(&told.question.did);
        self.answered += 1;
        Some(told)
    }

    /// How many answers were given.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Why there was no answer lately, if that was not said before.
    pub(crate) fn why(&self) -> Option<String> {
        self.plc.desk.lock().why.take().or_else(|| self.web.desk.lock().why.take())
    }

    fn say(&self, question: Question, answer: Answer) {
        // The receiver lives as long as the sender does.
        let _ = self.sender.send(Told { question, answer, asked_ns: cli::now_ns() });
    }
}

/// Some threads that ask, and what they have to ask.
struct Pool {
    desk: Arc<Desk>,
}

impl Pool {
    fn start(threads: usize, desk: Desk, answers: &Sender<Told>) -> anyhow::Result<Pool> {
        let desk = Arc::new(desk);
        for _ in 0..threads {
            let (desk, answers) = (Arc::clone(&desk), answers.clone());
            let thread = thread::Builder::new().name("resolve".into());
            thread.spawn(move || desk.work(&answers)).context("starting a thread")?;
        }
        Ok(Pool { desk })
    }

    fn ask(&self, question: Question) {
        self.desk.lock().queue.put(question, Instant::now());
        self.desk.changed.notify_one();
    }

    fn waiting(&self) -> usize {
        self.desk.lock().queue.len()
    }
}

impl Drop for Pool {
    /// Lets the threads end. One that waits for a server is not waited for.
    fn drop(&mut self) {
        self.desk.lock().closed = true;
        self.desk.changed.notify_all();
    }
}

/// What the threads of a pool share.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    upstream: Upstream,
    client: Client,
}

struct State {
    queue: Queue,
    closed: bool,
    /// The latest reason why a question had no answer, until somebody asks.
    why: Option<String>,
}

/// What one request came to.
enum Reply {
    Body(Vec<u8>),
    Missing,
    Gone,
}

/// Nothing that decides anything: to be asked again after this long at least, or not at all.
type Undecided = Option<Duration>;

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one question after the other until the pool is closed.
    fn work(&self, answers: &Sender<Told>) {
        while let Some(next) = self.next() {
            let asked_ns = cli::now_ns();
            let (question, answer) = match next {
                Next::Nothing(_) => continue,
                Next::GiveUp(job) => (job.question, Answer::Silence),
                Next::Ask(job) => match self.ask(&job.question) {
                    Ok(answer) => {
                        self.lock().queue.answers(Instant::now());
                        (job.question, answer)
                    }
                    Err(None) => (job.question, Answer::Silence),
                    Err(Some(least)) => match self.again(job, least) {
                        Some(job) => (job.question, Answer::Silence),
                        None => continue,
                    },
                },
            };
            if answers.send(Told { question, answer, asked_ns }).is_err() {
                return;
            }
        }
    }

    /// What there is to do, after waiting for it; `None` when the pool is closed.
    fn next(&self) -> Option<Next> {
        let mut state = self.lock();
        while !state.closed {
            match state.queue.next(Instant::now()) {
                Next::Nothing(None) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Next::Nothing(Some(wait)) => {
                    let woken = self.changed.wait_timeout(state, wait);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                next => return Some(next),
            }
        }
        None
    }

    /// Puts a question back; it comes back itself if its time is over.
    fn again(&self, job: Job, least: Duration) -> Option<Job> {
        let over = self.lock().queue.again(job, least, Instant::now());
        // Others may be waiting for a later moment than this question is due.
        self.changed.notify_one();
        over
    }

    fn ask(&self, question: &Question) -> Result<Answer, Undecided> {
        let did = &*question.did;
        if PlcDid::parse(did).is_none() {
            return match diddoc::web::url(did, self.upstream.allow_private) {
                Some(url) => self.document(did, &url, Answer::Missing),
                None => Ok(Answer::Missing),
            };
        }
        let url = format!("{}/{did}", self.upstream.url);
        if question.history
            && let Reply::Body(body) = self.get(&format!("{url}/log/audit"), LOG_BYTES_MAX)?
        {
            return directory::log(did, &body).map(Answer::Found).ok_or(None);
        }
        // A directory that keeps no logs still has the present state.
        self.document(did, &url, Answer::Found(directory::tombstone()))
    }

    fn document(&self, did: &str, url: &str, gone: Answer) -> Result<Answer, Undecided> {
        match self.get(url, DOCUMENT_BYTES_MAX)? {
            // A host of did:web speaks for itself: if it says that it is somebody else, this account
            // is nobody. A directory that gives another's document has made a mistake.
            Reply::Body(body)
                if PlcDid::parse(did).is_none() && directory::is_anothers(did, &body) =>
            {
                Ok(Answer::Missing)
            }
            Reply::Body(body) => directory::document(did, &body).map(Answer::Found).ok_or(None),
            Reply::Missing => Ok(Answer::Missing),
            Reply::Gone => Ok(gone),
        }
    }

    fn get(&self, url: &str, bytes_max: u64) -> Result<Reply, Undecided> {
        let response = self.client.get(url, bytes_max).map_err(|error| {
            let decided = match error {
                net::Error::TooLarge { .. }
                | net::Error::Private { .. }
                | net::Error::Redirects { .. }
                | net::Error::Downgrade { .. } => None,
                _ => Some(Duration::ZERO),
            };
            self.lock().why = Some(format!("{url}: {:#}", anyhow::Error::new(error)));
            decided
        })?;
        let least = match response.status {
            200 => return Ok(Reply::Body(response.body)),
            404 => return Ok(Reply::Missing),
            410 => return Ok(Reply::Gone),
            // A server that wants less of us says so, with a time or without.
            429 | 503 => response.retry_after.unwrap_or_default().max(Duration::from_millis(1)),
            _ => Duration::ZERO,
        };
        self.lock().why = Some(format!("{url}: status {}", response.status));
        Err(Some(least))
    }
}
