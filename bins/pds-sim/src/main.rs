//! `pds-sim`: a network to try everything against, in one process.
//!
//! It is an implementation of its own of the protocol's making side, on purpose: of this
//! workspace it uses `cli` alone, so that what the tools prove was not made by their own code.
//!
//! A map: [`args`] the command line; [`network`] what listens and for how long; [`life`] when
//! things happen; [`world`] what happens, with [`mix`], [`record`], [`fault`] and [`truth`];
//! [`repo`], [`mst`], [`commit`], [`block`], [`key`], [`clock`] what repositories are made of;
//! [`operation`], [`plc`] and [`plc_document`] the directory, [`names`] the other names of accounts;
//! [`capture`] what was recorded; [`events`], [`log`] and [`host`] what is served; [`serve`],
//! [`wire`], [`tls`], [`subscribe`], [`xrpc`], [`plc_http`], [`plc_stream`] and [`plc_limit`] how;
//! [`load`] a network of another kind, that costs little and says much.

mod args;
mod network;

mod life;
mod world;

mod fault;
mod mix;
mod record;
mod truth;

mod block;
mod clock;
mod commit;
mod key;
mod mst;
mod repo;

mod capture;
mod events;
mod host;
mod load;
mod log;
mod names;
mod operation;
mod plc;
mod plc_document;

mod plc_http;
mod plc_limit;
mod plc_stream;
mod serve;
mod stats;
mod subscribe;
mod tls;
mod wire;
mod xrpc;

impl cli::Tool for args::Args {
    const NAME: &'static str = "pds-sim";
    const EXAMPLE: &'static str = "\
pds-sim --accounts 50 --events 10000 --rate 0 --truth truth.jsonl
pds-sim --replay firehose.u32be.zst --plc plc-export.jsonl --once";

    fn common(&self) -> &cli::Common {
        &self.common
    }

    fn run(self, cli: &cli::Cli) -> anyhow::Result<()> {
        network::run(&self, cli)
    }
}

fn main() -> std::process::ExitCode {
    cli::main::<args::Args>()
}
