//! Time that look-ups take.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Nanoseconds each of so many look-ups takes.
pub fn each(count: usize, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as f64 / count as f64
}

/// The figure of many short rounds that a quarter of them stays below: other work on the machine
/// takes the processor away from some and only ever adds to them.
pub fn quarter(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 4).copied().unwrap_or(f64::NAN)
}

/// Bytes that a file or the files of a folder take on the disk.
pub fn bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    walk(path, &mut |file| {
        sum += file.metadata()?.blocks() * 512;
        Ok(())
    })?;
    Ok(sum)
}

/// Has the system forget what it holds in memory of a file or of the files of a folder, none of
/// which may be mapped.
pub fn forget(path: &Path) -> io::Result<()> {
    walk(path, &mut |file| {
        file.sync_all()?;
        Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    })
}

fn walk(path: &Path, visit: &mut dyn FnMut(&File) -> io::Result<()>) -> io::Result<()> {
    if !path.is_dir() {
        return visit(&File::open(path)?);
    }
    for entry in path.read_dir()? {
        let entry = entry?;
        // LMDB's lock file is none of its data.
        if entry.file_name().as_bytes() != b"lock.mdb" {
            walk(&entry.path(), visit)?;
        }
    }
    Ok(())
}

/// User and system seconds of all children that have ended.
pub fn children_seconds() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage.map_or(0.0, |usage| {
        (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
    })
}
