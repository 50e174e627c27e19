//! The forms in which an archive's contents are written.

use archive::Query;
use atproto::blocks::Blocks;
use atproto::event::{self, Event};
use frame::host::HostTable;
use frame::{Frame, Kind};

/// What is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Frames, byte for byte as archive-pack took them
    #[default]
    Frames,
    /// One object a frame, as frame-cat prints them
    Json,
    /// One object an operation, `#identity` or `#account`, as Jetstream writes them
    Jetstream,
    /// One object an operation, as car-extract --records prints them
    Records,
}

/// Lines of one of the forms.
pub(crate) struct Lines {
    format: Format,
    query: Query,
    hosts: HostTable,
    blocks: Blocks,
}

impl Lines {
    pub(crate) fn new(format: Format, query: Query) -> Lines {
        Lines { format, query, hosts: HostTable::default(), blocks: Blocks::new() }
    }

    /// Appends the lines of a frame.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>) -> Result<(), frame::Error> {
        self.hosts.apply(frame)?;
        if self.format == Format::Json {
            return lines::put(out, frame, &self.hosts);
        }
        let body = frame.body();
        let Some(event) = event::parse(body).ok().filter(|_| frame.header.kind == Kind::EVENT)
        else {
            return Ok(());
        };
        // Of blocks that can't be read there are no records.
        if self.blocks.fill(body, &event).is_err() {
            return Ok(());
        }
        let wanted = |op: &event::Op<'_>| self.query.wants_path(op.path);
        match (&event, self.format) {
            (Event::Commit(commit), Format::Records) => {
                lines::records(out, (frame, &self.hosts), commit, &self.blocks, wanted)?;
            }
            (_, Format::Jetstream) => {
                let time_ns = frame.header.time_ns;
                lines::jetstream(out, time_ns, (&event, body), &self.blocks, wanted);
            }
            _ => {}
        }
        Ok(())
    }
}
