//! `frame-merge`: several streams become one, and a mark holds for all of them.

mod feed;
mod hosts;
mod marks;
mod merge;

use std::process::ExitCode;

use cli::{Cli, Common, Endpoint, Input, Out, Tool, usage};

use crate::merge::Merge;

/// Joins streams of frames, as they come
///
/// Hosts are told apart by name and get ids of their own; what one input says of an account keeps
/// its order. A mark goes on when every input has got so far: of a host, the least that any input
/// says of it, and nothing of it while an input may still have events of that host before the
/// mark. If an input stops without an `end` frame, what the others have at that moment is passed
/// on, but no mark any more, and the tool ends with 1.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Frames to read, all at the same time: files, named pipes, `ring:NAME`, or once `-`
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<Endpoint>,

    #[command(flatten)]
    out: Out,

    /// The inputs are no branches of one stream, but of taps of their own: a mark waits only for
    /// inputs that have named its host. Without this, one that is silent holds up all marks
    #[arg(long)]
    apart: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "frame-merge";
    const EXAMPLE: &'static str = "\
frame-merge ring:c ring:d | archive-pack --out archive/
frame-merge --apart <(ssh one pds-tap --hosts a.txt) <(ssh two pds-tap --hosts b.txt) | sig-verify --index did.idx";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        for (at, input) in self.inputs.iter().enumerate() {
            // A file may be read twice; a stream that is consumed may not.
            let again = self.inputs.get(..at).unwrap_or_default().contains(input);
            if again && !matches!(input, Endpoint::File(_)) {
                return Err(usage(format!("{input} is named twice")));
            }
        }
        Endpoint::refuse_same(&self.inputs, self.out.out.as_ref(), "input and output")?;
        let output = self.out.open(cli)?;
        let inputs: Vec<Input<'_>> = self
            .inputs
            .iter()
            .map(|endpoint| Input::one_of_many(endpoint, cli))
            .collect::<anyhow::Result<_>>()?;
        let joints: Vec<&str> = inputs.iter().flat_map(Input::joints).map(String::as_str).collect();
        cli.stats().set_inputs(&joints);
        Merge::new(output, inputs.len(), self.apart, cli).run(inputs)
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
