//! What of the events may be shown: all but what the operator has taken down, and with `--live` or
//! `--redact` no record that is gone by now.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use archive::{Event, Forgotten, Lattice, Left};
use atproto::event;

/// How old what is known of takedowns may be.
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

/// What helps where the lattice cannot be read.
const REPAIR: &str = "cannot say what is gone; archive-check --repair makes that again, and so does \
                      archive-pack when it starts";

/// What is to be shown of an event.
pub(crate) enum Shown {
    All,
    Body(Vec<u8>),
    Nothing,
}

pub(crate) struct View {
    mode: Mode,
    lattice: Option<Lattice>,
    forgotten: Forgotten,
    looked: Instant,
}

impl View {
    pub(crate) fn open(dir: &Path, mode: Mode) -> anyhow::Result<View> {
        let lattice = match mode {
            Mode::All => None,
            Mode::Live | Mode::Redact => Some(Lattice::open(dir).context(REPAIR)?),
        };
        anyhow::ensure!(
            lattice.as_ref().is_none_or(Lattice::is_there),
            "{}: nothing here says what is gone, as in an archive of an older version; \
             archive-check --repair makes that, and so does archive-pack when it starts",
            dir.display()
        );
        Ok(View { mode, lattice, forgotten: Forgotten::open(dir)?, looked: Instant::now() })
    }

    /// Reads what has been taken down since, unless that was just done.
    fn look(&mut self) -> anyhow::Result<()> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.forgotten.refresh()?;
        }
        Ok(())
    }

    pub(crate) fn of(&mut self, stored: &Event<'_>) -> anyhow::Result<Shown> {
        self.look()?;
        let fate = match &mut self.lattice {
            Some(lattice) => Some(lattice.fate(stored.n).context(REPAIR)?),
            None => None,
        };
        let away = fate.is_some_and(|fate| fate.is_away());
        let any_gone = away || fate.is_some_and(|fate| fate.any_gone());
        if !any_gone && self.forgotten.is_empty() {
            return Ok(Shown::All);
        }
        let Ok(event) = event::parse(stored.body) else { return Ok(Shown::All) };
        let did = event.did().unwrap_or_default();
        if event.blocks().is_none() || !any_gone && !self.forgotten.any(did) {
            return Ok(Shown::All);
        }
        if self.forgotten.account(did) || away && self.mode == Mode::Live {
            return Ok(Shown::Nothing);
        }
        let paths = fate.map(|fate| fate.gone_paths(&event)).unwrap_or_default();
        let gone = |path: &str| away || self.forgotten.path(did, path) || paths.contains(path);
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
