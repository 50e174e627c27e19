//! Asking on a thread of its own, so that a signal is obeyed while a directory is silent, and what
//! came is stored while the next answer is on its way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use net::http::{Client, Response};
use net::{Endpoint, Policy};
use nix::poll::PollFlags;

use crate::wait::{Wait, Woke};

/// Longest answer that is read: a thousand operations of some tens of thousands of bytes.
pub(crate) const PAGE_BYTES_MAX: u64 = 64 << 20;

/// Longest file that is downloaded: a week of a directory is below 1 GB.
const DOWNLOAD_BYTES_MAX: u64 = 1 << 40;

/// What may take its time.
enum Question {
    Get(String),
    Download(String, File),
    Look(String),
    Resolve(Box<Endpoint>),
}

/// Status, and when to come again.
pub(crate) type Status = (u16, Option<Duration>);

enum Answer {
    Got(Result<Response, net::Error>),
    Downloaded(Result<Status, net::Error>),
    Resolved(Result<Vec<SocketAddr>, net::Error>),
}

/// A thread that answers one question after the other.
pub(crate) struct Asker {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    /// Has a byte for every answer.
    ready: UnixStream,
}

impl Asker {
    pub(crate) fn start(client: Client, policy: Policy) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let (ready, mut wake) = UnixStream::pair()?;
        thread::Builder::new().name("ask".into()).spawn(move || {
            for question in asked {
                let found = match question {
                    Question::Get(url) => Answer::Got(client.get(&url, PAGE_BYTES_MAX)),
                    Question::Download(url, file) => {
                        Answer::Downloaded(download(&client, &url, file))
                    }
                    Question::Look(url) => Answer::Downloaded(look(&client, &url)),
                    Question::Resolve(endpoint) => {
                        Answer::Resolved(net::dns::resolve(&endpoint, policy))
                    }
                };
                if answer.send(found).is_err() || wake.write_all(&[0]).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers, ready })
    }

    /// Asks. The answer is to be waited for before the next question.
    pub(crate) fn send(&mut self, url: String) -> io::Result<()> {
        self.questions.send(Question::Get(url)).map_err(|_| gone())
    }

    /// Waits for the answer; nothing if a signal came first.
    pub(crate) fn answer(
        &mut self,
        wait: Wait<'_>,
    ) -> anyhow::Result<Option<Result<Response, net::Error>>> {
        match self.receive(wait)? {
            Some(Answer::Got(response)) => Ok(Some(response)),
            Some(_) => Err(gone().into()),
            None => Ok(None),
        }
    }

    /// Fetches a file of any length; nothing if a signal came first.
    pub(crate) fn download(
        &mut self,
        url: String,
        file: File,
        wait: Wait<'_>,
    ) -> anyhow::Result<Option<Result<Status, net::Error>>> {
        self.questions.send(Question::Download(url, file)).map_err(|_| gone())?;
        self.status(wait)
    }

    /// Looks whether there is such a file, without fetching it.
    pub(crate) fn look(
        &mut self,
        url: String,
        wait: Wait<'_>,
    ) -> anyhow::Result<Option<Result<Status, net::Error>>> {
        self.questions.send(Question::Look(url)).map_err(|_| gone())?;
        self.status(wait)
    }

    fn status(&mut self, wait: Wait<'_>) -> anyhow::Result<Option<Result<Status, net::Error>>> {
        match self.receive(wait)? {
            Some(Answer::Downloaded(status)) => Ok(Some(status)),
            Some(_) => Err(gone().into()),
            None => Ok(None),
        }
    }

    /// Looks a host up; nothing if a signal came first.
    pub(crate) fn resolve(
        &mut self,
        endpoint: &Endpoint,
        wait: Wait<'_>,
    ) -> anyhow::Result<Option<Result<Vec<SocketAddr>, net::Error>>> {
        self.questions.send(Question::Resolve(Box::new(endpoint.clone()))).map_err(|_| gone())?;
        match self.receive(wait)? {
            Some(Answer::Resolved(addresses)) => Ok(Some(addresses)),
            Some(_) => Err(gone().into()),
            None => Ok(None),
        }
    }

    fn receive(&mut self, wait: Wait<'_>) -> anyhow::Result<Option<Answer>> {
        if wait.until(Some((self.ready.as_fd(), PollFlags::POLLIN)), None)? != Woke::Ready {
            return Ok(None);
        }
        self.ready.read_exact(&mut [0])?;
        self.answers.recv().map(Some).map_err(|_| gone().into())
    }
}

/// Into a file, as far as it is there.
fn download(client: &Client, url: &str, mut file: File) -> Result<Status, net::Error> {
    let mut stream = client.get_reader(url, DOWNLOAD_BYTES_MAX)?;
    let announced = stream.header("content-length").and_then(|text| text.parse::<u64>().ok());
    let packed = stream.header("content-encoding").is_some();
    if stream.status == 200 {
        let count = io::copy(&mut stream, &mut file).map_err(net::Error::Io)?;
        if announced.is_some_and(|announced| !packed && announced != count) {
            return Err(net::Error::Cut);
        }
    }
    Ok((stream.status, stream.retry_after))
}

fn look(client: &Client, url: &str) -> Result<Status, net::Error> {
    let stream = client.get_reader(url, DOWNLOAD_BYTES_MAX)?;
    Ok((stream.status, stream.retry_after))
}

fn gone() -> io::Error {
    io::Error::other("the thread that asks has ended")
}
