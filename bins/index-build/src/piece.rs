//! The lines of all files, read and unpacked on a thread of its own, in pieces.
//!
//! Unpacking costs about as much as reading what was unpacked, so each has a core.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use memchr::{memchr, memrchr};

use crate::source::{Packed, Source};

/// Longest line that is read. Operations have at most 4,000 bytes since 2023 and had some tens of
/// thousands before.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// About so much is handed on at once.
const PIECE_BYTES: usize = 1 << 20;

/// So many pieces may wait.
const WAITING_MAX: usize = 4;

/// What was read next.
pub(crate) enum Piece {
    /// The file of that number begins.
    File(usize),
    /// Whole lines with their ends; the last of a file may lack its own.
    Lines(Vec<u8>),
    /// A line that is too long was passed over.
    TooLong,
    /// The file broke off in the middle of its packing; what came before is good.
    Torn,
    /// The file cannot be read.
    Failed(anyhow::Error),
}

/// The pieces of all files, in their order.
pub(crate) struct Pieces {
    pieces: Receiver<Piece>,
    spare: std::sync::mpsc::Sender<Vec<u8>>,
}

impl Pieces {
    /// Begins to read. The thread ends with what it reads, or when nobody takes what it has read.
    /// Pieces are handed on when they are large, or, if `at_once`, before each wait for more.
    pub(crate) fn read(files: Arc<Vec<Source>>, at_once: bool) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(WAITING_MAX);
        let (spare, spares) = channel();
        let mut reader = Reader { pieces: sender, spares, piece: Vec::new(), at_once };
        thread::Builder::new().name("read".into()).spawn(move || {
            for (number, file) in files.iter().enumerate() {
                if reader.file(number, file).is_none() {
                    break;
                }
            }
        })?;
        Ok(Self { pieces, spare })
    }

    /// The next piece, if it comes within that time.
    pub(crate) fn next_within(&self, time: Duration) -> Result<Piece, RecvTimeoutError> {
        self.pieces.recv_timeout(time)
    }

    /// The next piece, if it is at hand.
    pub(crate) fn at_hand(&self) -> Option<Piece> {
        self.pieces.try_recv().ok()
    }

    /// Gives the memory of a piece back.
    pub(crate) fn done(&self, lines: Vec<u8>) {
        // If all has been read nobody needs it.
        let _ = self.spare.send(lines);
    }
}

impl Iterator for &Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        self.pieces.recv().ok()
    }
}

struct Reader {
    pieces: SyncSender<Piece>,
    spares: Receiver<Vec<u8>>,
    /// Read and not handed on.
    piece: Vec<u8>,
    /// Nothing that is whole waits for more to come.
    at_once: bool,
}

impl Reader {
    /// Reads a file to its end; none when nobody wants more.
    fn file(&mut self, number: usize, file: &Source) -> Option<()> {
        self.send(Piece::File(number))?;
        match file.open() {
            Ok(mut packed) => self.lines(&mut packed, file),
            Err(error) => self.send(Piece::Failed(error)),
        }
    }

    fn lines(&mut self, packed: &mut Packed, file: &Source) -> Option<()> {
        // In a line that is too long.
        let mut passing = false;
        loop {
            let buffer = match packed.fill() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.cut()?;
                    // What was begun is no line.
                    self.piece.clear();
                    let torn = error.kind() == io::ErrorKind::UnexpectedEof;
                    let failed = || Piece::Failed(damaged(error, file));
                    return self.send(if torn { Piece::Torn } else { failed() });
                }
            };
            if buffer.is_empty() {
                if passing {
                    self.send(Piece::TooLong)?;
                }
                return self.hand_on(self.piece.len());
            }
            let part = buffer.get(..PIECE_BYTES).unwrap_or(buffer);
            let mut used = part.len();
            if passing {
                used = memchr(b'\n', part).map_or(used, |end| end + 1);
                passing = part.get(used - 1) != Some(&b'\n');
                if !passing {
                    self.send(Piece::TooLong)?;
                }
            } else {
                self.piece.extend_from_slice(part);
            }
            packed.consume(used);
            if self.piece.len() >= PIECE_BYTES || self.at_once {
                self.cut()?;
                if self.piece.len() > LINE_BYTES_MAX {
                    self.piece.clear();
                    passing = true;
                }
            }
        }
    }

    /// Hands all whole lines on.
    fn cut(&mut self) -> Option<()> {
        self.hand_on(memrchr(b'\n', &self.piece).map_or(0, |end| end + 1))
    }

    /// Hands the first so many bytes on.
    fn hand_on(&mut self, bytes: usize) -> Option<()> {
        if bytes == 0 {
            return Some(());
        }
        let mut rest = self.spares.try_recv().unwrap_or_default();
        rest.clear();
        rest.extend_from_slice(self.piece.get(bytes..).unwrap_or_default());
        self.piece.truncate(bytes);
        let lines = std::mem::replace(&mut self.piece, rest);
        self.send(Piece::Lines(lines))
    }

    fn send(&self, piece: Piece) -> Option<()> {
        self.pieces.send(piece).ok()
    }
}

/// What to do about a file that cannot be unpacked.
fn damaged(error: io::Error, file: &Source) -> anyhow::Error {
    let name = file.name();
    let error = Err::<(), _>(error);
    let error = if name.ends_with(".zst") {
        error.context("it is damaged; plc-fetch cuts a damaged end off its last file")
    } else {
        error.context("cannot be read")
    };
    error.err().unwrap_or_else(|| anyhow::anyhow!("cannot be read"))
}
