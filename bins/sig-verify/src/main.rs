//! `sig-verify`: proves each event of a frame stream and appends the verdict.

mod args;
mod stage;

mod batch;

mod rules;
mod verify;

mod activity;
mod generations;
mod heads;
mod heal;
mod judge;
mod pds;
mod resume;
mod state;

mod budget;
mod directory;
mod identity;
mod known;
mod queue;
mod resolve;

mod counts;
mod hold;
mod rejects;
mod waiting;

#[cfg(test)]
mod costs;

use std::process::ExitCode;

use cli::{Cli, Common, Endpoint};

use crate::args::Args;
use crate::batch::Batch;
use crate::counts::Counts;
use crate::heads::Heads;
use crate::heal::{Heal, OnGap};
use crate::judge::Judge;
use crate::rejects::Rejects;
use crate::stage::Stage;
use crate::state::State;
use crate::verify::Proof;

impl cli::Tool for Args {
    const NAME: &'static str = "sig-verify";
    const EXAMPLE: &'static str =
        "pds-tap --host wss://pds.example.com | sig-verify --index did.idx | archive-pack --out a";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if self.index.is_none() && self.resolve.is_none() {
            return Err(cli::usage(
                "there is nothing to prove by; name an index with --index FILE (index-build makes \
                 one), or a directory with --resolve https://plc.directory",
            ));
        }
        if self.on_gap == OnGap::Hold && !self.heal {
            return Err(cli::usage("--on-gap hold needs --heal: nothing else would end it"));
        }
        self.refuse_same_files()?;
        let mut heads = Heads::default();
        let state = self.state.as_deref().map(|path| State::open(path, &mut heads)).transpose()?;
        let (state, recent) = state.unzip();
        if let Some(archive) = &self.resume {
            heads.ask(resume::Archived::open(archive, cli)?);
        }
        let batch = Batch::new(self.jobs(), || Proof::new(self.policy(), self.second_opinion))?;
        let judge = Judge {
            hosts: Default::default(),
            identities: self.identities()?,
            proof: Proof::new(self.policy(), self.second_opinion),
            heads,
            state,
            recent: recent.unwrap_or_default(),
            asker: self.asker()?,
            activity: Default::default(),
            heal: Heal::new(self.heal, self.on_gap),
            pds: String::new(),
            time_ns: 0,
            hurries: false,
        };
        let rejects = self.rejects.as_deref().map(|path| Rejects::create(path, self.out.force));
        let rejects = rejects.transpose()?;
        let output = self.out.open(cli)?;
        let mut input = self.inputs.open(cli)?;
        input.watch(&output)?;
        let stage = Stage {
            cli,
            output,
            rejects,
            pass_all: self.pass_all,
            judge,
            counts: Counts::new(cli),
            batch: Some(batch),
            hold: Default::default(),
            waiting: Default::default(),
        };
        stage.run(input)
    }
}

impl Args {
    /// Misuse if two of input, output and rejects are one file.
    fn refuse_same_files(&self) -> anyhow::Result<()> {
        let (inputs, out) = (&self.inputs.inputs[..], self.out.out.as_ref());
        let rejects = self.rejects.clone().map(Endpoint::File);
        Endpoint::refuse_same(inputs, out, "input and output")?;
        Endpoint::refuse_same(inputs, rejects.as_ref(), "input and --rejects")?;
        Endpoint::refuse_same(
            out.map_or(&[], std::slice::from_ref),
            rejects.as_ref(),
            "output and --rejects",
        )
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
