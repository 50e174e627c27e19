//! `archive-cat`: what an archive holds, exactly as it came.

mod sink;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use archive::{Found, Query, Reader, Scan};
use cli::{Cli, Common, Out, Tool};

use crate::sink::Sink;

/// Gives back what an archive holds, in the order in which it came
///
/// The output is the frames that archive-pack took, byte for byte, each with its number in the
/// archive; any tool that reads frames can go on with them. An archive that is being written is
/// read as it was when this began. What is damaged is named and left out, everything else still
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

    /// Begin with event number N
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,

    /// End after M events
    #[arg(long, value_name = "M")]
    count: Option<u64>,

    /// Print JSON lines as frame-cat does, in place of frames
    #[arg(long, conflicts_with_all = ["out", "force"])]
    json: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "archive-cat";
    const EXAMPLE: &'static str = "\
archive-cat archive/ --did did:plc:44ybard66vv44zksje25o7dz --json
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
        if !self.json && self.out.out.is_none() {
            cli::refuse_terminal()?;
        }
        let mut reader = Reader::open(&self.dir)?;
        let mut sink =
            if self.json { Sink::lines(cli) } else { Sink::frames(self.out.open(cli)?)? };
        let query = Query { from: self.from, count: self.count, dids: self.did };
        let everything = query.is_everything();
        let mut scan = reader.scan(query);
        let damaged = pour(&mut scan, &mut sink, cli)?;
        if everything && damaged == 0 {
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

/// Hands everything on; how many places are damaged.
fn pour(scan: &mut Scan<'_>, sink: &mut Sink<'_>, cli: &Cli) -> anyhow::Result<u64> {
    let mut damaged = 0;
    loop {
        match scan.next()? {
            None => return Ok(damaged),
            Some(Found::Event(event)) => {
                sink.name(event.host, event.from)?;
                sink.put(&event.header(), |out| event.put(out))?;
            }
            Some(Found::Note(note)) => {
                if let Some((number, host)) = note.host {
                    sink.name(number, host)?;
                }
                sink.put(&note.frame().header, |out| note.put(out))?;
            }
            Some(Found::Damage(damage)) => {
                damaged += 1;
                cli.warn(format_args!("{damage}"));
            }
            Some(_) => {}
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
