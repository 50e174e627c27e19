//! `archive-check`: whether an archive still holds what was proved.

mod proof;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use archive::{Found, Parts, Query, Reader};
use cli::{Cli, Common, Tool};
use heap as _;

use crate::proof::{Finding, Proof};

/// Proves a whole archive again, from the signatures up, without a network
///
/// Every event is read back, its blocks are hashed, its signature is held against the key that it
/// was stored with, and its operations are undone. What the archive says is gone is held against the
/// events, too. What is damaged or does not hold is named, and the exit status is 1. An archive that is being written is checked as it was when this began.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The archive's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// First make again what can be worked out and does not hold (the manifest, what says which records
    /// are gone, what finds single events and accounts), and end what a kill left half done. No other process may write the archive meanwhile
    #[arg(long)]
    repair: bool,

    /// Say what the bytes of the segments are spent on, too
    #[arg(long)]
    parts: bool,

    /// Print one JSON object at the end in place of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "archive-check";
    const EXAMPLE: &'static str = "\
archive-check archive/
archive-check archive/ --repair
archive-check archive/ --parts --json | jq '.parts[] | select(.name == \"signatures\")'";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if self.repair {
            for damage in archive::repair(&self.dir)? {
                cli.warn(format_args!("{damage}"));
            }
        }
        let mut counts = Counts::default();
        let mut reader = Reader::open(&self.dir)?;
        let mut scan = reader.scan(Query::default());
        let mut proof = Proof::new();
        loop {
            match scan.next()? {
                None => break,
                Some(Found::Event(event)) => counts.event(cli, event.n, proof.of(&event)),
                Some(Found::Damage(damage)) => {
                    counts.damaged += 1;
                    cli.warn(format_args!("{damage}"));
                }
                Some(_) => counts.notes += 1,
            }
        }
        for damage in archive::differences(&self.dir)? {
            counts.damaged += 1;
            cli.warn(format_args!("{damage}; archive-check --repair makes it again"));
        }
        let parts = match self.parts && counts.damaged == 0 {
            true => Some(archive::parts(&self.dir)?),
            false => None,
        };
        cli::print(&if self.json {
            counts.json(parts.as_ref())
        } else {
            counts.text(parts.as_ref())
        })?;
        match counts.damaged + counts.wrong {
            0 => Ok(()),
            _ => bail!("{}: not everything holds (above)", self.dir.display()),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    proved: u64,
    unsigned: u64,
    unproved: u64,
    wrong: u64,
    notes: u64,
    damaged: u64,
}

impl Counts {
    fn event(&mut self, cli: &Cli, n: u64, finding: Finding) {
        match finding {
            Finding::Proved => self.proved += 1,
            Finding::Unsigned => self.unsigned += 1,
            Finding::Unproved => self.unproved += 1,
            Finding::Wrong(why) => {
                self.wrong += 1;
                cli.warn(format_args!("event {n}: {why}"));
            }
        }
    }

    fn json(&self, parts: Option<&Parts>) -> String {
        let mut object = serde_json::json!({
            "type": "check",
            "proved": self.proved,
            "unsigned": self.unsigned,
            "unproved": self.unproved,
            "wrong": self.wrong,
            "control_frames": self.notes,
            "damaged": self.damaged,
        });
        if let Some(parts) = parts {
            let rows = parts.parts.iter().map(
                |part| serde_json::json!({"name": part.name, "came": part.came, "kept": part.kept}),
            );
            object["segment_events"] = parts.events.into();
            object["segment_bytes"] = parts.bytes.into();
            object["floor_bytes"] = parts.floor().into();
            object["parts"] = rows.collect();
        }
        format!("{object}\n")
    }

    fn text(&self, parts: Option<&Parts>) -> String {
        let mut text = format!(
            "{} events proved, {} without a signature, {} stored unproved, {} do not hold; {} places damaged\n",
            self.proved, self.unsigned, self.unproved, self.wrong, self.damaged
        );
        if let Some(parts) = parts {
            text.push_str("\npart                    bytes as they came   bytes kept\n");
            for part in &parts.parts {
                text.push_str(&format!("{:<22} {:>19} {:>12}\n", part.name, part.came, part.kept));
            }
            let floor = parts.floor();
            text.push_str(&format!("{:<22} {:>19} {:>12}\n", "all segments", "", parts.bytes));
            text.push_str(&format!("{:<22} {:>19} {:>12}\n", "of it can't be less", "", floor));
        }
        text
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
