//! `archive-pack`: frames into an archive, each event once, nothing lost behind a mark.

mod meter;
mod room;
mod take;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use archive::{Error, Fsync, Options, Outcome, Usage, Writer};
use cli::units::{Bytes, Span};
use cli::{Cli, Common, Inputs, Item, Tool};
use frame::{Frame, Kind};

use crate::meter::Meter;
use crate::room::Room;
use crate::take::{Refusals, Take};

/// Stores events in an archive: each once, exactly as it came, compressed by account
///
/// Only events with the verdict `ok` are taken, unless told otherwise. What came before a mark is
/// made durable with the mark, which is what `pds-tap --resume DIR` goes on from: after a kill at
/// any moment, start the chain again and nothing is lost and nothing stored twice. One process
/// writes an archive at a time; any number may read it meanwhile (see archive-cat).
#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    inputs: Inputs,

    /// The archive's folder; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// Take every event, whatever its verdict, also without one
    #[arg(long)]
    unproved: bool,

    /// Take events with these verdicts too: `unchecked`, `refused`
    #[arg(long, value_name = "VERDICT", value_delimiter = ',')]
    take: Vec<Take>,

    /// Seal the open log at the end, too
    #[arg(long)]
    seal: bool,

    /// When the log is made durable. `never` promises nothing after a loss of power
    #[arg(long, value_enum, default_value_t, env = "SOVEREIGN_FSYNC")]
    fsync: When,

    /// Seal a segment when its events have this many bytes, at most 256 MiB. A reader that
    /// replays it needs as much memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", env = "SOVEREIGN_SEGMENT_BYTES")]
    segment_bytes: Bytes,

    /// Or when it has this many events, at most 16,777,216
    #[arg(long, value_name = "EVENTS", default_value_t = 262_144)]
    #[arg(env = "SOVEREIGN_SEGMENT_EVENTS", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    segment_events: u32,

    /// Level of zstd: 1 is fast, 19 is small
    #[arg(long, default_value_t = Options::default().level, env = "SOVEREIGN_LEVEL")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,

    /// Drop the oldest segments, sixteen at a time, when all of them have more bytes than this
    #[arg(long, value_name = "SIZE", env = "SOVEREIGN_KEEP_BYTES")]
    keep_bytes: Option<Bytes>,

    /// Drop the oldest segments, sixteen at a time, when their events were received longer ago
    /// than this
    #[arg(long, value_name = "DURATION", env = "SOVEREIGN_KEEP_AGE")]
    keep_age: Option<Span>,

    /// Stop with 1, everything stored and nothing lost, when the disk has less room than this;
    /// nothing more is read then, so the pressure goes upstream [default: twice --segment-bytes,
    /// at most an eighth of the disk; 0 goes on until it is full]
    #[arg(long, value_name = "SIZE", env = "SOVEREIGN_MIN_FREE")]
    min_free: Option<Bytes>,

    /// Print one JSON object at the end: what was stored, what was not, and what it takes
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: Common,
}

/// While input comes without a pause, a frame waits no longer than this before it is written, and so
/// before a deletion counts.
const WAIT_MAX: Duration = Duration::from_micros(300);

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum When {
    /// At every mark
    #[default]
    Mark,
    /// At every write
    Batch,
    /// Never
    Never,
}

/// Blocks are taken apart into many small pieces: slabs by size are quicker at that than what the system has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

impl Tool for Args {
    const NAME: &'static str = "archive-pack";
    const EXAMPLE: &'static str = "\
pds-tap --hosts hosts.txt --resume archive/ | sig-verify --index did.idx | archive-pack --out archive/
archive-cat old/ | archive-pack --out new/ --level 19 --seal --json";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if self.inputs.inputs.is_empty() && std::io::stdin().is_terminal() {
            return Err(cli::usage(
                "standard input is a terminal; name an input, or pipe frames in (see --help)",
            ));
        }
        if self.segment_bytes.0 == 0 || self.segment_bytes.0 > Options::SEGMENT_BYTES_MAX {
            return Err(cli::usage("--segment-bytes: from 1 to 256MiB"));
        }
        let writer = Writer::open(&self.out, self.options())?;
        let mut pack = Pack {
            cli,
            meter: Meter::new(cli, &self.out)?,
            writer,
            refusals: Refusals::new(cli, self.unproved, &self.take),
            room: Room::new(&self.out, self.min_free, self.segment_bytes.0),
            waits_since: None,
            told: 0,
        };
        pack.tell();
        // What is whole is stored, however the input ends.
        let ended = pack.run(&self.inputs);
        pack.tell();
        let seal = self.seal && ended.is_ok();
        let Pack { writer, mut meter, refusals, .. } = pack;
        match writer.finish(seal) {
            Ok(totals) => {
                let usage = archive::usage(&self.out)?;
                meter.end(usage);
                if self.json {
                    cli::print(&summary(&totals, &refusals, &usage))?;
                }
                ended
            }
            // The writer has stopped for a reason, which is the one to tell.
            Err(Error::Stopped) if ended.is_err() => ended,
            Err(error) => Err(error.into()),
        }
    }
}

