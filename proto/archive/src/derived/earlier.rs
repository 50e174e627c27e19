//! What earlier segments say to one that is being made: in mapped files, and in drafts of those that have
//! no tables yet.

use std::cell::RefCell;

use crate::Error;
use crate::derived::Name;
use crate::derived::account::Record;
use crate::derived::draft::{Before, Known, SeeLeaf};
use crate::derived::kept;
use crate::derived::leaf::{Leaf, LeafNotes, PathLeaf};
use crate::derived::leaves::Leaves;
use crate::derived::levels::{self, Files, Kind};
use crate::derived::make::{Drafts, notes_before};
use crate::derived::run::Run;
use crate::error::{Cause, Damage};
use crate::folder::Folder;

/// The newest are last.
#[derive(Debug)]
pub(crate) struct Earlier {
    folder: Folder,
    accounts: Vec<Run>,
    paths: Vec<Run>,
    leaves: RefCell<Leaves>,
    /// Behind what is in tables.
    drafts: Drafts,
}

impl Earlier {
    /// Opens what there is of these segments.
    pub(crate) fn open(folder: &Folder, files: &Files, segments: &[u32]) -> Result<Earlier, Error> {
        let leaves = RefCell::new(Leaves::new(folder, Vec::new()));
        let (accounts, paths, drafts) = (Vec::new(), Vec::new(), Vec::new());
        let mut earlier = Earlier { folder: folder.clone(), accounts, paths, leaves, drafts };
        earlier.renew(files, segments, Vec::new())?;
        Ok(earlier)
    }

    /// Turns to the tables that there are of these segments by now, and these drafts behind them.
    pub(crate) fn renew(
        &mut self,
        files: &Files,
        segments: &[u32],
        drafts: Drafts,
    ) -> Result<(), Error> {
        let open = |kind| {
            let cover = files.cover(kind, segments);
            let runs = cover.files().map(|at| levels::open(&self.folder, kind, at));
            runs.collect::<Result<Vec<Run>, Error>>()
        };
        (self.accounts, self.paths) = (open(Kind::Accounts)?, open(Kind::Paths)?);
        self.accounts.splice(0..0, kept::open(&self.folder)?);
        let leaves = files.of(Kind::Leaves).map(|(segment, _)| segment);
        self.leaves.get_mut().renew(leaves.collect());
        self.drafts = drafts;
        Ok(())
    }

    pub(crate) fn drafts(&self) -> &Drafts {
        &self.drafts
    }

    pub(crate) fn take_drafts(&mut self) -> Drafts {
        std::mem::take(&mut self.drafts)
    }

    pub(crate) fn push(&mut self, draft: std::sync::Arc<super::draft::Draft>) {
        self.drafts.push(draft);
    }

    /// Where a segment behind these begins.
    pub(crate) fn end_before(&self, number: u32) -> Result<Option<LeafNotes>, Error> {
        match self.drafts.last() {
            Some(draft) => Ok(Some(draft.end())),
            None => notes_before(&self.folder, &Files::list(&self.folder)?, number),
        }
    }

    /// The records of an account in a table.
    fn records(run: &Run, name: &Name) -> Result<Vec<Record>, Error> {
        let form = || Damage::at(&run.path, 0, Cause::Form("accounts"));
        let records = run.all_of(name)?;
        let records = records.iter().map(|bytes| Record::read(bytes).ok_or_else(form));
        Ok(records.collect::<Result<_, _>>()?)
    }
}

impl Known for Earlier {
    fn account(&self, name: &Name) -> Result<Option<Before>, Error> {
        if let Some(found) = self.drafts.iter().rev().find_map(|draft| draft.account(name)) {
            return Ok(Some(found));
        }
        for run in self.accounts.iter().rev() {
            if let Some(record) = Earlier::records(run, name)?.last() {
                return Ok(Some((record.account, record.leaf)));
            }
        }
        Ok(None)
    }

    fn leaf_before(&self, name: &Name, leaf: u64) -> Result<Option<u64>, Error> {
        for run in self.accounts.iter().rev() {
            let records = Earlier::records(run, name)?;
            let before =
                records.iter().filter_map(|record| record.leaf).filter(|at| *at < leaf).max();
            if before.is_some() {
                return Ok(before);
            }
        }
        Ok(None)
    }

    fn path(&self, path: &[u8; 8], see: &mut SeeLeaf<'_>) -> Result<(), Error> {
        for draft in self.drafts.iter().rev() {
            if !draft.path(path, see)? {
                return Ok(());
            }
        }
        for run in self.paths.iter().rev() {
            for record in run.all_of(path)?.iter().rev() {
                let form = || Damage::at(&run.path, 0, Cause::Form("paths"));
                let last = PathLeaf::read(record).ok_or_else(form)?;
                if !see(last.leaf)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn leaf(&self, number: u64) -> Result<Option<Leaf>, Error> {
        if let Some(leaf) = self.drafts.iter().rev().find_map(|draft| draft.leaf_at(number)) {
            return Ok(Some(leaf));
        }
        match self.leaves.borrow_mut().leaf(number) {
            // Its segment was dropped.
            Err(error) if error.is_gone() => Ok(None),
            other => other,
        }
    }
}
