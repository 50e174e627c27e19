//! Text on standard output: JSON lines, and what a tool was asked to say.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;

use serde::Serialize;

use crate::{Cli, OutputClosed, pipe};

/// As much as goes into a pipe in one write and still leaves it room.
const BATCH_BYTES: usize = 64 << 10;

/// Lines on their way to standard output. They gather, and are handed on when there are enough
/// or when the caller is about to wait.
#[derive(Debug)]
pub struct Text<'c> {
    cli: &'c Cli,
    gathered: Vec<u8>,
}

impl<'c> Text<'c> {
    /// Nothing yet.
    #[must_use]
    pub fn new(cli: &'c Cli) -> Text<'c> {
        pipe::widen(io::stdout().as_fd());
        Text { cli, gathered: Vec::with_capacity(2 * BATCH_BYTES) }
    }

    /// Appends a line.
    ///
    /// # Errors
    /// As [`Text::flush`].
    pub fn line(&mut self, line: impl fmt::Display) -> anyhow::Result<()> {
        writeln!(self.gathered, "{line}")?;
        self.commit()
    }

    /// Appends an object as a line of JSON.
    ///
    /// # Errors
    /// As [`Text::flush`]; an object that JSON has no form for.
    pub fn object(&mut self, object: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.gathered, object)?;
        self.line("")
    }

    /// Where whole lines are appended; [`Text::commit`] comes after.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.gathered
    }

    /// Says that whole lines were appended.
    ///
    /// # Errors
    /// As [`Text::flush`].
    pub fn commit(&mut self) -> anyhow::Result<()> {
        if self.gathered.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands on what has gathered.
    ///
    /// # Errors
    /// [`OutputClosed`] if the reader has gone; otherwise what the system says.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let written = write(&self.gathered);
        self.cli.stats().bytes_out(self.gathered.len() as u64);
        self.gathered.clear();
        written
    }
}

/// Prints a text at once.
///
/// # Errors
/// As [`Text::flush`].
pub fn print(text: &str) -> anyhow::Result<()> {
    write(text.as_bytes())
}

fn write(text: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => error.into(),
    })
}