impl Args {
    fn options(&self) -> Options {
        Options {
            segment_bytes: self.segment_bytes.0,
            segment_events: self.segment_events,
            level: self.level,
            keep_bytes: self.keep_bytes.map(|Bytes(bytes)| bytes),
            keep_ns: self.keep_age.map(|Span(age)| age.as_nanos().try_into().unwrap_or(u64::MAX)),
            fsync: match self.fsync {
                When::Mark => Fsync::Mark,
                When::Batch => Fsync::Batch,
                When::Never => Fsync::Never,
            },
            ..Options::default()
        }
    }
}

/// The stage.
struct Pack<'c> {
    cli: &'c Cli,
    writer: Writer,
    meter: Meter<'c>,
    refusals: Refusals<'c>,
    room: Room,
    /// When the first frame came in that may not be written yet.
    waits_since: Option<Instant>,
    /// How many places that are damaged were told of.
    told: usize,
}

impl Pack<'_> {
    /// Tells of damage that was met since.
    fn tell(&mut self) {
        for damage in self.writer.damage().iter().skip(self.told) {
            self.cli.warn(format_args!("{damage}"));
        }
        self.told = self.writer.damage().len();
    }

    fn run(&mut self, inputs: &Inputs) -> anyhow::Result<()> {
        let mut input = inputs.open(self.cli)?;
        loop {
            if self.has_waited() || input.idle()? {
                self.writer.flush()?;
                self.waits_since = None;
                self.tell();
                self.meter.written(&self.writer);
            }
            self.room.look()?;
            let done = match input.next()? {
                None => return Ok(()),
                Some(Item::Start) => {
                    self.writer.start();
                    Ok(())
                }
                Some(Item::Frame(frame)) => self.put(&frame),
            };
            match done {
                // Of the stream, so where in it is what matters.
                Err(error @ (Error::Frame(_) | Error::UnknownHost { .. })) => {
                    let place = format!("{}: before offset {}", input.name(), input.offset());
                    return Err(anyhow::Error::new(error).context(place));
                }
                done => done?,
            }
        }
    }

    fn has_waited(&self) -> bool {
        self.waits_since.is_some_and(|since| since.elapsed() >= WAIT_MAX)
    }

    fn put(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        // A repository that was not proved would have records gone that are there.
        let is_judged = matches!(frame.header.kind, Kind::EVENT | Kind::REPO);
        if is_judged && !self.refusals.takes(frame) {
            return Ok(());
        }
        let outcome = self.writer.put(frame)?;
        if outcome != Outcome::Duplicate {
            self.waits_since.get_or_insert_with(Instant::now);
        }
        match outcome {
            Outcome::Stored(_) => self.meter.stored(frame, &self.writer),
            Outcome::Duplicate => self.meter.duplicate(),
            Outcome::Control if frame.header.kind == Kind::MARK => self.meter.written(&self.writer),
            Outcome::Control => {}
        }
        Ok(())
    }
}

fn summary(totals: &archive::Totals, refusals: &Refusals<'_>, usage: &Usage) -> String {
    let object = serde_json::json!({
        "type": "summary",
        "events": totals.events,
        "duplicates": totals.duplicates,
        "not_taken": refusals.counts(),
        "raw_bytes": totals.raw_bytes,
        "logs": usage.logs,
        "log_bytes": usage.log_bytes,
        "segments": usage.segments,
        "segment_bytes": usage.segment_bytes,
        "index_bytes": usage.index_bytes,
    });
    format!("{object}\n")
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
