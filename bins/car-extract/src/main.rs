//! `car-extract`: what an event carries. A block table behind each event, or the records.

mod contents;
mod records;

use std::process::ExitCode;

use cli::{Cli, Common, Filter, Item, Tool};
use frame::host::HostTable;
use frame::{Kind, Tag};

use crate::contents::Contents;
use crate::records::Records;

/// Appends to each event where its blocks lie, checked against their hashes
///
/// The block table has the CID, offset, length and role (commit, record, tree node) of each block.
/// An event whose blocks cannot be read, or are not what their CIDs say, passes on unchanged and
/// without a table: to refuse it is for sig-verify. -v says which and why.
#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    io: Filter,

    /// Print the records as JSON lines on standard output instead of frames
    ///
    /// One line for each operation: did, rev, seq, host, verdict (null if no sig-verify has seen
    /// the event), action, collection, rkey, cid, record. A deleted record is null. An operation
    /// whose block is not there has no line; a record that cannot be read is null and has an
    /// error.
    #[arg(long, conflicts_with_all = ["out", "force"])]
    records: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "car-extract";
    const EXAMPLE: &'static str = "\
pds-tap --hosts hosts.txt | dedupe | car-extract | sig-verify --index did.idx | archive-pack --out archive/
archive-cat archive/ | car-extract --records | jq 'select(.collection == \"app.bsky.feed.post\")'";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if self.records { self.print(cli) } else { self.extract(cli) }
    }
}

impl Args {
    fn extract(self, cli: &Cli) -> anyhow::Result<()> {
        let (mut input, mut output) = self.io.open(cli)?;
        let (mut contents, mut hosts) = (Contents::new(cli), HostTable::default());
        loop {
            if input.idle()? {
                output.flush()?;
            }
            match input.next()? {
                None => return output.finish(),
                Some(Item::Start) => {
                    hosts.clear();
                    output.start()?;
                }
                Some(Item::Frame(frame)) => {
                    hosts.apply(&frame)?;
                    match contents.table(&frame, &hosts) {
                        Some(table) => output.put_with(&frame, Tag::SPANS, table)?,
                        None => output.put(&frame)?,
                    }
                }
            }
        }
    }

    fn print(self, cli: &Cli) -> anyhow::Result<()> {
        let mut input = self.io.inputs.open(cli)?;
        let (mut contents, mut hosts) = (Contents::new(cli), HostTable::default());
        let mut records = Records::new(cli);
        loop {
            if input.idle()? {
                records.flush()?;
            }
            match input.next()? {
                None => return records.flush(),
                Some(Item::Start) => hosts.clear(),
                Some(Item::Frame(frame)) if frame.header.kind == Kind::EVENT => {
                    if let Some((event, blocks)) = contents.read(&frame, &hosts) {
                        records.put(&frame, &hosts, &event, blocks)?;
                    }
                }
                Some(Item::Frame(frame)) => hosts.apply(&frame)?,
            }
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
