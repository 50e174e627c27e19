//! What outlives dropped segments when all that is derived is made anew: what they said of their
//! accounts.
//!
//! Tables of accounts stay when their segments are dropped, and are merged with later ones, so that an
//! account keeps its number, its head and its status however long it is silent. What can't be made of
//! the segments again, because those are gone, is put into `kept-SEGMENT-00.run` before the tables are
//! removed: records as in [`super::account`], one an account, without leaves, as far as marks cover
//! them. SEGMENT is the first that is left. The notes are as in [`super::leaf`]: the largest receive time
//! of what was dropped; without it in files of earlier versions.

use crate::derived::account::{self, ACCOUNTS, Pending, Record, settle};
use crate::derived::leaf::LeafNotes;
use crate::derived::levels::{self, Files, Kind, window};
use crate::derived::make::{self, Together, pending_of};
use crate::derived::run::{self, NewRun, Place, Run};
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::lattice::{Said, word};
use crate::{Error, disk};

const KIND: &str = "kept";

/// The segments of the files that there are, ascending: one, unless a kill left an older one.
fn list(folder: &Folder) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    folder.each_name(|name| {
        if let Some((KIND, segment, 0)) = run::read_name(name) {
            found.push(segment);
        }
    })?;
    found.sort_unstable();
    Ok(found)
}

/// The file, if there is one.
pub(crate) fn open(folder: &Folder) -> Result<Option<Run>, Error> {
    let path = |segment| run::path(folder, KIND, segment, 0);
    list(folder)?.pop().map(|segment| Run::open(&path(segment), ACCOUNTS)).transpose()
}

/// The same, if all of it holds.
pub(crate) fn check(folder: &Folder) -> Result<Option<Run>, Error> {
    let Some(run) = open(folder)? else { return Ok(None) };
    run.check()?;
    Ok(Some(run))
}

/// Puts what the tables say of dropped segments into the file. They may go then.
pub(crate) fn write(folder: &Folder) -> Result<(), Error> {
    let segments = make::sealed_before(folder, u32::MAX)?;
    let first = segments.first().copied().unwrap_or(u32::MAX);
    let mut old = list(folder)?;
    let mut runs = Vec::new();
    match check(folder) {
        // What it said is lost; it is named by who checks.
        Err(Error::Damaged(_)) => remove(folder, old.drain(..))?,
        other => runs.extend(other?),
    }
    let before = runs.len();
    for at in Files::list(folder)?.of(Kind::Accounts).filter(|at| window(at.0, at.1).0 < first) {
        match levels::open(folder, Kind::Accounts, at).and_then(|it| it.check().map(|()| it)) {
            // It is named by who checks.
            Err(Error::Damaged(_)) => {}
            other => runs.push(other?),
        }
    }
    if runs.len() == before {
        return Ok(());
    }
    let begin = make::begin_of(folder, first)?;
    let seconds = match &begin {
        Some(begin) if begin.seconds_before > 0 => begin.seconds_before,
        _ => runs.iter().take(before).map(|old| LeafNotes::of(old).seconds).max().unwrap_or(0),
    };
    // What a table says may be of segments that are left, too: they are gone through again.
    let last = begin.map_or(u64::MAX, |begin| begin.event.saturating_sub(1));
    let settled = make::settled(folder)?;
    let mut pending = Pending::default();
    for run in &runs {
        pending.by_n.extend(pending_of(run, &settled)?.by_n);
    }
    let mut new = NewRun::begin(&run::path(folder, KIND, first, 0), ACCOUNTS)?;
    let (mut together, mut of_key) = (Together::of(&runs, account::ACCOUNTS.key)?, Vec::new());
    while together.next(&mut of_key)? {
        let records: Vec<Record> = of_key.iter().filter_map(|bytes| Record::read(bytes)).collect();
        let settled = settle(&records, &pending).into_iter().find(|record| record.settled);
        if let Some(record) = settled {
            new.push(&Record { leaf: None, n: record.n.min(last), ..record }.to_bytes())?;
        }
    }
    let notes = LeafNotes { seconds_before: seconds, seconds, ..LeafNotes::default() };
    new.finish(&Place { segment: first, level: 0, notes: notes.to_notes() }, &[])?;
    folder.sync()?;
    remove(folder, old.into_iter().filter(|segment| *segment != first))
}

fn remove(folder: &Folder, mut segments: impl Iterator<Item = u32>) -> Result<(), Error> {
    segments.try_for_each(|segment| disk::remove(&run::path(folder, KIND, segment, 0)))
}

/// All records of the file.
fn each(run: &Run, mut see: impl FnMut(Record)) -> Result<(), Error> {
    let mut cursor = run.cursor();
    while let Some(bytes) = cursor.next()? {
        let form = || Damage::at(&run.path, 0, Cause::Form("accounts"));
        see(Record::read(bytes).ok_or_else(form)?);
    }
    Ok(())
}

/// What it says of accounts, for a lattice that begins.
pub(crate) fn said(folder: &Folder) -> Result<Said, Error> {
    let mut said = Said::default();
    if let Some(run) = open(folder)? {
        each(&run, |record| {
            if let Some(status) = record.status {
                said.away.insert(record.account, word(status, record.n));
            }
        })?;
    }
    Ok(said)
}

/// Where the first segment begins that there are leaves of: its accounts get other numbers.
pub(crate) fn notes(folder: &Folder) -> Result<Option<LeafNotes>, Error> {
    let Some(run) = open(folder)? else { return Ok(None) };
    let mut notes = LeafNotes { first: 0, event: 0, ..LeafNotes::of(&run) };
    each(&run, |record| {
        notes.accounts = notes.accounts.max(record.account.saturating_add(1));
    })?;
    Ok(Some(notes))
}
