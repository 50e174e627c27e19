//! The side of the relay: one connection, made again whenever it breaks.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use atproto::identity::Key;
use cli::{Cli, Sockets};
use net::tls::ClientConfig;
use net::ws::{Connection, Limits, Message, Progress, Scratch};
use net::{Endpoint, Policy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Arrival, News, tell};

const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";
/// How long nothing may come before it is asked whether it is there, and then before it is not.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long to wait before it is connected to again: at first, and at most.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How soon the end is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Theirs {
    endpoint: Endpoint,
    policy: Policy,
    tls: Arc<ClientConfig>,
    key: Key,
}

impl Theirs {
    pub(super) fn new(endpoint: &Endpoint, sockets: &Sockets, key: Key) -> anyhow::Result<Self> {
        let policy = Policy { allow_private: sockets.allow_private };
        let tls = net::tls::client_config(sockets.ca.as_deref())?;
        Ok(Self { endpoint: endpoint.clone(), policy, tls, key })
    }

    /// Listens until a signal comes, or nobody wants the news any more.
    pub(super) fn listen(&self, cli: &Cli, news: &Sender<News>) {
        let mut pause = PAUSE;
        let mut scratch = Scratch::new();
        loop {
            let mut has_begun = false;
            let broken = self.connect().and_then(|mut connection| {
                self.hear(cli, news, &mut connection, &mut scratch, &mut has_begun)
            });
            let Err(error) = broken else { return };
            if has_begun {
                pause = PAUSE;
            }
            let seconds = pause.as_secs_f64();
            cli.warn(format_args!(
                "{}: {error:#}; tried again in {seconds:.1} s",
                self.endpoint.host
            ));
            if !tell(news, News::Broken(cli::now_ns())) || !rest(cli, news, pause) {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn connect(&self) -> anyhow::Result<Connection> {
        let addresses: Vec<SocketAddr> = net::dns::resolve(&self.endpoint, self.policy)?;
        let [address, ..] = addresses.as_slice() else { anyhow::bail!("it has no address") };
        Ok(Connection::start(&self.endpoint, *address, PATH, &self.tls, Limits::default())?)
    }

    /// Hears one connection to its end, which is an error; `Ok` is the end of the race.
    fn hear(
        &self,
        cli: &Cli,
        news: &Sender<News>,
        connection: &mut Connection,
        scratch: &mut Scratch,
        has_begun: &mut bool,
    ) -> anyhow::Result<()> {
        let mut heard = Instant::now();
        let mut asked = false;
        loop {
            if cli.stopping() {
                connection.close();
                return Ok(());
            }
            if !connection.holds_data() && !wait(connection, cli.stop_fd())? {
                // Whoever has gone can be told nothing, which is how that is found out.
                if *has_begun && !tell(news, News::Nothing) {
                    connection.close();
                    return Ok(());
                }
                match (heard.elapsed() >= SILENCE_MAX, asked) {
                    (true, true) => anyhow::bail!("nothing has come for a minute"),
                    (true, false) if connection.is_open() => {
                        connection.ping();
                        (heard, asked) = (Instant::now(), true);
                    }
                    (true, false) => anyhow::bail!("it does not answer"),
                    (false, _) => {}
                }
                continue;
            }
            let count = match connection.on_ready(scratch)? {
                Progress::Waiting => continue,
                Progress::Opened(count) => {
                    *has_begun = true;
                    if !tell(news, News::Begun(cli::now_ns())) {
                        return Ok(());
                    }
                    count
                }
                Progress::Read(count) => count,
            };
            (heard, asked) = (Instant::now(), false);
            let now_ns = cli::now_ns();
            let mut input = scratch.bytes(count);
            while let Some(message) = connection.next(&mut input)? {
                let Message::Binary(bytes) = message else { continue };
                let Some(arrival) = Arrival::of(&self.key, bytes, now_ns, now_ns) else {
                    continue;
                };
                if !tell(news, News::Arrived(arrival)) {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits for the socket, for a while; whether it is ready.
fn wait(connection: &Connection, stop: BorrowedFd<'_>) -> anyhow::Result<bool> {
    let interest = connection.interest();
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.read);
    flags.set(PollFlags::OUT, interest.write);
    let mut fds = [
        PollFd::from_borrowed_fd(connection.as_fd(), flags),
        PollFd::from_borrowed_fd(stop, PollFlags::IN),
    ];
    let time = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
    match poll(&mut fds, Some(&time)) {
        Ok(_) => Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits before the next attempt; whether anybody is still interested in one.
fn rest(cli: &Cli, news: &Sender<News>, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        std::thread::sleep(LOOK_EVERY.min(pause));
        if cli.stopping() || !tell(news, News::Nothing) {
            return false;
        }
    }
    true
}
