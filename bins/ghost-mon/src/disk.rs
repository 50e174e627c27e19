//! Where an archive grows: how much room there is, and how long it lasts.

use std::path::Path;

use stats::Snapshot;

/// The tool that fills disks, and what it says of that.
const PACKER: &str = "archive-pack";
const STORED_BYTES: &str = "stored-bytes";
const RAW_BYTES: &str = "raw-bytes";

const DAY_S: f64 = 86_400.0;

/// An archive that is written to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Disk {
    /// Its folder.
    pub(crate) path: String,
    /// Room that its writer may use, and room in all.
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
    /// Bytes of the events stored in this run, and what they take.
    pub(crate) raw_bytes: u64,
    pub(crate) stored_bytes: u64,
    /// At the pace of this run.
    pub(crate) bytes_per_day: f64,
}

impl Disk {
    /// The archive of the tool of this page, if it writes one that can be seen from here.
    pub(crate) fn of(page: &Snapshot) -> Option<Self> {
        let path = page.outputs.first().filter(|_| page.tool == PACKER)?;
        let room = rustix::fs::statvfs(Path::new(path)).ok()?;
        let named = |name: &str| {
            page.named.iter().find(|named| named.name == name).map_or(0, |named| named.value)
        };
        let stored_bytes = named(STORED_BYTES);
        let seconds = page.taken_ns.saturating_sub(page.start_ns) as f64 / 1e9;
        Some(Self {
            path: path.clone(),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
            total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
            raw_bytes: named(RAW_BYTES),
            stored_bytes,
            bytes_per_day: stored_bytes as f64 / seconds.max(1.0) * DAY_S,
        })
    }

    /// How long the room lasts; infinite while nothing grows.
    pub(crate) fn days_until_full(&self) -> f64 {
        match self.bytes_per_day > 0.0 {
            true => self.free_bytes as f64 / self.bytes_per_day,
            false => f64::INFINITY,
        }
    }

    /// The share of the events' bytes that need not be stored, 0 to 1; `None` while a log that is
    /// not compressed yet takes more than its events.
    pub(crate) fn saved(&self) -> Option<f64> {
        let saves = self.stored_bytes < self.raw_bytes;
        saves.then(|| 1.0 - self.stored_bytes as f64 / self.raw_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free_bytes: u64, raw_bytes: u64, stored_bytes: u64) -> Disk {
        let bytes_per_day = stored_bytes as f64;
        Disk {
            path: "/".into(),
            free_bytes,
            total_bytes: 0,
            raw_bytes,
            stored_bytes,
            bytes_per_day,
        }
    }

    #[test]
    fn room_lasts_as_long_as_the_pace_says() {
        assert_eq!(disk(50, 20, 5).days_until_full(), 10.0);
        assert_eq!(disk(50, 20, 0).days_until_full(), f64::INFINITY);
        assert_eq!(disk(50, 20, 5).saved(), Some(0.75));
        assert_eq!(disk(50, 20, 25).saved(), None);
    }

    #[test]
    fn only_a_packer_has_an_archive() {
        let outputs = vec!["/".to_owned()];
        let page =
            Snapshot { tool: PACKER.into(), outputs: outputs.clone(), ..Snapshot::default() };
        assert!(Disk::of(&page).unwrap().total_bytes > 0);
        let page = Snapshot { tool: "dedupe".into(), outputs, ..Snapshot::default() };
        assert_eq!(Disk::of(&page), None);
    }
}
