//! What ghost-mon does over time: look, compare with the last look, show, wait.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use cli::{Cli, OutputClosed};
use stats::{Error, Reader, Skipped};

use crate::health::Health;
use crate::history::History;
use crate::json;
use crate::pipeline::Plan;
use crate::report::{self, Scene};
use crate::sample::{self, Stage};
use crate::screen::{Screen, Woken, pause};
use crate::serve::Server;
use crate::status::Status;
use crate::style::Style;
use crate::table::Latencies;
use crate::view::View;

/// How a round is put into words where there is no screen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// For people.
    Text(Style),
    /// For scripts.
    Json,
}

/// For whom it is served, and how long a stage may be silent before that is not well.
pub(crate) struct Audience {
    pub(crate) address: SocketAddr,
    pub(crate) fresh: Duration,
}

/// Looks at the pages in a directory, each time compared with the time before.
pub(crate) struct Watch<'c> {
    cli: &'c Cli,
    dir: Option<PathBuf>,
    /// How many hosts of each tap are listed.
    hosts: usize,
    reader: Reader,
    last: Vec<Stage>,
    /// Files that were complained of already.
    said: HashSet<PathBuf>,
}

impl<'c> Watch<'c> {
    pub(crate) fn new(cli: &'c Cli, dir: Option<PathBuf>, hosts: usize) -> Self {
        Self { cli, dir, hosts, reader: Reader::default(), last: vec![], said: HashSet::new() }
    }

    fn look(&mut self) -> anyhow::Result<(Plan, Vec<Skipped>)> {
        let reading = sample::read(&mut self.reader, self.dir.as_ref())?;
        let stages = reading.pages.into_iter().map(|page| Stage::of(page, &self.last));
        let plan = Plan::of(stages.collect());
        self.last.clone_from(&plan.stages);
        Ok((plan, reading.skipped))
    }

    /// Says on stderr, once, which pages could not be read.
    fn complain(&mut self, skipped: &[Skipped]) {
        for Skipped { path, error } in skipped {
            if self.said.insert(path.clone()) {
                let message = format_args!("{}: {error}", path.display());
                match is_anothers(error) {
                    true => self.cli.info(message),
                    false => self.cli.warn(message),
                }
            }
        }
    }

    /// One round, over the time since a look just before.
    pub(crate) fn once(&mut self, form: Form, over: Duration) -> anyhow::Result<()> {
        self.look()?;
        if !self.last.is_empty() && pause(over, self.cli.stop_fd())? && !self.cli.stopping() {
            return Err(OutputClosed.into());
        }
        self.round(form)
    }

    /// A round in every interval, until a signal comes or nobody reads any more.
    pub(crate) fn follow(&mut self, form: Form, interval: Duration) -> anyhow::Result<()> {
        self.look()?;
        while !pause(interval, self.cli.stop_fd())? {
            self.round(form)?;
            if let Form::Text(_) = form {
                print(b"\n")?;
            }
        }
        Ok(())
    }

    fn round(&mut self, form: Form) -> anyhow::Result<()> {
        let (plan, skipped) = self.look()?;
        self.complain(&skipped);
        match form {
            Form::Json => print(&json::lines(&plan, self.hosts)?),
            Form::Text(style) => {
                let mut text = String::new();
                let scene = Scene {
                    plan: &plan,
                    history: &History::default(),
                    view: &View::default(),
                    latencies: Latencies::Start,
                    hosts: self.hosts,
                    style,
                };
                for line in scene.lines() {
                    line.write(style, &mut text);
                    text.push('\n');
                }
                print(text.as_bytes())
            }
        }
    }

    /// Says whether data is fresh; if not, that is the error.
    pub(crate) fn health(&mut self, limit: Duration) -> anyhow::Result<()> {
        let (plan, _) = self.look()?;
        match Health::of(&plan, limit) {
            Health::Fresh(reason) => print(format!("{reason}\n").as_bytes()),
            Health::Stale(reason) => bail!(reason),
        }
    }

    /// Serves what is seen over HTTP, until a signal comes.
    pub(crate) fn serve(&mut self, to: &Audience, interval: Duration) -> anyhow::Result<()> {
        let mut server = Server::bind(to.address)?;
        self.cli.info(format_args!("listening on http://{}/", server.address()?));
        let mut history = History::default();
        self.look()?;
        loop {
            let (plan, skipped) = self.look()?;
            self.complain(&skipped);
            history.take(&plan);
            let told = Status {
                plan: &plan,
                history: &history,
                interval,
                limit: to.fresh,
                time_ns: cli::now_ns(),
            };
            if server.serve(&told, Instant::now() + interval, self.cli.stop_fd())? {
                return Ok(());
            }
        }
    }

    /// The picture on the terminal, until it is asked to end.
    pub(crate) fn show(&mut self, style: Style, interval: Duration) -> anyhow::Result<()> {
        /// The first picture need not wait for a whole interval.
        const FIRST: Duration = Duration::from_millis(250);
        let mut screen = Screen::take()?;
        let (mut history, mut view) = (History::default(), View::default());
        let (mut plan, mut skipped) = self.look()?;
        let mut due = Instant::now() + interval.min(FIRST);
        loop {
            let size = screen.size();
            let style = Style { cells: Some(size.cells), ..style };
            let scene = Scene {
                plan: &plan,
                history: &history,
                view: &view,
                latencies: Latencies::Recent,
                hosts: self.hosts,
                style,
            };
            let mut lines = scene.lines();
            let unread = skipped.iter().filter(|skipped| !is_anothers(&skipped.error));
            lines.extend(report::unread(unread));
            let mut lines = report::fit(lines, size.rows.saturating_sub(1));
            lines.push(scene.keys());
            match screen.draw(&lines, style) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => return Err(OutputClosed.into()),
                Err(error) => return Err(error.into()),
            }
            match screen.wait(due, self.cli.stop_fd())? {
                Woken::Quit => return Ok(()),
                Woken::Resized => {}
                Woken::Typed(keys) => keys.into_iter().for_each(|key| view.obey(key, &plan)),
                Woken::Due => {
                    (plan, skipped) = self.look()?;
                    history.take(&plan);
                    // From now on, for a machine that was asleep has nothing to catch up with.
                    due = Instant::now() + interval;
                }
            }
        }
    }
}

/// Pages of other users are not for us, which is no news.
fn is_anothers(error: &Error) -> bool {
    matches!(error, Error::Read(error) if error.kind() == ErrorKind::PermissionDenied)
}

/// Whether nobody reads the output any more.
fn is_gone(error: &io::Error) -> bool {
    let gone_terminal = rustix::io::Errno::IO.raw_os_error();
    error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(gone_terminal)
}

/// Writes to standard output in one piece.
fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    match out.write_all(text) {
        Err(error) if is_gone(&error) => Err(OutputClosed.into()),
        result => Ok(result?),
    }
}
