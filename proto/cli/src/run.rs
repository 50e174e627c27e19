//! The main of every tool: arguments in, exit code out.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::common::Common;
use crate::fail::exit_code;
use crate::say::{Cli, line, write};
use crate::signal::Signals;

/// A tool: what its arguments are and what it does with them.
pub trait Tool: clap::Parser {
    /// Its name, which is the name of its binary.
    const NAME: &'static str;
    /// Command lines that show what it is for, for `--help`.
    const EXAMPLE: &'static str;

    /// The options that every tool has.
    fn common(&self) -> &Common;

    /// Whether a fatal error is to be a JSON line.
    fn json(&self) -> bool {
        false
    }

    /// Does the work.
    ///
    /// # Errors
    /// [`crate::usage`] ends with 2, [`crate::OutputClosed`] with 0, all others with 1.
    fn run(self, cli: &Cli) -> anyhow::Result<()>;
}

/// What `--generate` takes.
pub(crate) const GENERATED: [&str; 4] = ["man", "complete-bash", "complete-zsh", "complete-fish"];

const EXIT_STATUS: &str = "\
Exit status:
  0  done; also when the reader of the output went away or a first SIGTERM or SIGINT was obeyed
  1  failed: bad data, input or output, a peer
  2  misused: options, a terminal where frames would go, a file of another kind";

/// Runs a tool and says how it ended.
#[must_use]
pub fn main<T: Tool>() -> ExitCode {
    let command = command::<T>();
    if let Some(what) = asked_to_generate() {
        return generate(command, &what);
    }
    let args = command.try_get_matches().and_then(|matches| T::from_arg_matches(&matches));
    let args = match args {
        Ok(args) => args,
        Err(error) => return refused::<T>(&error),
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            line(T::NAME, format_args!("signal handlers: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let json = args.json();
    let cli = Cli::new(T::NAME, args.common(), signals);
    let kept = args.common().stats.clone();
    let ended = crate::environment::check().and_then(|()| args.run(&cli));
    let Err(error) = ended.and(kept.map_or(Ok(()), |path| keep(&cli, &path))) else {
        return ExitCode::SUCCESS;
    };
    let name = cli.name().to_owned();
    let error = match exit_code(&error) {
        0 => cli.into_output_failure().unwrap_or(error),
        _ => error,
    };
    let code = exit_code(&error);
    if code != 0 {
        say_fatal(&name, &error, code, json);
    }
    ExitCode::from(code)
}

/// The version line: name, version, commit, and what it reads and writes.
#[must_use]
pub fn version() -> String {
    let stream = frame::MAGIC.last().copied().map_or('?', char::from);
    format!(
        "{} ({}), frame stream version {stream}",
        env!("CARGO_PKG_VERSION"),
        env!("SOVEREIGN_COMMIT")
    )
}

/// The command with the parts that are alike in every tool.
fn command<T: Tool>() -> clap::Command {
    let example: String = T::EXAMPLE.lines().map(|line| format!("  {line}\n")).collect();
    T::command()
        .name(T::NAME)
        .bin_name(T::NAME)
        .version(version())
        .max_term_width(100)
        .after_help(format!("Example:\n{example}"))
        .after_long_help(format!("Example:\n{example}\n{EXIT_STATUS}"))
}

/// What stands behind `--generate`, which works without the arguments that are otherwise needed.
fn asked_to_generate() -> Option<String> {
    let mut args = std::env::args().skip(1);
    let what = args.next().filter(|arg| arg == "--generate").and_then(|_| args.next())?;
    GENERATED.contains(&what.as_str()).then_some(what)
}

fn generate(mut command: clap::Command, what: &str) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    let shell = match what {
        "complete-bash" => Some(clap_complete::Shell::Bash),
        "complete-zsh" => Some(clap_complete::Shell::Zsh),
        "complete-fish" => Some(clap_complete::Shell::Fish),
        _ => None,
    };
    let made = match shell {
        Some(shell) => {
            clap_complete::generate(shell, &mut command, name, &mut text);
            Ok(())
        }
        None => clap_mangen::Man::new(command).render(&mut text),
    };
    match made.and_then(|()| std::io::stdout().lock().write_all(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints what clap has to say: help and version on stdout with 0, misuse on stderr with 2.
fn refused<T: Tool>(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        write(&format!("{}: {text}", T::NAME));
        ExitCode::from(2)
    } else {
        let _ = error.print();
        ExitCode::SUCCESS
    }
}

/// Keeps the page of statistics. It is the last of it, so an older one may go.
fn keep(cli: &Cli, path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, cli.stats().to_bytes()).with_context(|| path.display().to_string())
}

/// An error with every cause, but for those that it words itself.
pub(crate) fn worded(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

/// One line, with every cause: `tool: file: offset 12: what is wrong`.
fn say_fatal(name: &str, error: &anyhow::Error, code: u8, json: bool) {
    let message = worded(error);
    if json {
        let object = serde_json::json!({
            "type": "error", "tool": name, "message": message, "exit": code,
        });
        write(&format!("{object}\n"));
    } else {
        line(name, format_args!("{message}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Worded(std::io::Error);

    impl std::fmt::Display for Worded {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a/log: cannot write: {}", self.0)
        }
    }

    impl std::error::Error for Worded {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let full = || std::io::Error::other("it is full");
        let error = anyhow::Error::new(Worded(full())).context("archive");
        assert_eq!(worded(&error), "archive: a/log: cannot write: it is full");
        let error = anyhow::Error::new(full()).context("a/log");
        assert_eq!(worded(&error), "a/log: it is full");
    }
}
