//! Whether the disk has room left: to stop in time is better than to stop at a full disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cli::units::{Bytes, show_bytes};
use nix::sys::statvfs::statvfs;

/// How often it is looked at. A log that grows faster than its reserve in this time meets the end
/// of the disk, which stops it as well.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Room {
    dir: PathBuf,
    least: Least,
    looked: Option<Instant>,
}

/// How much room has to be left.
enum Least {
    Bytes(u64),
    /// So much, so that a segment can be written while its log is there, now and by a compactor;
    /// but no more than this share of a small disk.
    Reserve(u64),
}

/// See [`Least::Reserve`]: an eighth.
const SHARE_MAX: u64 = 8;

impl Room {
    pub(crate) fn new(dir: &Path, least: Option<Bytes>, segment_bytes: u64) -> Room {
        let reserve = Least::Reserve(2 * segment_bytes);
        let least = least.map_or(reserve, |Bytes(bytes)| Least::Bytes(bytes));
        Room { dir: dir.to_owned(), least, looked: None }
    }

    /// Fails if there is less room than there has to be.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let disk = statvfs(&self.dir)?;
        #[allow(clippy::useless_conversion, reason = "other systems count blocks in 32 bits")]
        let [free, all] = [disk.blocks_available(), disk.blocks()]
            .map(|blocks| u64::from(disk.fragment_size()) * u64::from(blocks));
        let least = match self.least {
            Least::Bytes(bytes) => bytes,
            Least::Reserve(bytes) => bytes.min(all / SHARE_MAX),
        };
        anyhow::ensure!(
            free >= least,
            "{}: the disk has {} left, less than --min-free {}: stopped, with everything that came \
             before stored; make room and start the chain again with --resume",
            self.dir.display(),
            show_bytes(free),
            show_bytes(least)
        );
        Ok(())
    }
}
