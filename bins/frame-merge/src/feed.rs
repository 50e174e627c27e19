//! An input, read by a thread of its own: whoever waits for one must not keep the others waiting,
//! or a split before this tool could wait for them in turn.

use std::sync::mpsc::{Receiver, SyncSender};

use cli::{Input, Item};

/// How much gathers before it is handed on.
const BATCH_BYTES: usize = 256 << 10;

/// What a thread has read.
pub(crate) enum Batch {
    /// Whole frames, and the magics between them.
    Frames(Vec<u8>),
    /// The stream ended in order.
    End,
    /// It did not.
    Failed(anyhow::Error),
}

/// Reads an input to its end. Buffers come back by `spare`.
pub(crate) fn read(
    mut input: Input<'_>,
    number: usize,
    batches: &SyncSender<(usize, Batch)>,
    spare: &Receiver<Vec<u8>>,
) {
    let mut buffer = Vec::new();
    let ended = match fill(&mut input, &mut buffer, |buffer| {
        let next = spare.try_recv().unwrap_or_default();
        batches.send((number, Batch::Frames(std::mem::replace(buffer, next)))).is_ok()
    }) {
        Ok(()) => Batch::End,
        Err(error) => Batch::Failed(error),
    };
    // If nobody takes it any more, nobody wants to know how it ended.
    if buffer.is_empty() || batches.send((number, Batch::Frames(buffer))).is_ok() {
        let _ = batches.send((number, ended));
    }
}

/// Fills buffers until the end, or until nobody takes one any more.
fn fill(
    input: &mut Input<'_>,
    buffer: &mut Vec<u8>,
    mut hand_on: impl FnMut(&mut Vec<u8>) -> bool,
) -> anyhow::Result<()> {
    loop {
        let is_due = buffer.len() >= BATCH_BYTES || (!buffer.is_empty() && input.idle()?);
        if is_due && !hand_on(buffer) {
            return Ok(());
        }
        match input.next()? {
            None => return Ok(()),
            Some(Item::Start) => frame::put_magic(buffer),
            Some(Item::Frame(frame)) => buffer.extend_from_slice(frame.bytes()),
        }
    }
}
