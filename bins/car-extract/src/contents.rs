//! Reading an event's blocks, and saying why where that fails.

use std::fmt;

use atproto::blocks::Blocks;
use atproto::event::{self, Event};
use atproto::{car, spans};
use cli::Cli;
use frame::host::HostTable;
use frame::{Frame, Kind, PAYLOAD_BYTES_MAX, SECTION_HEADER_BYTES};
use stats::Counter;

/// What one event carries, and then the next.
pub(crate) struct Contents<'c> {
    cli: &'c Cli,
    blocks: Blocks,
    table: Vec<u8>,
    bad_event: Counter,
    bad_car: Counter,
    bad_cid: Counter,
}

impl<'c> Contents<'c> {
    pub(crate) fn new(cli: &'c Cli) -> Contents<'c> {
        let count = |name| cli.stats().named(name);
        Contents {
            cli,
            blocks: Blocks::new(),
            table: Vec::new(),
            bad_event: count("bad-event"),
            bad_car: count("bad-car"),
            bad_cid: count("bad-cid"),
        }
    }

    /// The block table of a frame; `None` if it is no event, carries no blocks, or carries blocks
    /// that are not what they say.
    pub(crate) fn table(&mut self, frame: &Frame<'_>, hosts: &HostTable) -> Option<&[u8]> {
        if frame.header.kind != Kind::EVENT {
            return None;
        }
        let (event, _) = self.read(frame, hosts)?;
        event.blocks()?;
        let spans = self.blocks.spans();
        // Sections share a frame's limit. Nothing within the network's own limits comes near it.
        let bytes = spans::HEADER_BYTES + spans.len() * spans::ENTRY_BYTES + SECTION_HEADER_BYTES;
        if frame.bytes().len() + bytes > PAYLOAD_BYTES_MAX {
            self.say(frame, hosts, format_args!("{} blocks: too many for a table", spans.len()));
            return None;
        }
        self.table.clear();
        spans::put(&mut self.table, spans);
        Some(&self.table)
    }

    /// The event of a frame and its blocks, each checked against its hash.
    pub(crate) fn read<'a>(
        &mut self,
        frame: &Frame<'a>,
        hosts: &HostTable,
    ) -> Option<(Event<'a>, &Blocks)> {
        let event = match event::parse(frame.body()) {
            Ok(event) => event,
            Err(error) => {
                self.bad_event.add(1);
                self.say(frame, hosts, format_args!("event: {error}"));
                return None;
            }
        };
        if let Err(error) = self.blocks.fill(frame.body(), &event) {
            let counter = match error {
                car::Error::Hash { .. } => &self.bad_cid,
                _ => &self.bad_car,
            };
            counter.add(1);
            let did = event.did().unwrap_or_default();
            self.say(frame, hosts, format_args!("{did}: blocks: {error}"));
            return None;
        }
        Some((event, &self.blocks))
    }

    fn say(&self, frame: &Frame<'_>, hosts: &HostTable, why: fmt::Arguments<'_>) {
        let host = hosts.get(frame.header.host).map_or("?", |host| host.name);
        self.cli.info(format_args!("{host} seq {}: {why}", frame.header.seq));
    }
}
