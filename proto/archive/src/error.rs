//! What can go wrong with an archive.

use std::io;
use std::path::{Path, PathBuf};

/// Whatever stopped the room. Paths are those of the files, offsets count from their beginning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as an infinitive.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no room left for what was to be written.
    #[error("{}: no room left ({source}): what is stored stays valid; make room and start the chain again with --resume", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The device did not confirm what was written. What it holds is not known after that, so
    /// nothing more is written.
    #[error("{}: fsync failed ({source}): nothing more is written; check the device, then start the chain again with --resume", path.display())]
    Sync {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is missing or holds no archive.
    #[error("{}: there is no archive here (archive-pack --out makes one)", path.display())]
    NoArchive {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes this archive.
    #[error("{}: process {pid} writes this archive; one writer at a time", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who holds the lock, as it said itself.
        pid: Holder,
    },
    /// A writer has been repairing the archive for longer than a reader waits.
    #[error("{}: a writer has been repairing this archive for {seconds} s", path.display())]
    Repairing {
        /// The folder.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The archive is of a version that this tool does not know.
    #[error("{}: archive version {found}, this tool knows up to {known}: a newer tool made it", path.display())]
    Version {
        /// The manifest or file.
        path: PathBuf,
        /// The version there.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// A file does not hold what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A frame speaks of a host that no `host` frame named.
    #[error("a frame speaks of host {host}, which no host frame has named: the stream is damaged")]
    UnknownHost {
        /// Its id in the stream.
        host: u32,
    },
    /// The stream names more hosts than anything sane.
    #[error("more than {limit} hosts are named")]
    TooManyHosts {
        /// The limit.
        limit: usize,
    },
    /// A frame that does not have its form.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// All event numbers of a log or all numbers of logs are used up.
    #[error("{}: its numbers are used up", path.display())]
    Numbers {
        /// The folder or log.
        path: PathBuf,
    },
    /// A sealed segment did not give back what the log holds; the log was kept.
    #[error("{}: event {n} does not come back from the segment as the log has it; the log is kept", path.display())]
    SealMismatch {
        /// The unfinished segment.
        path: PathBuf,
        /// The first event that differs.
        n: u64,
    },
    /// The sealing thread could not be started or died.
    #[error("{}: the sealing thread failed", path.display())]
    Sealer {
        /// The log that it was given.
        path: PathBuf,
    },
    /// The writer was used again after an error that ended it.
    #[error("the archive's writer has stopped after an earlier error")]
    Stopped,
}

impl Error {
    /// Wraps what a system call said about `path`; a full disk has a variant of its own.
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Error::Full { path, source },
            _ => Error::Io { path, action, source },
        }
    }

    /// Whether a file was not there, which a reader may meet while a writer tidies up.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Who holds the writer's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "{pid}"),
            None => f.write_str("(pid not known)"),
        }
    }
}

/// A place that does not hold what was written there, and the events that went with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub cause: Cause,
    /// The numbers of the events that are lost by it, as far as they are known.
    pub lost: Numbers,
}

impl Damage {
    pub(crate) fn at(path: &Path, offset: u64, cause: Cause) -> Damage {
        Damage { path: path.to_owned(), offset, cause, lost: Numbers::default() }
    }
}

impl std::error::Error for Damage {}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: offset {}: {}", self.path.display(), self.offset, self.cause)?;
        match self.lost.count() {
            0 => Ok(()),
            1 => write!(f, ": event {} lost", self.lost),
            _ => write!(f, ": events {} lost", self.lost),
        }
    }
}

/// Event numbers, ascending, as ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    ranges: Vec<std::ops::Range<u64>>,
}

impl Numbers {
    /// Adds numbers behind those that are there.
    pub(crate) fn push(&mut self, numbers: std::ops::Range<u64>) {
        match self.ranges.last_mut() {
            _ if numbers.is_empty() => {}
            Some(last) if last.end == numbers.start => last.end = numbers.end,
            _ => self.ranges.push(numbers),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[std::ops::Range<u64>] {
        &self.ranges
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, range) in self.ranges.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            match range.end - range.start {
                1 => write!(f, "{}", range.start)?,
                _ => write!(f, "{}-{}", range.start, range.end - 1)?,
            }
        }
        Ok(())
    }
}

/// What is wrong with a place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It begins with something else than such a file does.
    Magic,
    /// It ends too early.
    Truncated,
    /// A checksum does not hold.
    Checksum,
    /// A length is over its limit.
    TooLong,
    /// Compressed bytes do not come apart.
    Zstd,
    /// A block was encoded by a codec that is not known.
    Codec(u8),
    /// The fields contradict each other; what they belong to.
    Form(&'static str),
    /// A part that must be there is not; its name.
    NoPart(&'static str),
    /// A batch behind which later ones are durable is not whole.
    Batch,
    /// The log that was sealed here was damaged there.
    Sealed,
    /// A segment or log is missing between two others.
    Gone,
    /// What is derived of this event is in no file.
    NoLeaves(u64),
    /// It is no longer kept, and the one that takes its place is not there yet.
    Ended,
    /// Bits of it are not what the events say.
    Bits {
        /// How many.
        count: u64,
        /// The event whose record the first of them is for.
        event: u64,
    },
    /// Words of accounts are not what the events say.
    Words {
        /// How many.
        count: u64,
    },
    /// Events that can't be read have deleted records, and nothing else says which any more.
    Deletions {
        /// The first event whose records may be among them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// It could be written anew only if a later segment of its group were not damaged.
    Needed,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Magic => f.write_str("not a file of this kind"),
            Cause::Truncated => f.write_str("the file is cut short"),
            Cause::Checksum => f.write_str("the checksum does not hold"),
            Cause::TooLong => f.write_str("a length is over its limit"),
            Cause::Zstd => f.write_str("the compressed bytes do not come apart"),
            Cause::Codec(codec) => write!(f, "codec {codec} is not known: a newer tool made it"),
            Cause::Form(what) => write!(f, "the {what} contradicts itself"),
            Cause::NoPart(part) => write!(f, "the {part} is missing"),
            Cause::Batch => f.write_str("a batch is damaged"),
            Cause::Sealed => f.write_str("the log was damaged when it was sealed"),
            Cause::Gone => f.write_str("the file is missing"),
            Cause::NoLeaves(n) => write!(f, "no file of leaves has event {n}"),
            Cause::Ended => f.write_str("it did not hold and is made again by the next writer"),
            Cause::Bits { count, event } => {
                let whose = "of records do not say what the events say";
                write!(f, "{count} bits {whose}; the first is of event {event}")
            }
            Cause::Words { count } => {
                write!(f, "{count} words of accounts do not say what the events say")
            }
            Cause::Deletions { first, last } => {
                let lost = "what events deleted that can't be read any more is not known";
                write!(f, "{lost}: records of events {first}-{last} may show again")
            }
            Cause::Needed => f.write_str("a damaged segment of its group is written against it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_names_file_offset_cause_and_events() {
        let mut damage = Damage::at(Path::new("a/seg-00000001.seg"), 160, Cause::Checksum);
        assert_eq!(
            damage.to_string(),
            "a/seg-00000001.seg: offset 160: the checksum does not hold"
        );
        damage.lost.push(3..4);
        damage.lost.push(7..9);
        damage.lost.push(9..10);
        damage.lost.push(12..13);
        assert_eq!(damage.lost.count(), 5);
        assert!(damage.to_string().ends_with("hold: events 3, 7-9, 12 lost"), "{damage}");
    }
}
