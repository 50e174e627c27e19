//! What an archive knows of each account, as of its last mark: what comes behind that mark comes
//! again, and is to be judged as it was the first time.
//!
//! The answers lie in the files of accounts (see [`crate::derived`]), which are mapped and not read
//! through, and in the logs, which are. So it takes no longer to open a large archive than a small one.
//! Segments of which nothing is derived, as in an archive of an older version, are gone through; should
//! a file turn out to be damaged, so are all.

use std::collections::HashMap;
use std::path::Path;

use crate::derived::account::{Head, Pending, Record, Settled, Status};
use crate::derived::draft::{Before, Draft, Given, Known, SeeLeaf};
use crate::derived::leaf::Leaf;
use crate::derived::levels::{self, Files, Kind, Part};
use crate::derived::run::Run;
use crate::derived::{Name, kept, make, name};
use crate::folder::Folder;
use crate::image::LogImage;
use crate::lock::RepairLock;
use crate::manifest::Manifest;
use crate::marks::LOOKS_MAX;
use crate::segment::read::Segment;
use crate::{Error, Found, Query, Reader};

/// What is known of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Its last commit that was proved.
    pub head: Option<Head>,
    /// [`crate::host_key`] of the host that said last that it is not active.
    pub away: Option<u64>,
    /// What the last event on its status said, whoever sent it.
    pub status: Option<Status>,
}

/// The accounts of an archive.
#[derive(Debug)]
pub struct Heads {
    folder: Folder,
    key: [u8; 32],
    settled: Settled,
    /// The oldest first.
    layers: Vec<Layer>,
    scanned: u64,
}

#[derive(Debug)]
enum Layer {
    File {
        run: Run,
        pending: Pending,
    },
    /// What was gone through; only what marks cover.
    Memory(HashMap<Name, Vec<Record>>),
}

/// Opens what the archive in `dir` knows of accounts as of its last mark; `None` if there is no archive,
/// or none that has a mark. While a writer repairs, this waits for it.
///
/// # Errors
/// As [`crate::marks`] and [`Reader::open`].
pub fn heads(dir: &Path) -> Result<Option<Heads>, Error> {
    let Some(marks) = crate::marks(dir)? else { return Ok(None) };
    let folder = Folder::new(dir);
    let _settled = RepairLock::settled(&folder)?;
    let key = match Manifest::read(&folder) {
        Ok(Some(manifest)) => manifest.key,
        Ok(None) | Err(Error::Damaged(_)) => match key_of_files(&folder)? {
            Some(key) => key,
            None => return Ok(None),
        },
        Err(error) => return Err(error),
    };
    let (settled, layers) = (Settled::of(marks), Vec::new());
    let mut heads = Heads { folder, key, settled, layers, scanned: 0 };
    let mut looks = 0;
    loop {
        looks += 1;
        match heads.open() {
            // Files became one while they were looked at.
            Err(error) if error.is_gone() && looks < LOOKS_MAX => {}
            Err(Error::Damaged(_)) => {
                heads.scan_all()?;
                break;
            }
            other => {
                other?;
                break;
            }
        }
    }
    Ok(Some(heads))
}

