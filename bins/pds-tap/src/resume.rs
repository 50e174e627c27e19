//! From where each host is to be heard: what the archive has of it, what was asked for, or now.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use frame::host::Role;

use crate::cursor::{Cursor, Start};

/// The cursors of all hosts.
pub(crate) struct Cursors {
    stored: HashMap<(String, Role), (u32, u64)>,
    start: Start,
}

impl Cursors {
    /// Reads the last marks of an archive, waiting while a writer repairs it. `cursor` is for
    /// hosts that it has no mark of. Without it they are joined at the beginning of their windows,
    /// because their first commits are why they were found; but when there is no mark of any host
    /// it is the first run of all, which joins live.
    ///
    /// # Errors
    /// What the archive says.
    pub(crate) fn open(archive: Option<&Path>, cursor: Option<u64>) -> anyhow::Result<Self> {
        let stored = match archive {
            Some(dir) => marks(dir).with_context(|| format!("--resume {}", dir.display()))?,
            None => HashMap::new(),
        };
        Ok(Self::new(stored, cursor))
    }

    fn new(stored: HashMap<(String, Role), (u32, u64)>, cursor: Option<u64>) -> Self {
        let start = match cursor {
            Some(cursor) => Start::Behind(cursor),
            None if stored.is_empty() => Start::Live,
            None => Start::Behind(0),
        };
        Self { stored, start }
    }

    /// Whether the archive has a mark of a host.
    pub(crate) fn knows(&self, name: &str, role: Role) -> bool {
        self.stored.contains_key(&(name.to_owned(), role))
    }

    /// The cursor of a host. One that appears `late`, after the first lists were taken, is joined
    /// at its beginning: its first commits are why it was found.
    pub(crate) fn of(&self, name: &str, role: Role, late: bool) -> Cursor {
        match self.stored.get(&(name.to_owned(), role)) {
            Some((epoch, seq)) => Cursor::resumed(*epoch, *seq),
            None if self.start == Start::Live && late => Cursor::new(Start::Behind(0)),
            None if self.start == Start::Live && role == Role::Relay => {
                Cursor::new(Start::LiveAgain)
            }
            None => Cursor::new(self.start),
        }
    }
}

fn marks(dir: &Path) -> anyhow::Result<HashMap<(String, Role), (u32, u64)>> {
    let marks = archive::marks(dir)?.unwrap_or_default();
    Ok(marks.into_iter().map(|mark| ((mark.name, mark.role), (mark.epoch, mark.seq))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> HashMap<(String, Role), (u32, u64)> {
        HashMap::from([(("a.example".to_owned(), Role::Pds), (1, 50))])
    }

    #[test]
    fn a_host_goes_on_from_its_mark_and_another_from_its_beginning() {
        let cursors = Cursors::new(stored(), None);
        let mut known = cursors.of("a.example", Role::Pds, false);
        assert_eq!((known.epoch(), known.join()), (1, Some(50)));
        assert_eq!(cursors.of("b.example", Role::Pds, false).join(), Some(0));
        // What the same host says as a relay is another stream.
        assert_eq!(cursors.of("a.example", Role::Relay, false).join(), Some(0));
    }

    #[test]
    fn the_first_run_of_all_joins_live() {
        let cursors = Cursors::new(HashMap::new(), None);
        assert_eq!(cursors.of("a.example", Role::Pds, false).join(), None);
        assert!(!cursors.knows("a.example", Role::Pds));
        // One that appears later is not there for the first time by accident.
        assert_eq!(cursors.of("a.example", Role::Pds, true).join(), Some(0));
    }

    #[test]
    fn a_cursor_that_was_asked_for_is_for_hosts_without_one() {
        let cursors = Cursors::new(stored(), Some(7));
        assert_eq!(cursors.of("a.example", Role::Pds, false).join(), Some(50));
        assert_eq!(cursors.of("b.example", Role::Pds, false).join(), Some(7));
        let cursors = Cursors::new(HashMap::new(), Some(0));
        assert_eq!(cursors.of("a.example", Role::Pds, false).join(), Some(0));
    }
}
