//! `--raw`: the events' bytes as they came off the socket, each behind a big-endian u32 length,
//! which is the form of captures that `pds-sim --replay` serves again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cli::OutputClosed;
use frame::host::HostTable;
use frame::{Frame, HostId};

/// How much gathers before it is handed on.
const BATCH_BYTES: usize = 256 << 10;

/// Where raw events go.
pub(crate) enum Raw {
    /// All of them to standard output. As a file: what the library has for it breaks writes at
    /// line ends, and these bytes have none.
    Stdout(BufWriter<File>),
    /// All of them into one file.
    One(BufWriter<File>, PathBuf),
    /// A file for each host.
    PerHost { dir: PathBuf, force: bool, files: HashMap<String, BufWriter<File>> },
}

impl Raw {
    /// A folder that exists, or a path with a slash at its end, means a file for each host.
    pub(crate) fn create(path: &Path, force: bool) -> anyhow::Result<Raw> {
        if path == Path::new("-") {
            let stdout = io::stdout().as_fd().try_clone_to_owned()?;
            cli::widen(stdout.as_fd());
            return Ok(Raw::Stdout(BufWriter::with_capacity(BATCH_BYTES, stdout.into())));
        }
        if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
            return Ok(Raw::PerHost { dir: path.into(), force, files: HashMap::new() });
        }
        Ok(Raw::One(BufWriter::with_capacity(BATCH_BYTES, open(path, force)?), path.into()))
    }

    pub(crate) fn takes_stdout(&self) -> bool {
        matches!(self, Raw::Stdout(_))
    }

    pub(crate) fn put(&mut self, frame: &Frame<'_>, hosts: &HostTable) -> anyhow::Result<()> {
        match self {
            Raw::Stdout(out) => write(out, frame).map_err(closed),
            Raw::One(out, path) => write(out, frame).with_context(|| path.display().to_string()),
            Raw::PerHost { dir, force, files } => {
                let name = file_name(frame.header.host, hosts);
                if !files.contains_key(&name) {
                    // There may be thousands, each with a small buffer.
                    let file = BufWriter::new(open(&dir.join(&name), *force)?);
                    files.insert(name.clone(), file);
                }
                match files.get_mut(&name) {
                    Some(out) => write(out, frame).with_context(|| name),
                    None => Ok(()),
                }
            }
        }
    }

    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Raw::Stdout(out) => out.flush().map_err(closed),
            Raw::One(out, path) => out.flush().with_context(|| path.display().to_string()),
            Raw::PerHost { files, .. } => {
                files.iter_mut().try_for_each(|(name, out)| out.flush().context(name.clone()))
            }
        }
    }

    /// Flushes, and syncs what is a file.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        match self {
            Raw::Stdout(_) => {}
            Raw::One(out, path) => {
                sync(out.get_ref()).with_context(|| path.display().to_string())?;
            }
            Raw::PerHost { files, .. } => {
                for (name, out) in files {
                    sync(out.get_ref()).with_context(|| name.clone())?;
                }
            }
        }
        Ok(())
    }
}

/// A host's name as a file name: it cannot leave the folder, whatever a stream says.
fn file_name(id: HostId, hosts: &HostTable) -> String {
    let name = hosts.get(id).map_or_else(|| format!("host-{}", id.0), |host| host.name.to_owned());
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_:[]".contains(c) { c } else { '_' };
    format!("{}.u32be", name.trim_start_matches('.').chars().map(safe).collect::<String>())
}

fn open(path: &Path, force: bool) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if !force && path.is_file() {
        anyhow::bail!("{}: exists; name another, or overwrite it with --force", path.display());
    }
    options.open(path).with_context(|| path.display().to_string())
}

fn write(out: &mut impl Write, frame: &Frame<'_>) -> io::Result<()> {
    // The payload's limit is far below 4 GiB.
    let len = u32::try_from(frame.body().len()).map_err(io::Error::other)?;
    out.write_all(&len.to_be_bytes())?;
    out.write_all(frame.body())
}

fn closed(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => error.into(),
    }
}

fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        // A named pipe or a device cannot be synced.
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        _ => Ok(()),
    }
}
