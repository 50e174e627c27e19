//! Saying things about hosts, but not thousands of them at once.

use std::fmt::Arguments;
use std::time::{Duration, Instant};

use cli::Cli;

/// So many lines are said in a window; the rest of them are counted.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Warnings within measure.
pub(crate) struct Voice<'c> {
    cli: &'c Cli,
    began: Instant,
    said: u32,
    held: u64,
}

impl<'c> Voice<'c> {
    pub(crate) fn new(cli: &'c Cli) -> Self {
        Self { cli, began: Instant::now(), said: 0, held: 0 }
    }

    /// Something a person should see, unless there is much of it.
    pub(crate) fn warn(&mut self, message: Arguments<'_>) {
        self.breathe();
        if self.said < LINES_MAX {
            self.said += 1;
            self.cli.warn(message);
        } else {
            self.held += 1;
        }
    }

    /// Something a person must see.
    pub(crate) fn loud(&self, message: Arguments<'_>) {
        self.cli.warn(message);
    }

    /// Something for `-v`.
    pub(crate) fn info(&self, message: Arguments<'_>) {
        self.cli.info(message);
    }

    /// Says how much was not said, once its time is over.
    pub(crate) fn breathe(&mut self) {
        if self.began.elapsed() >= WINDOW {
            if self.held > 0 {
                let held = self.held;
                self.cli.warn(format_args!("and {held} more messages about hosts"));
            }
            (self.began, self.said, self.held) = (Instant::now(), 0, 0);
        }
    }
}
