//! What the lattice said, put aside while it is made anew. Of events that can't be read any more it may be
//! all that is left: what they deleted is not to show again. Where all events can be read they say it
//! better, and this is taken away.
//!
//! `held-00000000-00.run`: leaves of sealed segments whose bits are set, ascending; see
//! [`crate::derived::run`]. Leaves get other numbers where events are lost, so they are named by their
//! events:
//!
//! | offset | size | field   | meaning                                                            |
//! |-------:|-----:|---------|--------------------------------------------------------------------|
//! |      0 |    4 | segment | its number                                                         |
//! |      4 |    4 | ordinal | of the event in it; 2^32-1: here ends a segment all of whose leaves could be read |
//! |      8 |    4 | op      | which of the event's leaves                                        |
//!
//! `said-00000000-00.run`: words of accounts that are not 0, by name:
//!
//! | offset | size | field   | meaning                                                            |
//! |-------:|-----:|---------|--------------------------------------------------------------------|
//! |      0 |   16 | name    | see [`crate::derived::name`]                                       |
//! |     16 |    8 | word    | see [`super`]                                                      |

use std::ops::Range;
use std::path::PathBuf;

use crate::bytes::Take;
use crate::derived::account::{ACCOUNTS, Record};
use crate::derived::draft::Known;
use crate::derived::leaf::{Leaf, NO_ACCOUNT};
use crate::derived::levels::{self, Files, Kind};
use crate::derived::make::Together;
use crate::derived::run::{self, Cursor, NewRun, Place, Run, Shape};
use crate::derived::{Name, kept};
use crate::disk;
use crate::error::Error;
use crate::folder::Folder;
use crate::lattice::array::{Array, What};
use crate::lattice::files::{LeafFile, LeafFiles};
use crate::lattice::head::Head;
use crate::lattice::{Keeper, Said, WORD_LEAVES, keep};

const HELD: Shape = Shape { kind: 4, record: 12, key: 0 };
const SAID: Shape = Shape { kind: 5, record: 24, key: 16 };
/// The ordinal of what ends a segment.
const END: u32 = u32::MAX;
/// So many words are set at a time.
const WORDS: usize = 1 << 16;

/// An event's leaf: segment, ordinal, and which of the event's.
type Place3 = (u32, u32, u32);

fn paths(folder: &Folder) -> [PathBuf; 2] {
    ["held", "said"].map(|kind| run::path(folder, kind, 0, 0))
}

/// The base of a lattice: what the open log says is known of it.
struct Base {
    gone: Array,
    away: Array,
}

impl Base {
    /// That of one that holds, if there is one.
    fn open(folder: &Folder) -> Result<Option<Base>, Error> {
        let head = Head::open(folder).and_then(|head| {
            let head = head.filter(|head| !head.has_ended());
            head.iter().try_for_each(|head| keep::check(folder, head)).map(|()| head)
        });
        let stamp = match head {
            Ok(head) => head.map(|head| head.base),
            Err(Error::Damaged(_)) => None,
            Err(error) => return Err(error),
        };
        let array = |what, stamp| Array::new(folder, what, stamp);
        let base = |stamp| Base { gone: array(What::Gone, stamp), away: array(What::Away, stamp) };
        Ok(stamp.map(base))
    }

    fn is_gone(&mut self, leaf: u64) -> Result<bool, Error> {
        Ok(self.gone.get(leaf / WORD_LEAVES)? >> (leaf % WORD_LEAVES) & 1 != 0)
    }
}

/// Puts aside what a lattice says that holds, durably. Of another one nothing is believed, and what was
/// put aside earlier stays.
pub(crate) fn put_aside(folder: &Folder) -> Result<(), Error> {
    let Some(mut base) = Base::open(folder)? else { return Ok(()) };
    let [held, said] = paths(folder);
    let mut new = NewRun::begin(&held, HELD)?;
    for file in LeafFiles::list(folder)?.iter() {
        let put = file.and_then(|file| match file.is_open() {
            true => Ok(()),
            false => put_segment(&file, &mut base, &mut new),
        });
        match put {
            // It is told by what is missing.
            Err(Error::Damaged(_)) => {}
            other => other?,
        }
    }
    new.finish(&Place::default(), &[])?;
    put_words(folder, &mut base, NewRun::begin(&said, SAID)?)?;
    folder.sync()
}

fn put_segment(file: &LeafFile, base: &mut Base, new: &mut NewRun) -> Result<(), Error> {
    let mut ops = Ops::default();
    file.each((0, u64::MAX), |number, leaf| {
        let op = ops.of(leaf);
        if base.is_gone(number)? {
            new.push(&to_bytes((file.segment, leaf.ordinal, op)))?;
        }
        Ok(true)
    })?;
    new.push(&to_bytes((file.segment, END, 0)))
}

