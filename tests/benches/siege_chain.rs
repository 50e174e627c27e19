//! The second part of `make siege`: the whole chain under fire, then on a slow machine. The report on
//! standard output, and beside it in `target/siege/` as Markdown and JSON. Fails when an event was
//! lost, stored twice, refused falsely, or let through.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a measurement fails by panicking and speaks to people"
)]

use std::io::IsTerminal;
use std::process::ExitCode;

use e2e::{ChainSiege, bin};

fn main() -> ExitCode {
    let folder =
        bin("pds-tap").parent().and_then(|path| path.parent()).expect("target").join("siege");
    std::fs::create_dir_all(&folder).expect("a folder for the report");
    let shown = std::io::stderr().is_terminal();
    let siege = ChainSiege::from_env();
    let mut is_exact = true;
    for (name, siege) in [("chain-slow", siege.slow()), ("chain", siege)] {
        let report = siege.run(|line| {
            if shown {
                eprint!("\r{line}\x1b[K");
            }
        });
        if shown {
            eprint!("\r\x1b[K");
        }
        println!("{report}\n");
        for (ending, text) in [("md", report.to_string()), ("json", report.json().to_string())] {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::write(path, text + "\n").expect("the report is written");
        }
        is_exact &= report.is_exact();
    }
    if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
