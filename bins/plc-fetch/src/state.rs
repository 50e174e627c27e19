//! What is learned about a directory and good to have in the next run, nothing more: a file that
//! is missing, damaged or of another version is as good as none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use bincode::{Decode, Encode, config};

use crate::limiter::Learned;

/// Longest state that is read. URLs are in it.
const STATE_BYTES_MAX: usize = 16 << 10;

/// What [`State`] looks like; another number is another look.
const VERSION: u32 = 3;

/// A place between two frames of a folder: number of the file, bytes before it there.
pub(crate) type Position = (u64, u64);

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct State {
    version: u32,
    /// About which directory.
    url: String,
    /// Its limit: requests, span, and what the span is longer than (us).
    limit: Option<(u32, u64, u64)>,
    /// The window of it that a run was in: when it began (unix us), and how much was spent.
    pub(crate) window: Option<(u64, u32)>,
    /// From this place on, numbers in the operations are those of this directory. Numbers of
    /// another directory mean nothing here.
    numbered_from: Option<Position>,
    /// Where the operations of a dump that was imported come from.
    pub(crate) origin: Option<String>,
}

impl State {
    /// Nothing yet.
    pub(crate) fn new(url: &str) -> Self {
        let url = url.to_owned();
        Self { version: VERSION, url, limit: None, window: None, numbered_from: None, origin: None }
    }

    pub(crate) fn limit(&self) -> Option<Learned> {
        let (requests, span_us, longer_than_us) = self.limit?;
        Some(Learned { requests, span_us, longer_than_us })
    }

    pub(crate) fn set_limit(&mut self, learned: Option<Learned>) {
        self.limit =
            learned.map(|learned| (learned.requests, learned.span_us, learned.longer_than_us));
    }

    /// Whether the numbers in operations at this place are those of the directory.
    pub(crate) fn is_numbered(&self, at: Position) -> bool {
        self.numbered_from.is_some_and(|from| from <= at)
    }

    pub(crate) fn set_numbered_from(&mut self, from: Position) {
        self.numbered_from = Some(from);
    }
}

/// What is known about a directory. Of another one only the origin of the operations is kept.
pub(crate) fn load(path: &Path, url: &str) -> State {
    match read(path) {
        Some(state) if state.url == url => state,
        other => State { origin: other.and_then(|state| state.origin), ..State::new(url) },
    }
}

fn read(path: &Path) -> Option<State> {
    let bytes = fs::read(path).ok().filter(|bytes| bytes.len() <= STATE_BYTES_MAX)?;
    let config = config::standard().with_limit::<STATE_BYTES_MAX>();
    let (state, _): (State, usize) = bincode::decode_from_slice(&bytes, config).ok()?;
    (state.version == VERSION).then_some(state)
}

/// Keeps it, durably: a place in it is believed only if what was written behind it is there too.
pub(crate) fn save(path: &Path, state: &State) -> io::Result<()> {
    let bytes = bincode::encode_to_vec(state, config::standard()).map_err(io::Error::other)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_of_one_directory_is_said_of_that_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        assert_eq!(load(&path, "https://a.example"), State::new("https://a.example"));
        let mut state = State::new("https://a.example");
        state.set_limit(Some(Learned { requests: 5, span_us: 6, longer_than_us: 7 }));
        state.set_numbered_from((3, 100));
        state.origin = Some("https://c.example".into());
        save(&path, &state).unwrap();
        assert_eq!(load(&path, "https://a.example"), state);
        assert!(state.is_numbered((3, 100)) && state.is_numbered((4, 0)));
        assert!(!state.is_numbered((3, 99)));
        let other = load(&path, "https://b.example");
        assert!(other.limit().is_none() && !other.is_numbered((9, 0)));
        assert_eq!(other.origin, state.origin);
    }

    #[test]
    fn damaged_state_is_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        for bytes in [&b""[..], b"\x03", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", &[0xfd; 20_000]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(load(&path, "https://a.example"), State::new("https://a.example"));
        }
    }
}
