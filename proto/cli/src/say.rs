//! What a tool says to people: lines on stderr that begin with its name, each in one write, so
//! that the lines of several stages do not mix.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use crate::clock::Clock;
use crate::common::Common;
use crate::signal::Signals;

/// The process as a tool sees it: its voice, its signals, its statistics.
#[derive(Debug)]
pub struct Cli {
    name: String,
    loudness: i8,
    progress: bool,
    signals: Signals,
    stats: stats::Page,
    clock: Clock,
    output_failed: OnceLock<anyhow::Error>,
}

impl Cli {
    pub(crate) fn new(tool: &'static str, common: &Common, signals: Signals) -> Cli {
        // A tool never fails for its statistics: without a page it counts in private memory.
        let stats = stats::Page::create(tool, common.name.as_deref(), env!("CARGO_PKG_VERSION"))
            .unwrap_or_else(|_| stats::Page::none());
        let name = common.name.clone().unwrap_or_else(|| tool.to_owned());
        let (loudness, progress) = (common.loudness(), common.progress());
        Cli {
            name,
            loudness,
            progress,
            signals,
            stats,
            clock: Clock::default(),
            output_failed: OnceLock::new(),
        }
    }

    /// The tool's name, or the one given by `--name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says something that went wrong, unless there is nobody to hear it. `--quiet` does not
    /// silence an error that ends the tool, only warnings.
    pub fn warn(&self, message: fmt::Arguments<'_>) {
        if self.loudness >= 0 {
            line(&self.name, message);
        }
    }

    /// Says what is going on, with `-v`.
    pub fn info(&self, message: fmt::Arguments<'_>) {
        if self.loudness >= 1 {
            line(&self.name, message);
        }
    }

    /// Says details, with `-vv`.
    pub fn debug(&self, message: fmt::Arguments<'_>) {
        if self.loudness >= 2 {
            line(&self.name, message);
        }
    }

    /// Whether progress is to be shown on stderr: it is a terminal, or `--progress`.
    #[must_use]
    pub fn progress(&self) -> bool {
        self.progress
    }

    /// Draws one line of progress over the last one. The caller asks [`Cli::progress`] first.
    pub fn show(&self, message: fmt::Arguments<'_>) {
        let end = if std::io::stderr().is_terminal() { "\x1b[K\r" } else { "\n" };
        write(&format!("{}: {message}{end}", self.name));
    }

    /// Whether a signal has asked the tool to stop. Sources stop then; stages drain their input.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.signals.stopping()
    }

    /// Readable as soon as a signal has asked the tool to stop, for poll and epoll.
    #[must_use]
    pub fn stop_fd(&self) -> BorrowedFd<'_> {
        self.signals.fd()
    }

    /// The statistics of this process, where `ghost-mon` sees them.
    #[must_use]
    pub fn stats(&self) -> &stats::Page {
        &self.stats
    }

    /// Remembers why the output could not take the rest, for a tool that ends as if nobody
    /// wanted it.
    pub(crate) fn output_failed(&self, error: anyhow::Error) {
        let _ = self.output_failed.set(error);
    }

    pub(crate) fn into_output_failure(self) -> Option<anyhow::Error> {
        self.output_failed.into_inner()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Writes one line to stderr. Nothing can be done if that fails.
pub(crate) fn line(name: &str, message: fmt::Arguments<'_>) {
    write(&format!("{name}: {message}\n"));
}

pub(crate) fn write(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
