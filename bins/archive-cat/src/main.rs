//! `archive-cat`: what an archive holds, exactly as it came.

mod format;
mod sink;
mod time;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use archive::{Follower, Found, Query, Reader};
use cli::{Cli, Common, Out, Tool};
use heap as _;

use crate::format::Format;
use crate::sink::Sink;
use crate::time::Since;
use crate::view::{Mode, Shown, View};

/// How often a live archive is looked at again when nothing came.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Gives back what an archive holds, in the order in which it came
///
/// The output is the frames that archive-pack took, byte for byte, each with its number in the
/// archive; any tool that reads frames can go on with them. An archive that is being written is
/// read as it was when this began, and followed with --follow. What is damaged is named and left out, everything else still
/// comes, and the exit status is 1.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The archive's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    #[command(flatten)]
    out: Out,

    /// Only events of this account; may be given several times
    #[arg(long, value_name = "DID")]
    did: Vec<String>,

    /// Only commits with an operation on this path; may be given several times. With --did they are
    /// found by a few pages each, without it everything is gone through
    #[arg(long, value_name = "COLLECTION/RKEY")]
    path: Vec<String>,

    /// Only commits with an operation in this collection, and all events that are no commits: who
    /// goes by a collection has to hear of accounts that go. May be given several times
    #[arg(long, value_name = "NSID")]
    collection: Vec<String>,

    /// Begin with the first event that was received at this time or later: RFC 3339
    /// (`2026-08-01T12:00:00Z`), or how long ago (`90m`, `2h`, `3d`)
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,

    /// Begin with event number N
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,

    /// End after M events
    #[arg(long, value_name = "M")]
    count: Option<u64>,

    /// Go on with what comes, until SIGTERM or SIGINT
    #[arg(long, conflicts_with = "count")]
    follow: bool,

    /// Leave out what has been deleted or replaced since, and accounts that are away: an event
    /// when all its records are gone, else the records that are. What is deleted while this runs
    /// counts as soon as the archive has it
    #[arg(long, conflicts_with = "redact")]
    live: bool,

    /// Leave the records that have been deleted or replaced since out of their events, which stay,
    /// flagged as redacted; their commits can still be proved
    #[arg(long)]
    redact: bool,

    /// What is written; all but frames are JSON lines on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// The same as `--format json`
    #[arg(long, conflicts_with_all = ["out", "force", "format"])]
    json: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "archive-cat";
    const EXAMPLE: &'static str = "\
archive-cat archive/ --did did:plc:44ybard66vv44zksje25o7dz --json
archive-cat archive/ --since 2h --follow --format jetstream --collection app.bsky.feed.post
archive-cat archive/ --from 1000000 --count 500 | sig-verify --index did.idx --keys history > /dev/null
archive-cat old/ | archive-pack --out new/";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if let Some(wrong) = self.did.iter().find(|did| !atproto::syntax::is_did(did)) {
            return Err(cli::usage(format!(
                "--did {wrong}: not a DID (did:plc:... or did:web:...)"
            )));
        }
        if let Some(wrong) = self.path.iter().find(|path| !atproto::syntax::is_path(path)) {
            return Err(cli::usage(format!("--path {wrong}: not a path (collection/rkey)")));
        }
        if let Some(wrong) = self.collection.iter().find(|it| !atproto::syntax::is_nsid(it)) {
            return Err(cli::usage(format!("--collection {wrong}: not a collection (an NSID)")));
        }
        let format = if self.json { Format::Json } else { self.format };
        if format == Format::Frames && self.out.out.is_none() {
            cli::refuse_terminal()?;
        }
        if format != Format::Frames && self.out.out.is_some() {
            return Err(cli::usage("--out: only frames go to a file; redirect standard output"));
        }
        let query = Query {
            from: self.from,
            count: self.count,
            dids: self.did,
            paths: self.path,
            collections: self.collection,
            since_ns: self.since.map_or(0, Since::ns),
        };
        let mode = match (self.live, self.redact) {
            (true, _) => Mode::Live,
            (_, true) => Mode::Redact,
            _ => Mode::All,
        };
        let mut reader = Reader::open(&self.dir)?;
        let mut view = View::open(&self.dir, mode)?;
        let mut sink = match format {
            Format::Frames => Sink::frames(self.out.open(cli)?)?,
            lines => Sink::lines(cli, lines, query.clone()),
        };
        let everything = query.is_everything();
        let mut scan = reader.scan(query.clone());
        let mut damaged = 0;
        while let Some(found) = scan.next()? {
            damaged += show(found, &mut view, &mut sink, cli)?;
        }
        cli.info(format_args!("{} blocks decoded", scan.blocks()));
        cli.info(format_args!("{} pages read to find them", scan.pages()));
        if self.follow {
            let query = Query { from: scan.end().max(query.from), ..query };
            damaged += follow(&self.dir, query, &mut view, &mut sink, cli)?;
        } else if everything && damaged == 0 {
            sink.marks(&scan)?;
        }
        sink.finish()?;
        match damaged {
            0 => Ok(()),
            1 => {
                bail!("{}: one place is damaged (above); everything else came", self.dir.display())
            }
            _ => bail!(
                "{}: {damaged} places are damaged (above); everything else came",
                self.dir.display()
            ),
        }
    }
}

/// Hands on what was found; how many places are damaged, 0 or 1.
fn show(found: Found<'_>, view: &mut View, sink: &mut Sink<'_>, cli: &Cli) -> anyhow::Result<u64> {
    match found {
        Found::Event(event) => {
            let body;
            let event = match view.of(&event)? {
                Shown::All => event,
                Shown::Nothing => return Ok(0),
                Shown::Body(redacted) => {
                    body = redacted;
                    event.redacted(&body)
                }
            };
            sink.name(event.host, event.from)?;
            sink.put(&event.header(), |out| event.put(out))?;
        }
        Found::Note(note) => {
            if let Some((number, host)) = note.host {
                sink.name(number, host)?;
            }
            sink.put(&note.frame().header, |out| note.put(out))?;
        }
        Found::Damage(damage) => {
            cli.warn(format_args!("{damage}"));
            return Ok(1);
        }
        _ => {}
    }
    Ok(0)
}

/// Hands on what comes until it is told to stop; how many places are damaged.
fn follow(
    dir: &Path,
    query: Query,
    view: &mut View,
    sink: &mut Sink<'_>,
    cli: &Cli,
) -> anyhow::Result<u64> {
    let mut follower = Follower::new(dir, query);
    let mut damaged = 0;
    sink.other_numbers();
    while !cli.stopping() {
        let any = follower.poll(|found| {
            damaged += show(found, view, sink, cli)?;
            Ok::<(), anyhow::Error>(())
        })?;
        if !any {
            sink.flush()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(damaged)
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
