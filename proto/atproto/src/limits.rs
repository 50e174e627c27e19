//! The limits of the network, one place for all tools.
//!
//! Parsing does not enforce them: a proof names each by its own rule, so each
//! is a check of its own in [`crate::event::Commit::limit`] and
//! [`crate::event::Sync::limit`].

/// Bytes of an event as it comes off the socket.
pub const EVENT_BYTES_MAX: usize = 5_000_000;
/// Bytes of the `blocks` of a commit.
pub const BLOCKS_BYTES_MAX: usize = 2_000_000;
/// Bytes of the `blocks` of a `#sync`.
pub const SYNC_BLOCKS_BYTES_MAX: usize = 10_000;
/// Bytes of one record.
pub const RECORD_BYTES_MAX: usize = 1_000_000;
/// Operations in one commit.
pub const OPS_MAX: usize = 200;

/// A limit of the network, gone over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`EVENT_BYTES_MAX`].
    #[error("event of {0} bytes is over {EVENT_BYTES_MAX}")]
    EventBytes(usize),
    /// [`BLOCKS_BYTES_MAX`].
    #[error("blocks of {0} bytes are over {BLOCKS_BYTES_MAX}")]
    BlocksBytes(usize),
    /// [`SYNC_BLOCKS_BYTES_MAX`].
    #[error("blocks of {0} bytes in a #sync are over {SYNC_BLOCKS_BYTES_MAX}")]
    SyncBlocksBytes(usize),
    /// [`RECORD_BYTES_MAX`].
    #[error("record of {0} bytes is over {RECORD_BYTES_MAX}")]
    RecordBytes(usize),
    /// [`OPS_MAX`].
    #[error("{0} operations are over {OPS_MAX}")]
    Ops(usize),
}

/// Checks the size of an event as it came off the socket.
pub fn event(body: &[u8]) -> Result<(), Limit> {
    if body.len() > EVENT_BYTES_MAX { Err(Limit::EventBytes(body.len())) } else { Ok(()) }
}

/// Checks the size of a record.
pub fn record(data: &[u8]) -> Result<(), Limit> {
    if data.len() > RECORD_BYTES_MAX { Err(Limit::RecordBytes(data.len())) } else { Ok(()) }
}
