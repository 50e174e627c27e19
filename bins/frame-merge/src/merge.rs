//! The joining itself.

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use anyhow::{Context, bail};
use cli::{Cli, Input, Item, Output, OutputClosed};
use frame::mark::{self, Mark};
use frame::{Decoder, Frame, Kind};
use stats::State;

use crate::feed::{self, Batch};
use crate::hosts::Hosts;
use crate::marks::Marks;

/// Batches that may wait, for each input.
const WAITING: usize = 2;

/// Joins inputs into one output.
pub(crate) struct Merge<'c> {
    cli: &'c Cli,
    output: Output<'c>,
    hosts: Hosts,
    marks: Marks,
    /// Where a mark's body is laid out.
    scratch: Vec<u8>,
    /// Of each input.
    decoders: Vec<Decoder>,
    names: Vec<String>,
    /// Why no mark goes on any more.
    failed: Option<anyhow::Error>,
}

impl<'c> Merge<'c> {
    pub(crate) fn new(output: Output<'c>, inputs: usize, apart: bool, cli: &'c Cli) -> Merge<'c> {
        Merge {
            cli,
            output,
            hosts: Hosts::new(inputs),
            marks: Marks::new(inputs, apart),
            scratch: Vec::new(),
            decoders: vec![Decoder::default(); inputs],
            names: Vec::new(),
            failed: None,
        }
    }

    /// Reads all inputs to their ends.
    pub(crate) fn run(mut self, mut inputs: Vec<Input<'c>>) -> anyhow::Result<()> {
        // Threads that wait look at this, too: when the reading end is gone, they stop as soon as
        // there is nothing to be read at once.
        let (open, end) = std::io::pipe()?;
        let mut open = Some(open);
        for input in &mut inputs {
            input.watch(&self.output)?;
            input.watch_end(end.as_fd())?;
            self.names.push(input.name().to_owned());
        }
        self.output.start()?;
        std::thread::scope(|scope| {
            let count = inputs.len();
            let (sender, batches) = sync_channel(WAITING * count);
            let mut spares = Vec::new();
            for (number, input) in inputs.into_iter().enumerate() {
                let sender = sender.clone();
                let (spare, back) = sync_channel(WAITING);
                spares.push(spare);
                let read = move || feed::read(input, number, &sender, &back);
                let name = format!("input-{number}");
                std::thread::Builder::new().name(name).spawn_scoped(scope, read)?;
            }
            drop(sender);
            let joined = self.join(&batches, &spares, count, || drop(open.take()));
            // Whoever still reads is to stop, or the scope would wait for it.
            drop((batches, open.take()));
            joined
        })?;
        match self.failed {
            Some(error) => Err(error),
            None => self.output.finish(),
        }
    }

    /// Takes what the threads read until they are done.
    fn join(
        &mut self,
        batches: &Receiver<(usize, Batch)>,
        spares: &[SyncSender<Vec<u8>>],
        mut left: usize,
        mut stop: impl FnMut(),
    ) -> anyhow::Result<()> {
        while left > 0 {
            let (input, batch) = match batches.try_recv() {
                Ok(batch) => batch,
                Err(TryRecvError::Disconnected) => bail!("a thread that reads has ended early"),
                Err(TryRecvError::Empty) => {
                    self.output.flush()?;
                    self.cli.stats().wait(State::Input, || batches.recv())?
                }
            };
            match batch {
                Batch::Frames(mut bytes) => {
                    self.cli.stats().bytes_in(bytes.len() as u64);
                    self.take(input, &bytes)?;
                    bytes.clear();
                    if let Some(spare) = spares.get(input) {
                        let _ = spare.try_send(bytes);
                    }
                }
                Batch::End => {
                    left -= 1;
                    let due = self.marks.end(input);
                    self.put_marks(&due, cli::now_ns())?;
                }
                Batch::Failed(error) if error.is::<OutputClosed>() && self.failed.is_none() => {
                    return Err(error);
                }
                Batch::Failed(error) => {
                    left -= 1;
                    // The rest is what the others have; none of it is behind a mark.
                    self.failed.get_or_insert(error);
                    stop();
                }
            }
        }
        Ok(())
    }

    /// Passes on what an input has.
    fn take(&mut self, input: usize, mut bytes: &[u8]) -> anyhow::Result<()> {
        loop {
            let Some(decoder) = self.decoders.get_mut(input) else { return Ok(()) };
            let Some((item, used)) = decoder.next(bytes)? else { return Ok(()) };
            match item {
                Item::Start => self.hosts.start(input),
                Item::Frame(frame) => self.pass(input, &frame)?,
            }
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    fn pass(&mut self, input: usize, frame: &Frame<'_>) -> anyhow::Result<()> {
        let stats = self.cli.stats();
        stats.frames_in(1);
        let header = &frame.header;
        match header.kind {
            Kind::HOST => {
                let Some(named) = self.hosts.name(input, frame)? else { return Ok(()) };
                self.marks.name(input, named.id);
                if named.is_new {
                    frame::put_as(self.output.buffer(), frame, named.id)?;
                    self.output.commit(header)?;
                }
                Ok(())
            }
            Kind::MARK => {
                let hosts = &self.hosts;
                let marks = mark::read(frame)?
                    .filter_map(|mark| Some(Mark { host: hosts.id(input, mark.host)?, ..mark }));
                let due = self.marks.take(input, header.time_ns, marks);
                self.put_marks(&due, header.time_ns)
            }
            kind => {
                if kind == Kind::EVENT {
                    stats.events_in(1);
                }
                let host = self.hosts.id(input, header.host).with_context(|| {
                    let name = self.names.get(input).map_or("", String::as_str);
                    let id = header.host.0;
                    format!("{name}: a frame of host id {id}, which no `host` frame names")
                })?;
                frame::put_as(self.output.buffer(), frame, host)?;
                self.output.commit(header)
            }
        }
    }

    /// A mark of an input that failed may be newer than what it has handed on.
    fn put_marks(&mut self, due: &[Mark], time_ns: u64) -> anyhow::Result<()> {
        if due.is_empty() || self.failed.is_some() {
            return Ok(());
        }
        let marks = due.iter().copied();
        mark::put(self.output.buffer(), &mut self.scratch, time_ns, marks)?;
        self.output.commit(&frame::Header::new(Kind::MARK, time_ns))
    }
}