/// Logs and segments repeat the key that a lost manifest held.
fn key_of_files(folder: &Folder) -> Result<Option<[u8; 32]>, Error> {
    for (number, present) in folder.list()? {
        let key = match present.segment {
            true => {
                Segment::open(&folder.segment(number), number).and_then(|it| Ok(it.head()?.key))
            }
            false => LogImage::read(&folder.log(number)).map(|image| image.head.key),
        };
        match key {
            Err(Error::Damaged(_)) => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}

/// Names and heads need nothing of earlier segments.
pub(crate) struct Nobody;

impl Known for Nobody {
    fn account(&self, _: &Name) -> Result<Option<Before>, Error> {
        Ok(None)
    }

    fn leaf_before(&self, _: &Name, _: u64) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn path(&self, _: &[u8; 8], _: &mut SeeLeaf<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn leaf(&self, _: u64) -> Result<Option<Leaf>, Error> {
        Ok(None)
    }
}

impl Heads {
    fn open(&mut self) -> Result<(), Error> {
        self.layers.clear();
        self.scanned = 0;
        let list = self.folder.list()?;
        let (mut segments, mut logs) = (Vec::new(), Vec::new());
        for (number, present) in list {
            if present.segment { segments.push(number) } else { logs.push(number) }
        }
        let files = Files::list(&self.folder)?;
        if let Some(run) = kept::open(&self.folder)? {
            self.layers.push(Layer::File { run, pending: Pending::default() });
        }
        for part in files.cover(Kind::Accounts, &segments).parts {
            let layer = match part {
                Part::File(at) => {
                    let run = levels::open(&self.folder, Kind::Accounts, at)?;
                    let pending = make::pending_of(&run, &self.settled)?;
                    Layer::File { run, pending }
                }
                Part::Missing(number) => self.segment(number)?,
            };
            self.layers.push(layer);
        }
        for number in logs {
            let image = match LogImage::read(&self.folder.log(number)) {
                Err(Error::Damaged(_)) => continue,
                other => other?,
            };
            let mut draft = Draft::new(&self.key, number, image.head.first, None);
            make::of_image(&mut draft, &Nobody, &image)?;
            self.scanned += u64::from(image.next_ordinal());
            self.layers.push(self.memory(draft));
        }
        Ok(())
    }

    /// Of what was gone through, what counts.
    fn memory(&self, draft: Draft) -> Layer {
        let (records, pending) = draft.records(&self.settled);
        let mut by_name: HashMap<Name, Vec<Record>> = HashMap::new();
        for record in records.into_iter().filter(|record| record.counts(&pending)) {
            by_name.entry(record.name).or_default().push(record);
        }
        Layer::Memory(by_name)
    }

    fn segment(&mut self, number: u32) -> Result<Layer, Error> {
        let contents = match Segment::open(&self.folder.segment(number), number) {
            Ok(segment) => segment.contents,
            // It says nothing any more.
            Err(Error::Damaged(_)) => return Ok(Layer::Memory(HashMap::new())),
            Err(error) => return Err(error),
        };
        self.scan(contents.first, Some(u64::from(contents.events)))
    }

    /// Goes through events; control frames stand between them.
    fn scan(&mut self, from: u64, count: Option<u64>) -> Result<Layer, Error> {
        let end = count.map_or(u64::MAX, |count| from.saturating_add(count));
        let mut draft = Draft::new(&self.key, 0, from, None);
        let mut reader = Reader::open(self.folder.path())?;
        let mut scan = reader.scan(Query { from, ..Query::default() });
        loop {
            match scan.next()? {
                None => break,
                Some(Found::Event(event)) => {
                    if event.n >= end {
                        break;
                    }
                    self.scanned += 1;
                    draft.event(&Nobody, &Given::of(0, &event))?;
                }
                Some(Found::Note(note)) if note.before <= end => {
                    draft.note(&Nobody, note.before, &note.frame())?;
                }
                Some(_) => {}
            }
        }
        Ok(self.memory(draft))
    }

    fn scan_all(&mut self) -> Result<(), Error> {
        self.layers.clear();
        self.scanned = 0;
        let all = self.scan(0, None)?;
        self.layers.push(all);
        Ok(())
    }

    /// How many events had to be gone through: those of logs, and of segments of which nothing is
    /// derived.
    #[must_use]
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// How many pages of the files were read so far.
    #[must_use]
    pub fn pages_read(&self) -> u64 {
        let reads = self.layers.iter().map(|layer| match layer {
            Layer::File { run, .. } => run.reads(),
            Layer::Memory(_) => 0,
        });
        reads.sum()
    }

    /// What is known of an account.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn get(&mut self, did: &str) -> Result<Account, Error> {
        let name = name(&self.key, did, "");
        match self.look_up(&name) {
            Err(Error::Damaged(_)) => {
                self.scan_all()?;
                self.look_up(&name)
            }
            other => other,
        }
    }

    fn look_up(&self, name: &Name) -> Result<Account, Error> {
        let mut sum: Option<Record> = None;
        let mut add = |record: &Record| match &mut sum {
            Some(sum) => sum.add(record),
            None => sum = Some(*record),
        };
        for layer in &self.layers {
            match layer {
                Layer::Memory(by_name) => {
                    by_name.get(name).into_iter().flatten().for_each(&mut add);
                }
                Layer::File { run, pending } => {
                    for bytes in run.all_of(name)? {
                        let record = Record::read(bytes);
                        record.filter(|record| record.counts(pending)).iter().for_each(&mut add);
                    }
                }
            }
        }
        Ok(sum.map_or_else(Account::default, |sum| Account {
            head: sum.head,
            away: sum.away.flatten(),
            status: sum.status,
        }))
    }
}
