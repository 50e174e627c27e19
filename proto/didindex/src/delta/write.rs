//! Writing a delta: one process, one at a time.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use table::{LiveMut, Seed, live::PIECE_ALIGN};

use super::{
    ADDED, BUCKETS, CHECKSUM_AT, CURSOR_MS, CURSOR_OPERATIONS, FLAGS_AT, HOST_AT, PERIOD_BYTES,
    PERIODS_AT, ROTATED, SLOT_BYTES, SLOTS, SUPERSEDED, Slot, WHOLE, X_AT, bucket, note,
};
use crate::{
    Change, Cursor, Error, HOST_BYTES_MAX, PlcDid, beside,
    layout::{FROM_MS_MAX, put},
    packed::{Packed, status_bits},
};

/// How much a delta can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever makes a delta fills it in")]
pub struct Room {
    /// States of accounts.
    pub slots: u64,
    /// Bytes of host names and of the periods of accounts that had several keys.
    pub bytes: u64,
}

/// A delta in the hands of its writer.
///
/// It is made under a name of its own and readers find it when [`DeltaWriter::publish`] gives it
/// the name they know. Dropped before, it leaves no file.
#[derive(Debug)]
pub struct DeltaWriter {
    live: LiveMut,
    path: PathBuf,
    temporary: Option<PathBuf>,
    seed: Seed,
    buckets: u64,
    names: HashMap<Box<str>, u32>,
    slots: u64,
    added: u64,
    rotated: u64,
}

impl DeltaWriter {
    /// Begins a delta of the index at `index`, which has that id and hashes with that seed. The
    /// caller holds its lock.
    ///
    /// # Errors
    /// [`Error::Table`] and [`Error::Io`]; a full disk is one.
    pub fn create(index: &Path, id: u64, seed: Seed, room: Room) -> Result<Self, Error> {
        let path = beside::delta(index, id);
        let temporary = beside::temporary(&path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(beside::io_error("create", &temporary))?;
        let buckets = room.slots;
        let words = BUCKETS as u64 + buckets;
        let area = room.slots.saturating_mul(SLOT_BYTES as u64).saturating_add(room.bytes);
        let live = match LiveMut::create(&file, words, area, &note(id, seed)) {
            Ok(live) => live,
            Err(error) => {
                // A name without a file of any use.
                let _ = fs::remove_file(&temporary);
                return Err(match error {
                    table::Error::Map(source) => {
                        Error::Io { doing: "take room for", path: temporary, source }
                    }
                    error => error.into(),
                });
            }
        };
        Ok(Self {
            live,
            path,
            temporary: Some(temporary),
            seed,
            buckets,
            names: HashMap::new(),
            slots: 0,
            added: 0,
            rotated: 0,
        })
    }

    /// Gives it the name that readers know, in the place of the one that had it, which is told
    /// first that it is superseded.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&mut self) -> Result<(), Error> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        supersede(&self.path)?;
        fs::rename(&temporary, &self.path).map_err(beside::io_error("rename", &temporary))
    }

