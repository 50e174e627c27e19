//! The lattice as the archive's writer has it.

use std::collections::BTreeMap;

use crate::folder::Folder;
use crate::lattice::array::{self, Array, ArrayMut, What};
use crate::lattice::head::{Field, Head, HeadMut};
use crate::lattice::{WORD_LEAVES, event_of};
use crate::{Error, disk};

/// What some events say.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Leaves whose records are gone.
    pub(crate) gone: Vec<u64>,
    /// Words of accounts, by number.
    pub(crate) away: BTreeMap<u32, u64>,
}

impl Said {
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.away.is_empty()
    }

    /// Adds what came later.
    fn add(&mut self, later: Said) {
        self.gone.extend(later.gone);
        self.away.extend(later.away);
    }
}

/// Bits and words of one stamp.
#[derive(Debug)]
struct Pair {
    stamp: u32,
    gone: ArrayMut,
    away: ArrayMut,
}

impl Pair {
    fn new(folder: &Folder, stamp: u32) -> Pair {
        let gone = ArrayMut::new(folder, What::Gone, stamp);
        Pair { stamp, gone, away: ArrayMut::new(folder, What::Away, stamp) }
    }

    fn reach(&mut self, leaves: u64, accounts: u64) -> Result<(), Error> {
        self.gone.reach(leaves.div_ceil(WORD_LEAVES))?;
        self.away.reach(accounts)
    }

