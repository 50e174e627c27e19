//! What of the events may be shown: all but what the operator has taken down, and with `--live` or
//! `--redact` no record that is gone by now.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use archive::{Event, Forgotten, Left, Tombstones};
use atproto::event;

/// How old what is known of deletions may be.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// How records that are gone are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are not.
    All,
    /// An event is left out when all its records are gone; of others those that are.
    Live,
    /// Events stay, without the records that are gone.
    Redact,
}

/// What is to be shown of an event.
/// What helps where tombstones cannot be read.
const REPAIR: &str = "cannot say what is gone; archive-check --repair makes the tombstones again";

pub(crate) enum Shown {
    All,
    Body(Vec<u8>),
    Nothing,
}

pub(crate) struct View {
    mode: Mode,
    tombs: Option<Tombstones>,
    forgotten: Forgotten,
    looked: Instant,
}

impl View {
    pub(crate) fn open(dir: &Path, mode: Mode) -> anyhow::Result<View> {
        let tombs = match mode {
            Mode::All => None,
            Mode::Live | Mode::Redact => Some(Tombstones::open(dir).context(REPAIR)?),
        };
        anyhow::ensure!(
            tombs.as_ref().is_none_or(Tombstones::are_there),
            "{}: an older version wrote this and it has no tombstones; archive-check --repair makes them",
            dir.display()
        );
        Ok(View { mode, tombs, forgotten: Forgotten::open(dir)?, looked: Instant::now() })
    }

    /// Reads what has been deleted since, unless that was just done.
    fn look(&mut self) -> anyhow::Result<()> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.forgotten.refresh()?;
            if let Some(tombs) = &mut self.tombs {
                tombs.refresh().context(REPAIR)?;
            }
        }
        Ok(())
    }

    pub(crate) fn of(&mut self, stored: &Event<'_>) -> anyhow::Result<Shown> {
        self.look()?;
        if self.mode == Mode::All && self.forgotten.is_empty() {
            return Ok(Shown::All);
        }
        let Ok(event) = event::parse(stored.body) else { return Ok(Shown::All) };
        let did = event.did().unwrap_or_default();
        let away = self.tombs.as_ref().is_some_and(|tombs| tombs.is_away(did));
        if event.blocks().is_none() || !away && self.mode == Mode::All && !self.forgotten.any(did) {
            return Ok(Shown::All);
        }
        if self.forgotten.account(did) || away && self.mode == Mode::Live {
            return Ok(Shown::Nothing);
        }
        let gone = |path: &str| {
            let tombs = self.tombs.as_ref();
            away || self.forgotten.path(did, path)
                || tombs.is_some_and(|tombs| tombs.is_gone(did, path, stored.n))
        };
        Ok(match self.mode {
            Mode::Live => match archive::redact(stored.body, gone) {
                Left::All => Shown::All,
                Left::Some(body) => Shown::Body(body),
                Left::None => Shown::Nothing,
            },
            Mode::All | Mode::Redact => {
                archive::redact_all(stored.body, gone).map_or(Shown::All, Shown::Body)
            }
        })
    }
}
