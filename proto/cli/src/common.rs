//! The options that every tool has.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;

use crate::{Cli, Endpoint, Input, Output};

/// How loud a tool is and what it is called.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Say errors only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Say what is going on; twice for details
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    /// What to be called in messages and in ghost-mon, to tell two stages of one kind apart
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Show progress even if stderr is not a terminal
    #[arg(long, conflicts_with_all = ["no_progress", "quiet"])]
    progress: bool,

    /// Show no progress
    #[arg(long)]
    no_progress: bool,

    /// Keep this run's statistics in FILE when it ends, for `ghost-mon --report`
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,

    /// Print the man page or the completions of a shell, and exit
    #[arg(long, value_name = "WHAT", value_parser = crate::run::GENERATED)]
    generate: Option<String>,
}

impl Common {
    /// -1 quiet, 0 warnings, 1 information, 2 details.
    pub(crate) fn loudness(&self) -> i8 {
        if self.quiet { -1 } else { i8::try_from(self.verbose).unwrap_or(i8::MAX) }
    }

    pub(crate) fn progress(&self) -> bool {
        self.progress || (!self.no_progress && !self.quiet && std::io::stderr().is_terminal())
    }
}

/// What tools with sockets have alike.
#[derive(Debug, Clone, clap::Args)]
pub struct Sockets {
    /// Let private and local addresses be reached, too
    #[arg(long, env = "SOVEREIGN_ALLOW_PRIVATE", value_parser = BoolishValueParser::new())]
    pub allow_private: bool,

    /// Believe the CA certificates in this PEM file, beside those of the system
    #[arg(long, value_name = "FILE", env = "SOVEREIGN_CA")]
    pub ca: Option<PathBuf>,
}

/// Reads the URL of a PLC directory, and takes slashes off its end.
///
/// # Errors
/// If it is no URL that could be one.
pub fn directory_url(text: &str) -> Result<String, &'static str> {
    let url = text.trim_end_matches('/');
    if url.starts_with("https://") || url.starts_with("http://") {
        Ok(url.to_owned())
    } else {
        Err("a directory's URL begins with https:// (or http://)")
    }
}

/// Where frames come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Inputs {
    /// Frames to read, in this order: `-` (standard input, the default), a file, or `ring:NAME`
    #[arg(value_name = "IN")]
    pub inputs: Vec<Endpoint>,
}

impl Inputs {
    /// Opens them.
    ///
    /// # Errors
    /// If standard input is meant and is a terminal (misuse), or the first cannot be opened.
    pub fn open<'c>(&self, cli: &'c Cli) -> anyhow::Result<Input<'c>> {
        Input::open(&self.inputs, cli)
    }
}

/// Where frames go.
#[derive(Debug, Clone, clap::Args)]
pub struct Out {
    /// Where to write frames: `-` (standard output, the default), a file, or `ring:NAME`
    #[arg(short, long, value_name = "OUT")]
    pub out: Option<Endpoint>,

    /// Overwrite the output file if it exists
    #[arg(long)]
    pub force: bool,
}

impl Out {
    /// Opens it.
    ///
    /// # Errors
    /// If it is a terminal that was not named (misuse), exists, or cannot be opened.
    pub fn open<'c>(&self, cli: &'c Cli) -> anyhow::Result<Output<'c>> {
        Output::frames(self.out.as_ref(), self.force, cli)
    }
}

/// The endpoints of a stage: inputs as operands, one output.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Where frames come from; alone for a tool that can also print lines.
    #[command(flatten)]
    pub inputs: Inputs,
    /// Where frames go.
    #[command(flatten)]
    pub out: Out,
}

impl Filter {
    /// Opens both sides. The output first, so that a stage that cannot write does not read.
    ///
    /// # Errors
    /// As [`Inputs::open`] and [`Out::open`]; also if the output is one of the inputs (misuse).
    pub fn open<'c>(&self, cli: &'c Cli) -> anyhow::Result<(Input<'c>, Output<'c>)> {
        Endpoint::refuse_same(&self.inputs.inputs, self.out.out.as_ref(), "input and output")?;
        let output = self.out.open(cli)?;
        let mut input = self.inputs.open(cli)?;
        input.watch(&output)?;
        Ok((input, output))
    }
}
