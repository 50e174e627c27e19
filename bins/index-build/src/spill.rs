//! Operations by the hash of their DID, in bounded memory.
//!
//! The lines of an account lie years apart, so all are read before the first account is worked
//! out. They are kept in 1024 buckets by the first bits of the hash, which is the order in which
//! the index is written: what belongs together is sorted together, a bucket at a time. When memory
//! is full all buckets are written behind each other, as a run, into a file that has no name: it
//! is gone when this process is, however that ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How many buckets there are.
pub(crate) const BUCKETS: usize = 1 << BUCKET_BITS;

const BUCKET_BITS: u32 = 10;

/// The least hash that is in no bucket up to this one.
pub(crate) fn hash_behind(bucket: usize) -> u64 {
    (bucket as u64 + 1).saturating_mul(1 << (u64::BITS - BUCKET_BITS))
}

/// What a bucket begins with.
const BUCKET_BYTES_MIN: usize = 1 << 10;

/// Written at once.
const WRITE_BYTES: usize = 1 << 20;

/// All that was read.
pub(crate) struct Spill {
    folder: PathBuf,
    buckets: Vec<Vec<u8>>,
    /// What the buckets take, and may take.
    taken: usize,
    limit: usize,
    file: Option<File>,
    written: u64,
    /// Where in the file the buckets of a run end; the first begins where the run before it ends.
    runs: Vec<Vec<u64>>,
}

impl Spill {
    /// Keeps up to `limit` bytes (and no less than a MiB, and up to a MiB more) in memory and the
    /// rest in `folder`.
    pub(crate) fn new(folder: &Path, limit: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            taken: 0,
            limit: limit.max(BUCKETS * BUCKET_BYTES_MIN),
            file: None,
            written: 0,
            runs: Vec::new(),
        }
    }

    /// Lets `write` append at most `bytes` bytes to the bucket of a hash.
    pub(crate) fn push(
        &mut self,
        hash: u64,
        bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let number = (hash >> (u64::BITS - BUCKET_BITS)) as usize;
        let lacks_room = |bucket: &Vec<u8>| bucket.capacity() - bucket.len() < bytes;
        let grown = |bucket: &Vec<u8>| bucket.capacity().max(BUCKET_BYTES_MIN).max(bytes);
        let Some(bucket) = self.buckets.get(number) else { return Ok(()) };
        if lacks_room(bucket) && self.taken + grown(bucket) > self.limit {
            self.write_run()?;
        }
        let Some(bucket) = self.buckets.get_mut(number) else { return Ok(()) };
        if lacks_room(bucket) {
            let before = bucket.capacity();
            bucket.reserve_exact(grown(bucket));
            self.taken += bucket.capacity() - before;
        }
        write(bucket);
        Ok(())
    }

    /// Everything has come: if some of it is on the disk, so is then the rest, and memory is free
    /// for what follows.
    pub(crate) fn complete(&mut self) -> anyhow::Result<()> {
        if self.file.is_some() {
            self.write_run()?;
            self.buckets.fill_with(Vec::new);
            self.taken = 0;
        }
        Ok(())
    }

    /// Reads all of a bucket into `bytes`, in the order in which it came.
    pub(crate) fn read(&self, bucket: usize, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
        bytes.clear();
        let mut run_begin = 0;
        for ends in &self.runs {
            let before = bucket.checked_sub(1).and_then(|before| ends.get(before));
            let from = before.copied().unwrap_or(run_begin);
            let to = ends.get(bucket).copied().unwrap_or(from);
            run_begin = ends.last().copied().unwrap_or(run_begin);
            let at = bytes.len();
            bytes.resize(at + (to - from) as usize, 0);
            if let (Some(file), Some(place)) = (&self.file, bytes.get_mut(at..)) {
                file.read_exact_at(place, from).with_context(|| self.context("read"))?;
            }
        }
        bytes.extend_from_slice(self.buckets.get(bucket).map_or(&[], |held| held));
        Ok(())
    }

    /// Bytes that went to the disk.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn write_run(&mut self) -> anyhow::Result<()> {
        self.try_write_run().with_context(|| self.context("write"))
    }

    fn try_write_run(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder)?,
        };
        let file = self.file.insert(file);
        let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut ends = Vec::with_capacity(BUCKETS);
        for bucket in &mut self.buckets {
            out.write_all(bucket)?;
            self.written += bucket.len() as u64;
            ends.push(self.written);
            bucket.clear();
        }
        out.flush()?;
        self.runs.push(ends);
        Ok(())
    }

    fn context(&self, doing: &str) -> String {
        format!(
            "cannot {doing} operations for which there is no memory in {}; --temp names another \
             folder, --memory gives more memory",
            self.folder.display()
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_bucket_comes_back_in_order_however_often_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for limit in [0, 2_000_000, usize::MAX] {
            let mut spill = Spill::new(folder.path(), limit);
            let mut expected = vec![Vec::new(); BUCKETS];
            for number in 0..600_000u64 {
                let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let bytes = &number.to_le_bytes()[..1 + number as usize % 8];
                spill.push(hash, bytes.len(), |out| out.extend_from_slice(bytes)).unwrap();
                expected[(hash >> 54) as usize].extend_from_slice(bytes);
                assert!(spill.taken <= limit.max(1 << 20).saturating_add(1 << 20));
            }
            assert_eq!(spill.file.is_some(), limit < usize::MAX);
            for complete in [false, true] {
                if complete {
                    spill.complete().unwrap();
                }
                let mut bytes = Vec::new();
                for (bucket, expected) in expected.iter().enumerate() {
                    spill.read(bucket, &mut bytes).unwrap();
                    assert_eq!(&bytes, expected);
                }
            }
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing has a name");
    }
}