/// All accounts' words: their numbers stand in the tables.
fn put_words(folder: &Folder, base: &mut Base, mut new: NewRun) -> Result<(), Error> {
    let mut runs: Vec<Run> = Vec::new();
    let tables = Files::list(folder)?;
    let tables = tables.of(Kind::Accounts).map(|at| levels::open(folder, Kind::Accounts, at));
    for run in kept::open(folder).transpose().into_iter().chain(tables) {
        match run.and_then(|run| run.check().map(|()| run)) {
            Err(Error::Damaged(_)) => {}
            other => runs.push(other?),
        }
    }
    let (mut together, mut of_name) = (Together::of(&runs, ACCOUNTS.key)?, Vec::new());
    while together.next(&mut of_name)? {
        let Some(record) = of_name.last().and_then(|bytes| Record::read(bytes)) else { continue };
        let word = base.away.get(record.account.into())?;
        if word != 0 && record.account != NO_ACCOUNT {
            new.push(&[&record.name[..], &word.to_le_bytes()].concat())?;
        }
    }
    new.finish(&Place::default(), &[])
}

/// All events can be read: nothing is to be held.
pub(crate) fn let_go(folder: &Folder) -> Result<(), Error> {
    for path in paths(folder) {
        match disk::remove(&path) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Some events can't be read: says again what was put aside. What was not is named: the events whose
/// records may show again.
pub(crate) fn say_again(
    folder: &Folder,
    known: &impl Known,
    keeper: &mut Keeper,
) -> Result<Option<Range<u64>>, Error> {
    let [held, said] = paths(folder);
    let held = open(&held, HELD)?;
    let mut held = Held { cursor: held.as_ref().map(Run::cursor), next: None };
    held.advance()?;
    let mut may_show: Option<Range<u64>> = None;
    for file in LeafFiles::list(folder)?.iter() {
        let file = file?;
        let (mut said, mut ops, mut end) = (Said::default(), Ops::default(), file.event);
        if file.is_open() {
            continue;
        }
        file.each((0, u64::MAX), |number, leaf| {
            end = file.event + u64::from(leaf.ordinal) + 1;
            let place = (file.segment, leaf.ordinal, ops.of(leaf));
            // Of a lost event there is one, of no account.
            if held.reaches(place)? && leaf.account != NO_ACCOUNT {
                said.gone.push(number);
            }
            Ok(true)
        })?;
        keeper.settle(&said)?;
        if !held.reaches((file.segment, END, 0))? {
            let start = may_show.map_or(file.event, |before| before.start);
            may_show = Some(start..end);
        }
    }
    if let Some(run) = open(&said, SAID)? {
        say_words(&run, known, keeper)?;
    }
    Ok(may_show)
}

/// Of words of accounts the later one counts.
fn say_words(run: &Run, known: &impl Known, keeper: &mut Keeper) -> Result<(), Error> {
    let (mut cursor, mut said) = (run.cursor(), Said::default());
    while let Some(bytes) = cursor.next()? {
        let mut take = Take::new(bytes);
        let Some((name, word)) = take.array().zip(take.u64()) else { continue };
        let name: Name = name;
        if let Some((account, _)) = known.account(&name)?.filter(|it| it.0 != NO_ACCOUNT) {
            said.away.insert(account, word);
        }
        if said.away.len() >= WORDS {
            keeper.settle(&std::mem::take(&mut said))?;
        }
    }
    keeper.settle(&said)
}

/// One of the files, if it is there and all of it holds.
fn open(path: &std::path::Path, shape: Shape) -> Result<Option<Run>, Error> {
    match Run::open(path, shape).and_then(|run| run.check().map(|()| run)) {
        Ok(run) => Ok(Some(run)),
        Err(Error::Damaged(_)) => Ok(None),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_bytes((segment, ordinal, op): Place3) -> [u8; 12] {
    let mut bytes = [0; 12];
    let fields = [segment, ordinal, op].map(u32::to_le_bytes);
    bytes.iter_mut().zip(fields.iter().flatten()).for_each(|(slot, byte)| *slot = *byte);
    bytes
}

/// Which of its event's a leaf is, while they are gone through.
#[derive(Default)]
struct Ops {
    ordinal: Option<u32>,
    op: u32,
}

impl Ops {
    fn of(&mut self, leaf: &Leaf) -> u32 {
        self.op = if self.ordinal == Some(leaf.ordinal) { self.op + 1 } else { 0 };
        self.ordinal = Some(leaf.ordinal);
        self.op
    }
}

/// What was put aside of leaves, while it is gone through.
struct Held<'r> {
    cursor: Option<Cursor<'r>>,
    next: Option<Place3>,
}

impl Held<'_> {
    fn advance(&mut self) -> Result<(), Error> {
        let bytes = self.cursor.as_mut().map_or(Ok(None), Cursor::next)?;
        self.next = bytes.and_then(|bytes| {
            let mut take = Take::new(bytes);
            Some((take.u32()?, take.u32()?, take.u32()?))
        });
        Ok(())
    }

    /// Whether this is there; places are asked for in order.
    fn reaches(&mut self, place: Place3) -> Result<bool, Error> {
        while self.next.is_some_and(|next| next < place) {
            self.advance()?;
        }
        Ok(self.next == Some(place))
    }
}