    /// Writes down what an account is: what its operations that count made of it, oldest first.
    /// `before` is what the index itself says of it: whether it is there, and whether it had more
    /// than one key. Says whether there was room.
    ///
    /// # Errors
    /// [`Error::NoOperation`], [`Error::HostName`].
    pub fn put(
        &mut self,
        did: &PlcDid,
        changes: &[Change<'_>],
        before: Option<bool>,
    ) -> Result<bool, Error> {
        let last = changes.last().ok_or(Error::NoOperation)?;
        let rotated = changes.iter().any(|change| change.key != last.key);
        let packed = Packed { status: last.status(), key: last.key.bytes(), rotated };
        let (Some(host), Some(periods)) =
            (self.name(last.pds)?, self.periods(if rotated { changes } else { &[] }))
        else {
            return Ok(false);
        };
        let (bucket, mark) = bucket(self.seed.hash(did.as_bytes()), self.buckets);
        let word = self.live.as_live().word(bucket);
        let older = Slot::at(self.live.as_live().area(), word as u32);
        let seen = super::slots(self.live.as_live().area(), word as u32)
            .find(|slot| slot.did_bytes() == did.as_bytes())
            .map(|slot| slot.packed().rotated);
        // A state that the new one replaces need not be passed again.
        let link = match older {
            Some(older) if older.did_bytes() == did.as_bytes() => older.before(),
            _ => word as u32,
        };
        let (x, flags) = packed.pack();
        let mut slot = [0; SLOT_BYTES];
        put(&mut slot, 0, did.as_bytes());
        put(&mut slot, FLAGS_AT, &[flags]);
        put(&mut slot, X_AT, &x);
        put(&mut slot, HOST_AT, &host.to_le_bytes());
        put(&mut slot, PERIODS_AT, &periods.to_le_bytes());
        put(&mut slot, super::BEFORE_AT, &link.to_le_bytes());
        let checksum = crc32c::crc32c(slot.get(..CHECKSUM_AT).unwrap_or_default());
        put(&mut slot, CHECKSUM_AT, &checksum.to_le_bytes());
        let Some(place) = self.append(&slot) else { return Ok(false) };
        // From here on readers see it.
        self.live.set(bucket, (word | mark) & (u64::MAX << 32) | u64::from(place));
        self.count(rotated, before, seen);
        Ok(true)
    }

    fn count(&mut self, rotated: bool, before: Option<bool>, seen: Option<bool>) {
        self.slots += 1;
        self.added += u64::from(before.is_none() && seen.is_none());
        let was = seen.or(before).unwrap_or(false);
        // Nullification takes keys away again, so this one may go below what the index says.
        self.rotated = self.rotated.wrapping_add(u64::from(rotated)).wrapping_sub(u64::from(was));
        self.live.set(SLOTS, self.slots);
        self.live.set(ADDED, self.added);
        self.live.set(ROTATED, self.rotated);
    }

    /// Says up to where the operations are read. Comes behind what they made of accounts.
    pub fn set_cursor(&mut self, cursor: Cursor) {
        self.live.set(CURSOR_OPERATIONS, cursor.operations);
        self.live.set(CURSOR_MS, cursor.created_ms);
    }

    /// States written.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// How much of its room is taken, from 0 to 1.
    #[must_use]
    pub fn load(&self) -> f64 {
        let bytes = self.live.as_live().area_bytes();
        if bytes == 0 { 1.0 } else { 1.0 - self.live.room() as f64 / bytes as f64 }
    }

    /// Tells readers that something else has taken its place.
    pub fn supersede(&mut self) {
        self.live.set(SUPERSEDED, 1);
    }

    /// Makes all of it durable, so that it is believed after the machine was off, too.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<(), Error> {
        self.live.sync().map_err(beside::io_error("sync", &self.path))?;
        self.live.set(WHOLE, 1);
        self.live.sync().map_err(beside::io_error("sync", &self.path))
    }

    fn name(&mut self, name: Option<&str>) -> Result<Option<u32>, Error> {
        let Some(name) = name else { return Ok(Some(0)) };
        if name.len() > HOST_BYTES_MAX {
            return Err(Error::HostName { bytes: name.len(), limit: HOST_BYTES_MAX });
        }
        if let Some(place) = self.names.get(name) {
            return Ok(Some(*place));
        }
        let mut piece = (name.len() as u16).to_le_bytes().to_vec();
        piece.extend_from_slice(name.as_bytes());
        let place = self.append(&piece);
        if let Some(place) = place {
            self.names.insert(name.into(), place);
        }
        Ok(place)
    }

    fn periods(&mut self, changes: &[Change<'_>]) -> Option<u32> {
        if changes.is_empty() {
            return Some(0);
        }
        let mut piece = Vec::with_capacity(4 + changes.len() * PERIOD_BYTES);
        piece.extend_from_slice(&[0; 4]);
        let (mut count, mut before) = (0u32, None);
        for change in changes {
            if before.replace(change.key) == Some(change.key) {
                continue;
            }
            count += 1;
            let [from_ms @ .., _, _] = change.from_ms.min(FROM_MS_MAX).to_le_bytes();
            piece.extend_from_slice(&from_ms);
            piece.push(status_bits(change.key.status()));
            piece.extend_from_slice(&change.key.bytes().unwrap_or([0; crate::KEY_BYTES]));
        }
        put(&mut piece, 0, &count.to_le_bytes());
        self.append(&piece)
    }

    fn append(&mut self, piece: &[u8]) -> Option<u32> {
        let at = self.live.append(piece)?;
        u32::try_from(at / PIECE_ALIGN).ok()?.checked_add(1)
    }
}

impl Drop for DeltaWriter {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What stays is cut away by the next writer.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Tells the readers of a delta whose writer is gone, if there is one, to look for another.
pub(crate) fn supersede(path: &Path) -> Result<(), Error> {
    let opened = File::options().read(true).write(true).open(path);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(beside::io_error("open", path))?,
    };
    match table::live::set_word(&file, SUPERSEDED, 1) {
        Err(table::Error::Map(source)) => {
            Err(Error::Io { doing: "map", path: path.to_owned(), source })
        }
        // Nobody reads what is none.
        _ => Ok(()),
    }
}
