//! `make siege` and `make soak`: the report on standard output, and beside it in `target/siege/`
//! as text and JSON. Fails when an event was lost or came twice, and a soak when memory has grown.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a measurement fails by panicking and speaks to people"
)]

use std::io::IsTerminal;
use std::process::ExitCode;

use e2e::{Siege, bin};

fn main() -> ExitCode {
    let siege = Siege::from_env();
    let shown = std::io::stderr().is_terminal();
    let report = siege.run(|line| {
        if shown {
            eprint!("\r{line}\x1b[K");
        }
    });
    if shown {
        eprint!("\r\x1b[K");
    }
    println!("{report}");
    let folder =
        bin("pds-tap").parent().and_then(|path| path.parent()).expect("target").join("siege");
    std::fs::create_dir_all(&folder).expect("a folder for the report");
    let name = if siege.churn > 0.0 { "soak" } else { "siege" };
    for (ending, text) in [("txt", report.to_string()), ("json", report.json().to_string())] {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(path, text + "\n").expect("the report is written");
    }
    if report.is_exact() && (siege.churn == 0.0 || report.is_flat()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
