//! `frame-meter`: frames pass through unchanged, and stderr says how fast. `pv` for frames.

mod meter;

use std::process::ExitCode;
use std::time::Duration;

use cli::units::Span;
use cli::{Cli, Common, Filter, Item, Tool, usage};

use crate::meter::Meter;

const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Passes frames on unchanged and says on stderr how many there are and how fast they come
///
/// A line every second on a terminal or with --progress; a last one at the end, unless --quiet. Put
/// it between two stages to see what the joint carries and which side waits, or at the end of one
/// stage that reads a file to see how fast that stage is.
#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    io: Filter,

    /// Time between two lines
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: Span,

    /// Each line is a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "frame-meter";
    const EXAMPLE: &'static str = "\
archive-cat archive/ | sig-verify --index did.idx | frame-meter > /dev/null
pds-tap --hosts hosts.txt | frame-meter --name tap | dedupe | frame-meter --name dedupe -o out.frames";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if self.interval.0 < INTERVAL_MIN {
            return Err(usage("--interval is under 20ms, more often than anybody can read"));
        }
        let mut meter = Meter::new(cli, self.interval.0, self.json);
        let (mut input, mut output) = self.io.open(cli)?;
        loop {
            meter.tick();
            if input.idle()? {
                output.flush()?;
                if !input.wait_up_to(Some(meter.left()))? {
                    continue;
                }
            }
            match input.next() {
                Ok(Some(Item::Start)) => output.start()?,
                Ok(Some(Item::Frame(frame))) => output.put(&frame)?,
                Ok(None) => {
                    output.finish()?;
                    meter.end();
                    return Ok(());
                }
                // What came before is passed on, and is what was counted.
                Err(error) => {
                    output.flush()?;
                    meter.end();
                    return Err(error);
                }
            }
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
