//! `frame-split`: one stream over several outputs, so that a stage can run several times.

mod route;

use std::process::ExitCode;

use anyhow::anyhow;
use cli::{Cli, Common, Endpoint, Inputs, Item, Output, OutputClosed, Tool, usage};

use crate::route::{By, Router, To};

/// Spreads a stream over several outputs, each account always to the same one
///
/// An account's events keep their order. `host` and `mark` frames go to every output: a mark says
/// on each of them that everything before it, of any host, has been sent. Which output it is
/// follows from the account's DID (or the host's name) and the number of outputs alone, so it is
/// the same after a restart. If the reader of one output goes away, the others end, too, without
/// an `end` frame, and so does this tool, with 1.
#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    inputs: Inputs,

    /// What is kept together: an account's events, or all that a host sends
    #[arg(long, value_name = "WHAT", default_value = "did")]
    by: By,

    /// Where to write, at least twice and at most 32 times: files, named pipes, or `ring:NAME`
    #[arg(short, long, value_name = "OUT", num_args = 1.., required = true)]
    out: Vec<Endpoint>,

    /// Overwrite output files that exist
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    common: Common,
}

/// As many outputs as can be watched while the tool waits.
const OUTPUTS_MAX: usize = 32;

impl Tool for Args {
    const NAME: &'static str = "frame-split";
    const EXAMPLE: &'static str = "\
pds-tap --hosts hosts.txt | dedupe | frame-split --by did -o ring:a ring:b &
sig-verify ring:a --index did.idx -o ring:c & sig-verify ring:b --index did.idx -o ring:d &
frame-merge ring:c ring:d | archive-pack --out archive/";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if !(2..=OUTPUTS_MAX).contains(&self.out.len()) {
            return Err(usage(format!(
                "{} outputs: from 2 to {OUTPUTS_MAX} can be written",
                self.out.len()
            )));
        }
        for (at, out) in self.out.iter().enumerate() {
            let others = self.out.get(..at).unwrap_or_default();
            Endpoint::refuse_same(others, Some(out), "outputs")?;
            Endpoint::refuse_same(&self.inputs.inputs, Some(out), "input and output")?;
        }
        let mut outputs = Output::several(&self.out, self.force, cli)?;
        let ended = self.split(&mut outputs, cli);
        match ended {
            Ok(()) => outputs.into_iter().try_for_each(|output| {
                let name = output.name().to_owned();
                output.finish().map_err(|error| dead(error, &name))
            }),
            Err(error) => {
                let unread = outputs.iter().find(|output| output.is_unread());
                Err(dead(error, unread.map_or("an output", Output::name)))
            }
        }
    }
}

impl Args {
    fn split(&self, outputs: &mut [Output<'_>], cli: &Cli) -> anyhow::Result<()> {
        let mut input = self.inputs.open(cli)?;
        outputs.iter().try_for_each(|output| input.watch(output))?;
        let mut router = Router::new(self.by, outputs.len());
        loop {
            if input.idle()? {
                outputs.iter_mut().try_for_each(Output::flush)?;
            }
            match input.next()? {
                None => return Ok(()),
                Some(Item::Start) => {
                    router.start();
                    outputs.iter_mut().try_for_each(Output::start)?;
                }
                Some(Item::Frame(frame)) => match router.route(&frame)? {
                    To::All => outputs.iter_mut().try_for_each(|output| output.put(&frame))?,
                    To::One(branch) => {
                        outputs.get_mut(branch).map_or(Ok(()), |output| output.put(&frame))?;
                    }
                },
            }
        }
    }
}

/// A reader that goes away is no end in order here: the other branches would go on without it.
fn dead(error: anyhow::Error, branch: &str) -> anyhow::Error {
    match error.is::<OutputClosed>() {
        true => anyhow!("{branch}: its reader is gone, so all branches end here"),
        false => error,
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
