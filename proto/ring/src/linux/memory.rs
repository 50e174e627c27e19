//! The memory of a ring: made and reserved by the writer, checked by the reader before it maps it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::{SysconfVar, ftruncate, sysconf};

use crate::{CAPACITY_BYTES_MAX, Error, Fault};

/// Sizes that both sides agree on, each checked for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes in front of the data: one page.
    pub(super) header_bytes: usize,
    /// Bytes of data.
    pub(super) capacity: usize,
}

impl Sizes {
    /// The sizes of a ring of that capacity.
    pub(super) fn of(capacity: u64) -> Result<Self, Error> {
        let page = page_bytes()?;
        match usize::try_from(capacity) {
            Ok(capacity)
                if capacity.is_power_of_two()
                    && (page..=CAPACITY_BYTES_MAX).contains(&capacity) =>
            {
                Ok(Self { header_bytes: page, capacity })
            }
            _ => Err(Error::Capacity {
                bytes: capacity,
                bytes_min: page as u64,
                bytes_max: CAPACITY_BYTES_MAX as u64,
            }),
        }
    }

    /// Size of the whole memory.
    pub(super) fn bytes(self) -> usize {
        self.header_bytes + self.capacity
    }
}

fn page_bytes() -> Result<usize, Error> {
    let page = sysconf(SysconfVar::PAGE_SIZE)
        .map_err(|errno| Error::System { call: "sysconf", source: errno.into() })?;
    page.and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| bytes.is_power_of_two())
        .ok_or(Error::System {
            call: "sysconf",
            source: io::Error::from(io::ErrorKind::Unsupported),
        })
}

/// The seals without which mapping somebody else's memory is a SIGBUS to come, and the one that
/// keeps them in place.
fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

/// Makes the memory with every page in place, so that a machine without room for it says so here
/// and not by a signal in mid-stream.
pub(super) fn create(name: &str, sizes: Sizes) -> Result<OwnedFd, Error> {
    let bytes = sizes.bytes();
    let failed = |errno: Errno| Error::NoMemory { bytes: bytes as u64, source: errno.into() };
    let length = i64::try_from(bytes).map_err(|_| failed(Errno::EFBIG))?;

    // Over this limit the kernel would send SIGXFSZ, which kills.
    let (file_bytes_max, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(failed)?;
    if bytes as u64 > file_bytes_max {
        return Err(failed(Errno::EFBIG));
    }
    let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
    let memory = memfd_create(format!("sovereign-ring-{name}").as_str(), flags).map_err(failed)?;
    ftruncate(&memory, length).map_err(failed)?;
    loop {
        match fallocate(&memory, FallocateFlags::empty(), 0, length) {
            Err(Errno::EINTR) => {}
            done => break done.map_err(failed)?,
        }
    }
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals())).map_err(failed)?;
    Ok(memory)
}

/// Checks what a writer handed over.
pub(super) fn check(memory: BorrowedFd<'_>, sizes: Sizes) -> Result<(), Fault> {
    // Anything but a memfd does not know of seals at all.
    let found = fcntl(memory, FcntlArg::F_GET_SEALS).map_err(|_| Fault::NotSealed)?;
    if !SealFlag::from_bits_retain(found).contains(seals()) {
        return Err(Fault::NotSealed);
    }
    let stat = fstat(memory.as_fd()).map_err(|_| Fault::Size)?;
    if u64::try_from(stat.st_size) != Ok(sizes.bytes() as u64) {
        return Err(Fault::Size);
    }
    // Blocks of 512 bytes, whatever the file system says its own are.
    if u64::try_from(stat.st_blocks).is_ok_and(|blocks| blocks * 512 >= sizes.bytes() as u64) {
        Ok(())
    } else {
        Err(Fault::NotReserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsealed(bytes: i64) -> OwnedFd {
        let memory = memfd_create("hostile", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        ftruncate(&memory, bytes).unwrap();
        memory
    }

    #[test]
    fn a_capacity_that_cannot_be_mapped_twice_is_refused() {
        let page = page_bytes().unwrap() as u64;
        assert_eq!(Sizes::of(page * 4).unwrap().capacity as u64, page * 4);
        for bad in [0, 1, page / 2, page * 3, page + 1, CAPACITY_BYTES_MAX as u64 * 2, u64::MAX] {
            assert!(matches!(Sizes::of(bad), Err(Error::Capacity { .. })), "{bad}");
        }
    }

    #[test]
    fn what_is_made_passes_the_check_and_cannot_be_resized() {
        let sizes = Sizes::of(1 << 16).unwrap();
        let memory = create("a", sizes).unwrap();
        assert_eq!(check(memory.as_fd(), sizes), Ok(()));
        assert_eq!(ftruncate(&memory, 0), Err(Errno::EPERM));
        assert_eq!(ftruncate(&memory, 1 << 20), Err(Errno::EPERM));
    }

    #[test]
    fn memory_without_seals_of_another_size_or_with_holes_is_refused() {
        let sizes = Sizes::of(1 << 16).unwrap();
        let length = sizes.bytes() as i64;
        let seal = |memory: &OwnedFd, flags| fcntl(memory, FcntlArg::F_ADD_SEALS(flags)).unwrap();
        let filled = |bytes| {
            let memory = unsealed(bytes);
            fallocate(&memory, FallocateFlags::empty(), 0, bytes).unwrap();
            memory
        };

        assert_eq!(check(filled(length).as_fd(), sizes), Err(Fault::NotSealed));
        let only_grow = filled(length);
        seal(&only_grow, SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL);
        assert_eq!(check(only_grow.as_fd(), sizes), Err(Fault::NotSealed));
        let file = tempfile::tempfile().unwrap();
        assert_eq!(check(file.as_fd(), sizes), Err(Fault::NotSealed));
        for wrong in [0, length - 1, length + 1] {
            let short = unsealed(wrong);
            seal(&short, seals());
            assert_eq!(check(short.as_fd(), sizes), Err(Fault::Size));
        }
        let sparse = unsealed(length);
        seal(&sparse, seals());
        assert_eq!(check(sparse.as_fd(), sizes), Err(Fault::NotReserved));
    }
}
