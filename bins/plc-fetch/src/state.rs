//! What is learned about a directory and nice to have in the next run, nothing more: a file that
//! is missing, damaged or of another version is as good as none.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use bincode::{Decode, Encode, config};

/// Longest state that is read. An URL is in it.
const STATE_BYTES_MAX: usize = 16 << 10;

/// What [`State`] looks like; another number is another look.
const VERSION: u32 = 1;

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct State {
    version: u32,
    /// About which directory.
    url: String,
    /// The pause between two requests that it bore.
    interval_us: u64,
}

impl State {
    pub(crate) fn new(url: &str, interval: Duration) -> Self {
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        Self { version: VERSION, url: url.to_owned(), interval_us }
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_us)
    }
}

/// What is known about a directory.
pub(crate) fn load(path: &Path, url: &str) -> Option<State> {
    let bytes = fs::read(path).ok().filter(|bytes| bytes.len() <= STATE_BYTES_MAX)?;
    let config = config::standard().with_limit::<STATE_BYTES_MAX>();
    let (state, _): (State, usize) = bincode::decode_from_slice(&bytes, config).ok()?;
    (state.version == VERSION && state.url == url).then_some(state)
}

/// Keeps it.
pub(crate) fn save(path: &Path, state: &State) -> io::Result<()> {
    let bytes = bincode::encode_to_vec(state, config::standard()).map_err(io::Error::other)?;
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_of_one_directory_is_said_of_that_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        assert_eq!(load(&path, "https://a.example"), None);
        let state = State::new("https://a.example", Duration::from_millis(600));
        save(&path, &state).unwrap();
        assert_eq!(load(&path, "https://a.example"), Some(state));
        assert_eq!(load(&path, "https://b.example"), None);
    }

    #[test]
    fn damaged_state_is_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        for bytes in [&b""[..], b"\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", &[0xfd; 20_000]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(load(&path, "https://a.example"), None);
        }
    }
}
