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
    least: Option<u64>,
    looked: Option<Instant>,
}

impl Room {
    pub(crate) fn new(dir: &Path, least: Option<Bytes>) -> Room {
        Room { dir: dir.to_owned(), least: least.map(|Bytes(bytes)| bytes), looked: None }
    }

    /// Fails if there is less room than there has to be.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        let Some(least) = self.least else { return Ok(()) };
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let disk = statvfs(&self.dir)?;
        #[allow(clippy::useless_conversion, reason = "other systems count blocks in 32 bits")]
        let free = u64::from(disk.fragment_size()) * u64::from(disk.blocks_available());
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
