//! A folder with an index in it, and processes that work on it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
};

use didindex::{DidIndex, Entry, PlcDid};
use serde_json::Value;
use tempfile::TempDir;

pub struct Place(TempDir);

/// What an account is, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    key: Option<[u8; 34]>,
    status: &'static str,
    pds: Option<String>,
    history: Vec<(u64, Option<[u8; 34]>, &'static str)>,
}

impl State {
    fn of(entry: &Entry<'_>) -> Self {
        let history = entry.history();
        Self {
            key: entry.key(),
            status: entry.status().name(),
            pds: entry.pds().map(str::to_owned),
            history: history
                .map(|period| (period.from_ms, period.key, period.status.name()))
                .collect(),
        }
    }

    /// An index that was built before an account had its second key has not kept when it had its
    /// first, which counts from the beginning of time anyway.
    fn forget_the_first_time(&mut self) {
        if let Some((from_ms, ..)) = self.history.first_mut() {
            *from_ms = 0;
        }
    }
}

pub fn states(index: &DidIndex) -> BTreeMap<PlcDid, State> {
    let mut states: BTreeMap<PlcDid, State> = BTreeMap::new();
    for (did, entry) in index.iter() {
        let mut state = State::of(&entry);
        assert_eq!(State::of(&index.entry(&did).unwrap()), state);
        state.forget_the_first_time();
        assert!(states.insert(did, state).is_none(), "{did} comes twice");
    }
    states
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_index-build"));
        command.args(args).current_dir(self.0.path());
        command.env_remove("SOVEREIGN_INDEX").env_remove("SOVEREIGN_OPS");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end of what it is given.
    pub fn run(&self, args: &[&str], input: &str) -> Output {
        run(self.command(args), input)
    }

    pub fn build(&self, name: &str, text: &str) -> Value {
        self.summary(&["--out", name, "--json", "--force"], text)
    }

    pub fn update(&self, args: &[&str], text: &str) -> Value {
        self.summary(&[&["--update", "did.idx", "--json"], args].concat(), text)
    }

    fn summary(&self, args: &[&str], text: &str) -> Value {
        let output = self.run(args, text);
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Begins an update that goes on until its input is closed.
    pub fn keep(&self, args: &[&str]) -> Keeper {
        let mut command = self.command(&[&["--update", "did.idx"], args].concat());
        let mut child = command.stderr(Stdio::inherit()).stdout(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        Keeper { child, stdin: Some(stdin) }
    }

    pub fn index(&self, name: &str) -> DidIndex {
        let index = DidIndex::open(&self.path(name)).unwrap();
        index.verify().unwrap();
        index
    }

    pub fn files(&self) -> Vec<OsString> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// The log or delta of `did.idx`.
    pub fn beside(&self, ending: &str) -> PathBuf {
        let id = DidIndex::open(&self.path("did.idx")).unwrap().id();
        self.path(&format!("did.idx.{id:016x}.{ending}"))
    }

    /// Compares `did.idx` with an index built of all these operations.
    pub fn assert_is_of(&self, text: &str) {
        self.build("whole.idx", text);
        let (kept, whole) = (self.index("did.idx"), self.index("whole.idx"));
        let (states, expected) = (states(&kept), states(&whole));
        assert_eq!(states.len(), expected.len());
        for (did, expected) in &expected {
            assert_eq!(&states[did], expected, "{did}");
        }
        assert_eq!(kept.cursor(), whole.cursor());
        let (kept, whole) = (kept.info(), whole.info());
        assert_eq!((kept.entries, kept.rotated), (whole.entries, whole.rotated));
    }
}

pub fn run(mut command: Command, input: &str) -> Output {
    e2e::fed(&mut command, input.as_bytes())
}

/// An update under way.
pub struct Keeper {
    pub child: Child,
    stdin: Option<ChildStdin>,
}

impl Keeper {
    /// Says whether it still listens.
    pub fn tell(&mut self, text: &str) -> bool {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).is_ok()
    }

    /// Closes its input and waits for it.
    pub fn end(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status:?}");
    }

    pub fn kill(mut self) {
        // It may have ended.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