    fn say(&mut self, said: &Said) -> Result<(), Error> {
        for leaf in &said.gone {
            self.gone.or(leaf / WORD_LEAVES, 1 << (leaf % WORD_LEAVES))?;
        }
        for (account, word) in &said.away {
            // Segments may be gone through again.
            if event_of(self.away.get(u64::from(*account))?) <= event_of(*word) {
                self.away.set(u64::from(*account), *word)?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        self.gone.sync()?;
        self.away.sync()
    }
}

/// The lattice, to be set.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: Folder,
    head: HeadMut,
    base: Pair,
    live: Pair,
    /// What the open log has said so far.
    open: Said,
    /// Whether the head has its name.
    is_published: bool,
}

impl Keeper {
    /// Goes on with the lattice that is there; `None` if there is none that holds.
    pub(crate) fn resume(folder: &Folder) -> Result<Option<Keeper>, Error> {
        let checked = Head::open(folder).and_then(|head| {
            let Some(head) = head.filter(|head| !head.has_ended()) else { return Ok(None) };
            check(folder, &head).map(|()| Some(head.base))
        });
        let base = match checked {
            Ok(Some(base)) => base,
            Ok(None) | Err(Error::Damaged(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Keeper::new(folder, HeadMut::resume(folder)?, base, true).map(Some)
    }

    /// Begins a lattice in the place of whatever is there, which readers are told not to trust. It has
    /// its name with [`Keeper::open_live`].
    pub(crate) fn begin(folder: &Folder) -> Result<Keeper, Error> {
        let found = Head::open(folder);
        if !matches!(found, Ok(None)) {
            let is_damaged = matches!(found, Err(Error::Damaged(_)));
            found.map(drop).or_else(|error| if is_damaged { Ok(()) } else { Err(error) })?;
            let mut head = HeadMut::resume(folder)?;
            head.set(Field::Ended, 1);
            // Before leaves get other numbers: after a loss of power it is not to be gone on with.
            head.sync()?;
            if is_damaged {
                disk::remove(&folder.lattice())?;
            }
        }
        let unfinished = crate::folder::unfinished(&folder.lattice());
        match disk::remove(&unfinished) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
        let base = array::new_stamp(folder)?;
        Keeper::new(folder, HeadMut::begin(folder, base)?, base, false)
    }

    fn new(folder: &Folder, head: HeadMut, base: u32, is_published: bool) -> Result<Keeper, Error> {
        // Files of the last live stamp may be gone, and mapped by a reader.
        let live = array::new_stamp(folder)?.max(base + 1).max(head.live().saturating_add(1));
        let (base, live) = (Pair::new(folder, base), Pair::new(folder, live));
        let (folder, open) = (folder.clone(), Said::default());
        Ok(Keeper { folder, head, base, live, open, is_published })
    }

    /// Sets what a closed log or a segment says.
    pub(crate) fn settle(&mut self, said: &Said) -> Result<(), Error> {
        self.base.say(said)
    }

    /// Sets what the open log says, which is written.
    pub(crate) fn say(&mut self, said: Said) -> Result<(), Error> {
        if !said.is_empty() {
            self.live.say(&said)?;
            self.open.add(said);
        }
        Ok(())
    }

    /// The leaves of the open log are in their file, up to this number.
    pub(crate) fn publish(&mut self, leaves: u64) -> Result<(), Error> {
        // So that readers find a file there.
        self.live.gone.reach(leaves.div_ceil(WORD_LEAVES))?;
        self.head.set(Field::Leaves, leaves);
        Ok(())
    }

    /// The log is closed, with so many leaves and accounts up to its end: what it said lasts.
    pub(crate) fn close(
        &mut self,
        (leaves, accounts): (u64, u64),
        sync: bool,
    ) -> Result<(), Error> {
        self.base.say(&std::mem::take(&mut self.open))?;
        self.settled((leaves, accounts), sync)
    }

    /// The base holds all of so many leaves and accounts, and is as long as they ask for.
    fn settled(&mut self, (leaves, accounts): (u64, u64), sync: bool) -> Result<(), Error> {
        self.base.reach(leaves, accounts)?;
        if sync {
            self.base.sync()?;
        }
        self.head.set(Field::Settled, leaves);
        self.head.set(Field::Accounts, accounts);
        if sync && self.is_published { self.head.sync() } else { Ok(()) }
    }

    /// The next log takes events; its leaves have their file.
    pub(crate) fn next(&mut self, segment: u32) {
        self.head.set(Field::Segment, u64::from(segment));
    }

    /// Shows readers the open log: `settled` leaves and accounts are of those before it, `leaves` with its
    /// own, and it says this.
    pub(crate) fn open_live(
        &mut self,
        settled: (u64, u64),
        (segment, leaves): (u32, u64),
        said: Said,
        sync: bool,
    ) -> Result<(), Error> {
        self.settled(settled, sync)?;
        self.live.reach(leaves, settled.1)?;
        self.say(said)?;
        self.next(segment);
        self.publish(leaves)?;
        self.head.set(Field::Live, u64::from(self.live.stamp));
        if !self.is_published {
            self.head.publish(&self.folder)?;
            self.is_published = true;
        }
        // What comes has nothing said of it, whatever is on the disk there.
        let (leaves, accounts) = settled;
        let kept = (1 << (leaves % WORD_LEAVES)) - 1;
        self.base.gone.clear_from(leaves / WORD_LEAVES, kept)?;
        self.base.away.clear_from(accounts, 0)?;
        array::remove_others(&self.folder, &[self.base.stamp, self.live.stamp])
    }

    /// The writer ends. What the open log said is needed until it is closed.
    pub(crate) fn rest(&self) -> Result<(), Error> {
        if !self.open.is_empty() {
            return Ok(());
        }
        array::remove_others(&self.folder, &[self.base.stamp])
    }

    /// It can be kept no longer: readers are told, and the next start makes another.
    pub(crate) fn end(&mut self) {
        self.head.set(Field::Ended, 1);
    }
}

/// Fails if the base is shorter than it was.
pub(crate) fn check(folder: &Folder, head: &Head) -> Result<(), Error> {
    let words = head.get(Field::Settled)?.div_ceil(WORD_LEAVES);
    Array::new(folder, What::Gone, head.base).check(words)?;
    Array::new(folder, What::Away, head.base).check(head.get(Field::Accounts)?)
}
