//! Endpoints: `-`, a file, or `ring:NAME`.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::usage;

/// Where frames come from or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Standard input or output. A file of this name is `./-`.
    Stdio,
    /// A file, or a named pipe.
    File(PathBuf),
    /// A ring in shared memory.
    Ring(String),
}

impl FromStr for Endpoint {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Endpoint, Self::Err> {
        Ok(match text.strip_prefix("ring:") {
            _ if text == "-" => Endpoint::Stdio,
            Some(name) => Endpoint::Ring(name.to_owned()),
            None => Endpoint::File(PathBuf::from(text)),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Stdio => f.write_str("-"),
            Endpoint::File(path) => path.display().fmt(f),
            Endpoint::Ring(name) => write!(f, "ring:{name}"),
        }
    }
}

impl Endpoint {
    /// Misuse if what is written, `out`, is one of these others: a file is emptied before it is
    /// written. `what` says what the two are, such as `input and output`.
    ///
    /// # Errors
    /// A usage error that names the file.
    pub fn refuse_same(
        others: &[Endpoint],
        out: Option<&Endpoint>,
        what: &str,
    ) -> anyhow::Result<()> {
        let Some(out) = out.filter(|out| **out != Endpoint::Stdio) else { return Ok(()) };
        if others.iter().any(|other| other.same_as(out)) {
            return Err(usage(format!("{out} is both {what}")));
        }
        Ok(())
    }

    fn same_as(&self, other: &Endpoint) -> bool {
        match (self, other) {
            (Endpoint::File(a), Endpoint::File(b)) => match (a.metadata(), b.metadata()) {
                (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
                // Neither is there yet.
                (Err(_), Err(_)) => a == b,
                _ => false,
            },
            _ => self == other,
        }
    }
}
