//! What every tool does alike: its main, its exit code, its signals, its inputs and output, its
//! manners on a terminal. This is the only room that touches the process.
//!
//! A tool is a clap parser that implements [`Tool`]; its `main` is one line:
//!
//! ```no_run
//! #[derive(clap::Parser)]
//! struct Copy {
//!     #[command(flatten)]
//!     io: cli::Filter,
//!     #[command(flatten)]
//!     common: cli::Common,
//! }
//!
//! impl cli::Tool for Copy {
//!     const NAME: &'static str = "copy";
//!     const EXAMPLE: &'static str = "copy a.frames | frame-cat";
//!     fn common(&self) -> &cli::Common {
//!         &self.common
//!     }
//!     fn run(self, cli: &cli::Cli) -> anyhow::Result<()> {
//!         let (mut input, mut output) = self.io.open(cli)?;
//!         loop {
//!             if input.idle()? {
//!                 output.flush()?;
//!             }
//!             match input.next()? {
//!                 None => return output.finish(),
//!                 Some(cli::Item::Start) => output.start()?,
//!                 Some(cli::Item::Frame(frame)) => output.put(&frame)?,
//!             }
//!         }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     cli::main::<Copy>()
//! }
//! ```
//!
//! Exit codes: 0 done (also: the reader of the output went away, or a signal was obeyed), 1
//! failed, 2 misused; 128 + n by really dying of signal n.

mod clock;
mod common;
mod endpoint;
mod environment;
mod fail;
mod input;
mod output;
mod pipe;
mod rings;
mod run;
mod say;
mod signal;
mod text;
pub mod units;

pub use clock::now_ns;
pub use common::{Common, Filter, Inputs, Out, Sockets, directory_url};
pub use endpoint::Endpoint;
pub use fail::{OutputClosed, usage};
pub use frame::Item;
pub use input::Input;
pub use output::Output;
pub use pipe::{refuse_terminal, widen};
pub use run::{Tool, main, version};
pub use say::Cli;
pub use signal::Wakes;
pub use text::{Text, print};
