//! Who is the writer, and who the reader, of a ring: a locked file that holds a pid.
//!
//! The lock is `flock` on a descriptor, so it ends with the process, however that ends; a file
//! that is left over holds nobody up. The pid in it is for messages alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Place;
use crate::{Error, Side};

/// Holder of one side of a ring; gives it up when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the side, or says who has it.
    pub(super) fn take(place: &Place, side: Side) -> Result<Self, Error> {
        let path = place.lock(side);
        let at = |source: io::Error| Error::Path { path: path.clone(), source };
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(nix::libc::O_NOFOLLOW)
                .open(&path)
                .map_err(at)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid = holder(&path);
                    let tool = pid.and_then(tool);
                    return Err(Error::Busy { name: place.name.clone(), side, pid, tool });
                }
                Err(TryLockError::Error(source)) => return Err(at(source)),
            }
            // The last holder may have removed the file between the opening and the locking: a
            // lock on a file without a name keeps nobody out.
            let locked = file.metadata().map_err(at)?;
            match path.symlink_metadata() {
                Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => {
                    file.set_len(0).map_err(at)?;
                    writeln!(file, "{}", std::process::id()).map_err(at)?;
                    return Ok(Self { _file: file, path });
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
                _ => {}
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked, so that the name cannot be somebody else's. A file that stays
        // does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The pid in a file that somebody has locked. A holder writes it just after locking: until then
/// the file is empty, or names a process that is gone.
fn holder(path: &Path) -> Option<u32> {
    for _ in 0..20 {
        if let Some(pid) = read_pid(path).filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// What that process is called, as the system has it.
fn tool(pid: u32) -> Option<Box<str>> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().into())
}

fn read_pid(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(16).read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    #[test]
    fn a_side_is_held_once_and_free_again_with_no_file_left() {
        let directory = tempfile::tempdir().unwrap();
        let rings = directory.path().join("rings");
        let place = Address::new("a").unwrap().within(&rings).place().unwrap();
        let held = Lock::take(&place, Side::Writer).unwrap();
        let reader = Lock::take(&place, Side::Reader).unwrap();
        let second = Lock::take(&place, Side::Writer);
        let ours = Some(std::process::id());
        assert!(
            matches!(&second, Err(Error::Busy { side: Side::Writer, pid, .. }) if *pid == ours),
            "{second:?}"
        );
        drop((held, reader));
        assert_eq!(rings.read_dir().unwrap().count(), 0);
        Lock::take(&place, Side::Writer).unwrap();
    }

    #[test]
    fn a_file_left_by_a_dead_process_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let rings = directory.path().join("rings");
        let place = Address::new("a").unwrap().within(&rings).place().unwrap();
        std::fs::write(place.lock(Side::Reader), "1\n and more").unwrap();
        let _held = Lock::take(&place, Side::Reader).unwrap();
        let text = std::fs::read_to_string(place.lock(Side::Reader)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }
}
