//! The tombstone lattice: a bit for each leaf, set when the record that it put there is deleted or
//! replaced, and a word for each account, what was said of it last. Every reader in every process sees
//! both at once.
//!
//! Leaves and accounts have numbers (see [`crate::derived`]), and these are the places of bits and
//! words in files that all map. There is nothing to read when they are opened, nothing to look at
//! again, and no message between processes: the writer stores a word, and readers load it.
//!
//! ```text
//! DIR/lattice                 the head
//! DIR/gone-STAMP-FILE.map     bits of leaves, 2^32 of them a file (512 MiB), file 0, 1, ...
//! DIR/away-STAMP-FILE.map     words of accounts, 2^26 of them a file (512 MiB)
//! DIR/leaf-SEGMENT.open       the leaves of a log that is not sealed yet
//! ```
//!
//! | file   | word    | meaning                                                           |
//! |--------|---------|-------------------------------------------------------------------|
//! | `gone` | L / 64  | bit L % 64: the record of leaf L is gone                          |
//! | `away` | account | 0: nothing was said; else bits 0 to 7: what the last `#account` event said (the numbers of [`crate::Status`]), bits 8 to 63: that event's number |
//!
//! Words are u64, little-endian (see [`table::words`]). The files are as long as they were needed, hold
//! room on the disk for pages that have something in them, and are 0 elsewhere; where they end all is
//! 0, too.
//!
//! **Why each is there twice.** What the open log says may not last: after a loss of power its end is
//! not believed, and a bit that a lost deletion set would hide what is there. So the writer sets in
//! files of one stamp, the *base*, only what closed and durable logs say, and in those of another, the
//! *live* ones, at once what the open log says. A bit is set if it is set in either; of two words
//! the live one counts if it is not 0. When a log is closed, what it said goes to the base,
//! which is made durable before the log may go. A start begins live files anew, under a new stamp,
//! and sets in them what the recovered log says: nothing of a log that was lost is left. In the base
//! it clears what lies where the log's leaves and accounts begin and behind. A writer that ends with
//! nothing said in its log takes its live files away, and that of its leaves if there are none; no stamp is given again, since readers may still
//! have them mapped.
//!
//! Head, 72 bytes, words again:
//!
//! | word | name     | meaning                                                                 |
//! |-----:|----------|-------------------------------------------------------------------------|
//! |    0 | magic    | `SVRNlat1`; the last byte is the version                                |
//! |    1 | base     | stamp of the base's files                                               |
//! |    2 | crc32c   | of the 16 bytes before                                                  |
//! |    3 | ended    | not 0: this lattice is no longer kept; look for another under its name  |
//! |    4 | live     | stamp of the live files                                                 |
//! |    5 | segment  | number of the open log                                                  |
//! |    6 | leaves   | how many leaves there are, those of the open log with them              |
//! |    7 | settled  | how many leaves the base is for: so many bits its files have            |
//! |    8 | accounts | and how many accounts                                                   |
//!
//! Words from 3 on change under readers, each as a whole, so each has a check of its own: bits 0 to 47
//! are what it says, bits 48 to 63 both halves, XORed, of the CRC-32C of that (8 bytes) and the word's
//! number (1 byte). The writer stores `leaves` after the leaves are in their file and before it sets
//! bits for them.
//!
//! `leaf-SEGMENT.open` begins with 64 bytes and goes on with leaves as [`crate::derived::leaf`] has
//! them, 28 bytes each, without pages: of the open log as many as `leaves` says.
//!
//! | offset | size | field   | meaning                                                           |
//! |-------:|-----:|---------|-------------------------------------------------------------------|
//! |      0 |    8 | magic   | `SVRNopn1`; the last byte is the version                          |
//! |      8 |    4 | segment | the log's number                                                  |
//! |     12 |    4 | zero    |                                                                   |
//! |     16 |    8 | first   | number of its first leaf                                          |
//! |     24 |    8 | event   | number of its first event                                         |
//! |     32 |   28 | zero    |                                                                   |
//! |     60 |    4 | crc32c  | of bytes 0 to 60                                                  |
//!
//! **Which leaf is meant.** A proved `update` or `delete` looks for the last leaf of its path, checks
//! that it is of its own account, and sets that one's bit; were there others before, their bits are
//! set. The name of a path is made with the archive's key, which is nobody's to know, so no stranger
//! can have it hit what is somebody else's. A proved `repo` frame sets the bits of all records of its
//! account whose paths it lacks. What was not proved neither sets bits nor loses any.
//!
//! **What is checked.** Head and lengths are, at every start and by every reader. A bit that has
//! flipped on the disk cannot be seen by itself: `archive-check` holds all of them against the events.
//! The lattice is derived: one that is lost or damaged is made again from the segments, by the next
//! writer or by `archive-check --repair`. What events said that can't be read any more is taken over from the
//! one before, if that holds ([`held`]). Archives of older versions, which had a file `tombs` in its
//! place, or nothing, get it in the same way.
//!
//! Version changes: 1: as above.

mod array;
mod check;
mod files;
mod head;
pub(crate) mod held;
mod keep;
pub(crate) mod open;
mod paths;
mod read;

pub use check::differences;
pub(crate) use check::differences_of_good;
pub use read::{Fate, Lattice};

#[cfg(test)]
pub(crate) use check::held_paths;
pub(crate) use keep::{Keeper, Said};
pub(crate) use open::OpenFile;
pub(crate) use paths::PathsGone;

use crate::derived::account::Status;

/// Leaves of a word.
const WORD_LEAVES: u64 = 64;

/// What was said of an account last, and by which event.
pub(crate) fn word(status: Status, n: u64) -> u64 {
    n << 8 | status as u64
}

fn status_of(word: u64) -> Option<Status> {
    Status::read(word as u8)
}

fn event_of(word: u64) -> u64 {
    word >> 8
}
