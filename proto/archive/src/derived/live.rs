//! What is derived of the open log, while it is written, and the lattice that it is told.

use std::sync::Arc;

use frame::Frame;

use crate::Error;
use crate::derived::draft::{Draft, Given};
use crate::derived::earlier::Earlier;
use crate::derived::kept;
use crate::derived::levels::Files;
use crate::derived::make::{self, Drafts};
use crate::derived::whole;
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::image::LogImage;
use crate::lattice::{Keeper, OpenFile, held, open};

/// What a writer derives.
#[derive(Debug)]
pub(crate) struct Live {
    folder: Folder,
    key: [u8; 32],
    earlier: Earlier,
    draft: Draft,
    keeper: Keeper,
    /// The leaves that are written.
    file: OpenFile,
}

/// What a writer that starts finds.
pub(crate) struct Start<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) key: &'a [u8; 32],
    pub(crate) segments: &'a [u32],
    /// Logs that are to be sealed.
    pub(crate) unsealed: &'a [LogImage],
    /// The open log: its number, that of its first event, and what it holds.
    pub(crate) open: (u32, u64),
    pub(crate) image: Option<&'a LogImage>,
    /// Whether to wait for the disk.
    pub(crate) sync: bool,
}

/// What there is once it has started.
pub(crate) struct Started {
    pub(crate) live: Live,
    /// Drafts of the last segments, which have no tables, and of the logs that are to be sealed.
    pub(crate) small: Drafts,
    pub(crate) unsealed: Drafts,
    /// Of records that are deleted nobody knows any more.
    pub(crate) damage: Option<Damage>,
}

impl Start<'_> {
    /// Goes on with what is there; where it is not, or does not hold, or with `again`, all is made from
    /// the segments.
    pub(crate) fn start(&self, again: bool) -> Result<Started, Error> {
        let kept = if again { None } else { Keeper::resume(self.folder)? };
        if let Some(keeper) = kept {
            match whole::missing(self.folder, self.segments).and_then(|missing| match missing {
                None => self.go_on(keeper, false).map(Some),
                Some(_) => Ok(None),
            }) {
                Err(Error::Damaged(_)) | Ok(None) => {}
                Ok(Some(started)) => return Ok(started),
                Err(error) => return Err(error),
            }
        }
        held::put_aside(self.folder)?;
        let mut keeper = Keeper::begin(self.folder)?;
        make::remove_all(self.folder)?;
        keeper.settle(&kept::said(self.folder)?)?;
        let started = self.go_on(keeper, true)?;
        match crate::disk::remove(&self.folder.tombs()) {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(started),
        }
    }

    /// Goes on with a lattice, which may be begun `anew`.
    fn go_on(&self, mut keeper: Keeper, anew: bool) -> Result<Started, Error> {
        let (mut earlier, has_lost) =
            make::catch_up(self.folder, self.segments, self.key, &mut keeper)?;
        let small = earlier.drafts().clone();
        let mut unsealed = Vec::new();
        for image in self.unsealed {
            let mut draft = self.draft((image.head.number, image.head.first), &earlier)?;
            make::of_image(&mut draft, &earlier, image)?;
            make::write_open(self.folder, &draft)?;
            // It was closed before it was left.
            keeper.settle(&draft.take_said())?;
            let draft = Arc::new(draft);
            earlier.push(draft.clone());
            unsealed.push(draft);
        }
        let mut draft = self.draft(self.open, &earlier)?;
        let settled = (draft.next_leaf(), u64::from(draft.notes().accounts));
        if let Some(image) = self.image {
            make::of_image(&mut draft, &earlier, image)?;
        }
        let file = make::write_open(self.folder, &draft)?;
        let mut logs: Vec<u32> = unsealed.iter().map(|draft| draft.segment).collect();
        logs.push(draft.segment);
        open::remove_others(self.folder, &logs)?;
        let mut logs = self.unsealed.iter().chain(self.image);
        let has_lost = has_lost || logs.any(LogImage::is_damaged);
        let may_show = match anew && has_lost {
            true => held::say_again(self.folder, &earlier, &mut keeper)?,
            false => None,
        };
        let damage = may_show.map(|events| {
            let cause =
                Cause::Deletions { first: events.start, last: events.end.saturating_sub(1) };
            Damage::at(&self.folder.lattice(), 0, cause)
        });
        let (place, said) = ((draft.segment, draft.next_leaf()), draft.take_said());
        keeper.open_live(settled, place, said, self.sync)?;
        if anew && !has_lost {
            held::let_go(self.folder)?;
        }
        let (folder, key) = (self.folder.clone(), *self.key);
        let live = Live { folder, key, earlier, draft, keeper, file };
        Ok(Started { live, small, unsealed, damage })
    }

    fn draft(&self, (number, first): (u32, u64), earlier: &Earlier) -> Result<Draft, Error> {
        Ok(Draft::new(self.key, number, first, earlier.end_before(number)?.as_ref()))
    }
}

impl Live {
    /// An event that goes to the log.
    pub(crate) fn event(&mut self, given: &Given<'_>) -> Result<(), Error> {
        self.draft.event(&self.earlier, given)
    }

    /// A control frame that goes to the log before event `n`.
    pub(crate) fn note(&mut self, n: u64, frame: &Frame<'_>) -> Result<(), Error> {
        self.draft.note(&self.earlier, n, frame)
    }

    /// The log has them: shows every reader.
    pub(crate) fn written(&mut self) -> Result<(), Error> {
        self.file.append(self.draft.leaves.get(self.file.count()..).unwrap_or_default())?;
        self.keeper.publish(self.draft.next_leaf())?;
        self.keeper.say(self.draft.take_said())
    }

    /// The log is closed. What it says lasts, before it may go.
    pub(crate) fn close(&mut self, sync: bool) -> Result<(), Error> {
        let end = (self.draft.next_leaf(), u64::from(self.draft.notes().accounts));
        self.keeper.close(end, sync)
    }

    /// Goes on with the next log, which has no event yet; the draft of the one that was closed. `small` are
    /// those of the segments before it that have no tables.
    pub(crate) fn next(
        &mut self,
        (number, first): (u32, u64),
        mut small: Drafts,
    ) -> Result<Arc<Draft>, Error> {
        let draft = Draft::new(&self.key, number, first, Some(&self.draft.end()));
        let closed = Arc::new(std::mem::replace(&mut self.draft, draft));
        let mut segments = make::sealed_before(&self.folder, closed.segment)?;
        segments.retain(|segment| small.iter().all(|draft| draft.segment != *segment));
        small.push(closed.clone());
        self.earlier.renew(&Files::list(&self.folder)?, &segments, small)?;
        self.file = make::write_open(&self.folder, &self.draft)?;
        self.keeper.next(number);
        Ok(closed)
    }

    /// The writer ends.
    pub(crate) fn rest(&self) -> Result<(), Error> {
        if self.draft.leaves.is_empty() {
            open::remove_others(&self.folder, &[])?;
        }
        self.keeper.rest()
    }

    /// What is derived can't be relied on any more: readers are told, and the next start makes it again.
    pub(crate) fn end(mut self) {
        self.keeper.end();
    }
}
