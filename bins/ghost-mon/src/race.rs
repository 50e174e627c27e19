//! Which copy of an event arrives first: ours, through our chain, or a relay's.
//!
//! An event of ours has arrived when this tool reads it, behind every stage that it went through;
//! one of theirs when it is off the socket. What is compared is content: the number and the
//! envelope that a server gives an event say nothing ([`atproto::identity`]). So only signed events
//! can race; the others belong to the server that sends them.
//!
//! A line of the log (`--log`) is an event that is settled:
//!
//! | field | meaning |
//! |---|---|
//! | `type` | `race` |
//! | `did`, `rev` | which event |
//! | `result` | `win`, `tie`, `loss`, `missed-by-us`, `missed-by-them` |
//! | `ours_ns`, `theirs_ns` | when it arrived, unix ns; null for a side that missed it |
//! | `received_ns` | when our tap had it off the socket, unix ns, or null |
//! | `advantage_ns` | how much later theirs came than ours: negative for a loss; or null |

mod page;
mod score;
mod spread;
mod theirs;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use atproto::event::{self, Event};
use atproto::identity::{self, Key};
use cli::units::Span;
use cli::{Cli, Common, Endpoint, Input, Item, Sockets, usage};
use frame::Kind;

use self::score::{Rules, Score};
use self::theirs::Theirs;

/// How often what has arrived is settled, and shown.
const SETTLE_EVERY: Duration = Duration::from_millis(200);
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Race our chain against a relay: wins, ties, losses, and by how much
///
/// Reads the frames of our chain, listens to a relay, and says of each signed event whose copy came
/// first. It ends after --for, with our frames, or at a signal, and prints a summary.
#[derive(Debug, clap::Args)]
pub(crate) struct Race {
    /// The frames of our chain: `-`, a file, or `ring:NAME`
    #[arg(long, value_name = "ENDPOINT", default_value = "-")]
    ours: Endpoint,

    /// The relay to race against, such as wss://relay1.us-east.bsky.network
    #[arg(long, value_name = "URL")]
    theirs: net::Endpoint,

    /// End after this time [default: with our frames]
    #[arg(long = "for", value_name = "DURATION")]
    time: Option<Span>,

    /// How long a side may take before it has missed an event
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    patience: Span,

    /// What comes first within this time of both sides having begun does not count
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    settle: Span,

    /// Copies that are no further apart than this are a tie
    #[arg(long, value_name = "DURATION", default_value = "1ms")]
    tie: Span,

    /// Write each event, when it is settled, into FILE as a JSON line
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Draw the result into FILE, a page of HTML
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,

    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sockets: Sockets,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// A signed event that has arrived.
pub(crate) struct Arrival {
    identity: [u8; 16],
    did: Box<str>,
    rev: Box<str>,
    arrived_ns: u64,
    /// When our tap had it; of theirs, when it arrived.
    received_ns: u64,
}

impl Arrival {
    /// Of the bytes of an event; `None` for one that can't race.
    fn of(key: &Key, body: &[u8], arrived_ns: u64, received_ns: u64) -> Option<Self> {
        let event = event::parse(body).ok()?;
        let (did, rev) = match &event {
            Event::Commit(commit) => (commit.repo, commit.rev),
            Event::Sync(sync) => (sync.did, sync.rev),
            _ => return None,
        };
        // Of signed events the identity has nothing of where they come from.
        let identity = identity::of_parsed(key, "", 0, 0, body, Some(&event));
        Some(Self { identity, did: did.into(), rev: rev.into(), arrived_ns, received_ns })
    }
}

/// What the side of the relay tells.
pub(crate) enum News {
    /// It is connected.
    Begun(u64),
    /// It was disconnected.
    Broken(u64),
    Arrived(Arrival),
    /// Said to find out whether anybody still listens.
    Nothing,
}

impl Race {
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    pub(crate) fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("random key")?;
        let key = Key(key);
        let rules = Rules::new(self.patience.0, self.settle.0, self.tie.0);
        if rules.patience_ns == 0 {
            return Err(usage("--patience is 0, so that every event would be missed by both"));
        }
        let create = |path: &PathBuf| {
            File::create(path).map(BufWriter::new).with_context(|| path.display().to_string())
        };
        let log = self.log.as_ref().map(create).transpose()?;
        // Opened before anything is raced, so that nobody waits an hour for a page in vain.
        let page = self.page.as_ref().map(create).transpose()?;
        let theirs = Theirs::new(&self.theirs, &self.sockets, key)?;
        let (tell, news) = channel();
        let mut score = Score::new(rules, log);
        let raced = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| theirs.listen(cli, &tell));
            let raced = self.race(cli, &key, &news, &mut score);
            // The other side ends when nobody listens any more.
            drop(news);
            theirs.join().map_err(|_| anyhow::anyhow!("the thread of the relay panicked"))?;
            raced
        });
        let summary = score.end(cli::now_ns())?;
        if let Some(mut page) = page {
            page.write_all(page::html(&summary, &self.theirs.host).as_bytes())?;
            page.flush()?;
        }
        let text = if self.json { summary.json()? } else { summary.text() };
        cli::print(&text)?;
        raced
    }

    fn race(
        &self,
        cli: &Cli,
        key: &Key,
        news: &Receiver<News>,
        score: &mut Score,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let (mut settled, mut shown) = (began, began);
        let mut input = Input::open(std::slice::from_ref(&self.ours), cli)?;
        let theirs = cli.stats().named("theirs");
        loop {
            if settled.elapsed() >= SETTLE_EVERY {
                settled = Instant::now();
                while let Ok(news) = news.try_recv() {
                    theirs.add(u64::from(matches!(news, News::Arrived(_))));
                    score.theirs(news)?;
                }
                score.settle(cli::now_ns())?;
            }
            if shown.elapsed() >= SHOW_EVERY && cli.progress() {
                shown = Instant::now();
                cli.show(format_args!("{}", score.line()));
            }
            let is_over = self.time.is_some_and(|time| began.elapsed() >= time.0);
            if is_over || cli.stopping() {
                break;
            }
            if !input.wait_up_to(Some(SETTLE_EVERY))? {
                continue;
            }
            let Some(item) = input.next()? else { break };
            let Item::Frame(frame) = item else { continue };
            if frame.header.kind == Kind::EVENT {
                let now_ns = cli::now_ns();
                if let Some(arrival) = Arrival::of(key, frame.body(), now_ns, frame.header.time_ns)
                {
                    score.ours(arrival)?;
                }
            }
        }
        while let Ok(news) = news.try_recv() {
            theirs.add(u64::from(matches!(news, News::Arrived(_))));
            score.theirs(news)?;
        }
        Ok(())
    }
}

/// Tells, unless nobody listens any more.
fn tell(news: &Sender<News>, what: News) -> bool {
    news.send(what).is_ok()
}
