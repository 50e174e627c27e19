//! `--records`: one JSON line for each operation, see [`lines::records`].

use atproto::blocks::Blocks;
use atproto::event::Event;
use cli::{Cli, Text};
use frame::Frame;
use frame::host::HostTable;
use stats::Counter;

/// JSON lines on their way to standard output.
pub(crate) struct Records<'c> {
    text: Text<'c>,
    lines: Counter,
    missing: Counter,
}

impl<'c> Records<'c> {
    pub(crate) fn new(cli: &'c Cli) -> Records<'c> {
        let (lines, missing) = (cli.stats().named("records"), cli.stats().named("missing-block"));
        Records { text: Text::new(cli), lines, missing }
    }

    /// Appends the lines of an event.
    pub(crate) fn put(
        &mut self,
        frame: &Frame<'_>,
        hosts: &HostTable,
        event: &Event<'_>,
        blocks: &Blocks,
    ) -> anyhow::Result<()> {
        let Event::Commit(commit) = event else { return Ok(()) };
        let text = self.text.buffer();
        let shown = lines::records(text, (frame, hosts), commit, blocks, |_| true)?;
        self.lines.add(shown.lines);
        self.missing.add(shown.missing);
        self.text.commit()
    }

    /// Hands on what has gathered.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.text.flush()
    }
}
