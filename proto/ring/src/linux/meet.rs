//! How the two sides find each other, in whichever order they are started.
//!
//! The writer binds its socket under another name and renames it when it listens. So the name
//! that readers look for is never that of a socket not yet ready, and one that a dead writer left
//! is replaced in the same step. The socket goes when a reader has joined: a ring is never joined
//! in mid-stream. Whoever finds no writer behind the name waits for the next rename.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::handshake::Peer;
use super::memory::Sizes;
use super::poll::Clock;
use super::shared::ReadEnd;
use crate::Error;
use crate::address::Place;

/// How often a reader looks for the writer if the system has no inotify left for it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How often it looks although it has: a network or container file system may tell nothing.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// A socket that a reader can find; gone when dropped.
#[derive(Debug)]
struct Listening {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The writer's lock is held, so the name is ours. A name that stays is replaced by the
        // next writer.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn listen(place: &Place) -> Result<Listening, Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Path { path, source }
    };
    let (next, path) = (place.next_socket(), place.socket());
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&next)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&next).map_err(at(&next))?;
    // A reader that gives up between poll and accept must not leave the writer in accept.
    listener.set_nonblocking(true).map_err(at(&next))?;
    std::fs::set_permissions(&next, Permissions::from_mode(0o600)).map_err(at(&next))?;
    std::fs::rename(&next, &path).map_err(at(&path))?;
    Ok(Listening { listener, path })
}

/// The writer's part: waits for a reader that joins.
pub(super) fn accept(
    place: &Place,
    memory: BorrowedFd<'_>,
    sizes: Sizes,
    clock: Clock<'_>,
) -> Result<Peer, Error> {
    let listening = listen(place)?;
    loop {
        clock.readable(listening.listener.as_fd())?;
        let socket = match listening.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if is_passing(&error) => continue,
            Err(source) => return Err(Error::System { call: "accept", source }),
        };
        let met = Peer::identify(socket).and_then(|peer| {
            peer.offer(memory, sizes, clock)?;
            Ok(peer)
        });
        match met {
            // Not a reader, or one that ended meanwhile: the next one may be.
            Err(
                Error::Foreign { .. }
                | Error::NotARing { .. }
                | Error::HungUp { .. }
                | Error::Silent { .. },
            ) => {}
            decided => return decided,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

/// The reader's part: waits for a writer and takes its memory.
pub(super) fn connect(place: &Place, clock: Clock<'_>) -> Result<(Peer, ReadEnd), Error> {
    let path = place.socket();
    // Watched from before the first look, so that no rename is missed. Without inotify (there is
    // a limit a user) the reader looks from time to time.
    let renames = watch_renames(&place.directory);
    let pause = if renames.is_some() { LOOK_ANYWAY } else { LOOK_AGAIN };
    loop {
        match UnixStream::connect(&path) {
            Ok(socket) => {
                let peer = Peer::identify(socket)?;
                match peer.join(clock) {
                    Ok(end) => return Ok((peer, end)),
                    // The writer ended meanwhile; there may be another.
                    Err(Error::HungUp { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            // No name, or one that a dead writer left, or one whose writer has found its reader.
            Err(error) if is_absent(&error) => {}
            Err(source) => return Err(Error::Path { path, source }),
        }
        if clock.readable_within(renames.as_ref().map(AsFd::as_fd), Some(pause))? {
            // Emptied, whatever it says.
            if let Some(renames) = &renames {
                let _ = renames.read_events();
            }
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn watch_renames(directory: &Path) -> Option<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
    inotify.add_watch(directory, AddWatchFlags::IN_MOVED_TO).ok()?;
    Some(inotify)
}
