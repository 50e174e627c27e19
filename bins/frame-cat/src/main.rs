//! `frame-cat`: how a person reads frames. One JSON object a line, or the events' own bytes.

mod raw;

use std::path::PathBuf;
use std::process::ExitCode;

use cli::{Cli, Common, Inputs, Item, Text, Tool};
use frame::Kind;
use frame::host::HostTable;

use crate::raw::Raw;

/// Prints any frame stream as JSON lines
///
/// An event line has kind, n (its number in the archive), host, seq, time (when it was received),
/// type, did, rev, verdict (ok, refused, unchecked), rule (why), notes, key and ops; control
/// frames (host, mark, hole, end) are shown too. Fields are added, never changed.
#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    inputs: Inputs,

    /// Show events only, no control frames
    #[arg(long)]
    events: bool,

    /// Also write the events' bytes unchanged, each behind a big-endian u32 length: into one
    /// file, or into DIR/HOST.u32be for each host. `-` writes them to standard output in place of
    /// the JSON lines
    #[arg(long, value_name = "DIR|FILE")]
    raw: Option<PathBuf>,

    /// Overwrite files of --raw that exist
    #[arg(long, requires = "raw")]
    force: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "frame-cat";
    const EXAMPLE: &'static str = "\
archive-cat archive/ | frame-cat | jq 'select(.did == \"did:plc:44ybard66vv44zksje25o7dz\")'
sig-verify --index did.idx --pass-all events.frames | frame-cat --events | jq -r .verdict | sort | uniq -c
archive-cat archive/ | frame-cat --raw events.u32be > /dev/null";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        true
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let mut raw = self.raw.as_deref().map(|path| Raw::create(path, self.force)).transpose()?;
        let mut input = self.inputs.open(cli)?;
        let mut lines = Text::new(cli);
        let mut hosts = HostTable::default();
        let show = !raw.as_ref().is_some_and(Raw::takes_stdout);
        loop {
            if input.idle()? {
                lines.flush()?;
                raw.as_mut().map_or(Ok(()), Raw::flush)?;
            }
            let item = match input.next() {
                Ok(Some(item)) => item,
                ended => {
                    lines.flush()?;
                    raw.as_mut().map_or(Ok(()), Raw::finish)?;
                    return ended.map(|_| ());
                }
            };
            let frame = match item {
                Item::Start => {
                    hosts.clear();
                    continue;
                }
                Item::Frame(frame) => frame,
            };
            hosts.apply(&frame)?;
            if let Some(raw) = raw.as_mut()
                && frame.header.kind == Kind::EVENT
            {
                raw.put(&frame, &hosts)?;
            }
            if show && (frame.header.kind == Kind::EVENT || !self.events) {
                lines::put(lines.buffer(), &frame, &hosts)?;
                lines.commit()?;
            }
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
