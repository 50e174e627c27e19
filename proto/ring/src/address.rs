//! Where the two sides of a ring meet: a name inside a directory that only this user can enter.
//!
//! | file | what it is |
//! |---|---|
//! | `ring-NAME.sock` | the writer's socket, mode 0600, there while it waits for a reader |
//! | `ring-NAME.next` | the same, before it is ready to be found |
//! | `ring-NAME.writer` `ring-NAME.reader` | locked while there is such a side; holds its pid in decimal |
//!
//! The directory is `$XDG_RUNTIME_DIR/sovereign`; without that variable `/run/user/UID/sovereign`
//! if the system has made `/run/user/UID`; else `/tmp/sovereign-UID`. It is made with mode 0700,
//! and one that belongs to somebody else or that others can enter is refused: whoever can place a
//! socket there can pose as a stage. Each file ends in a suffix of its own, so that no two names
//! can collide.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Error;

/// Longest name, in bytes. With the directory it has to fit the 108 bytes of a socket address.
pub const NAME_BYTES_MAX: usize = 64;

/// The name of a ring, checked, and the directory if it is not the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    name: Box<str>,
    directory: Option<PathBuf>,
}

impl Address {
    /// The ring of that name in the user's runtime directory. A name is 1 to [`NAME_BYTES_MAX`]
    /// characters of `A-Z a-z 0-9 . _ -`; anything else is [`Error::Name`].
    pub fn new(name: &str) -> Result<Self, Error> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(Error::Name { name: name.into() });
        }
        Ok(Self { name: name.into(), directory: None })
    }

    /// The same name in another directory, which has to be as private as the runtime directory.
    #[must_use]
    pub fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// The name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) use place::Place;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod place {
    use std::ffi::OsString;
    use std::fs::DirBuilder;
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::{Path, PathBuf};

    use super::Address;
    use crate::{Error, Side};

    /// The paths of one ring, in a directory that exists and was checked.
    #[derive(Debug)]
    pub(crate) struct Place {
        pub(crate) name: Box<str>,
        pub(crate) directory: PathBuf,
    }

    impl Address {
        /// Makes the directory if need be and checks it.
        pub(crate) fn place(&self) -> Result<Place, Error> {
            let user = nix::unistd::geteuid().as_raw();
            let directory = self.directory.clone().unwrap_or_else(|| {
                runtime_directory(std::env::var_os("XDG_RUNTIME_DIR"), user, Path::exists)
            });
            check_private(&directory, user)?;
            Ok(Place { name: self.name.clone(), directory })
        }
    }

    impl Place {
        pub(crate) fn socket(&self) -> PathBuf {
            self.file("sock")
        }

        pub(crate) fn next_socket(&self) -> PathBuf {
            self.file("next")
        }

        pub(crate) fn lock(&self, side: Side) -> PathBuf {
            self.file(match side {
                Side::Writer => "writer",
                Side::Reader => "reader",
            })
        }

        fn file(&self, suffix: &str) -> PathBuf {
            self.directory.join(format!("ring-{}.{suffix}", self.name))
        }
    }

    fn runtime_directory(
        xdg: Option<OsString>,
        user: u32,
        exists: impl Fn(&Path) -> bool,
    ) -> PathBuf {
        // The specification of the variable says that a relative path is to be ignored.
        let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
        let made_by_login = || Some(PathBuf::from(format!("/run/user/{user}")));
        match xdg.or_else(|| made_by_login().filter(|path| exists(path))) {
            Some(path) => path.join("sovereign"),
            None => PathBuf::from(format!("/tmp/sovereign-{user}")),
        }
    }

    fn check_private(directory: &Path, user: u32) -> Result<(), Error> {
        let at = |source: io::Error| Error::Path { path: directory.to_owned(), source };
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(error)),
            _ => {}
        }
        // Not followed if it is a link: in /tmp anybody could have put one there.
        let found = directory.symlink_metadata().map_err(at)?;
        if !found.is_dir() {
            return Err(at(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let mode = found.mode() & 0o7777;
        if found.uid() != user || mode & 0o077 != 0 {
            return Err(Error::Directory {
                path: directory.to_owned(),
                owner: found.uid(),
                mode,
                user,
            });
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_directory_is_the_variables_then_the_logins_then_one_in_tmp() {
            let xdg = |path: &str| Some(OsString::from(path));
            let at = |xdg, exists: bool| runtime_directory(xdg, 7, |_| exists);
            assert_eq!(at(xdg("/x"), true), Path::new("/x/sovereign"));
            assert_eq!(at(xdg("relative"), true), Path::new("/run/user/7/sovereign"));
            assert_eq!(at(None, true), Path::new("/run/user/7/sovereign"));
            assert_eq!(at(xdg(""), false), Path::new("/tmp/sovereign-7"));
        }

        #[test]
        fn a_directory_that_others_can_enter_is_refused() {
            use std::os::unix::fs::PermissionsExt;
            let parent = tempfile::tempdir().unwrap();
            let directory = parent.path().join("rings");
            let address = Address::new("a").unwrap().within(&directory);
            address.place().unwrap();
            assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert!(matches!(address.place(), Err(Error::Directory { mode: 0o755, .. })));
        }

        #[test]
        fn a_link_in_the_place_of_the_directory_is_refused() {
            let parent = tempfile::tempdir().unwrap();
            let link = parent.path().join("link");
            std::os::unix::fs::symlink(parent.path(), &link).unwrap();
            let found = Address::new("a").unwrap().within(&link).place();
            assert!(matches!(found, Err(Error::Path { .. })), "{found:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_or_too_long_are_refused() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        for good in ["a", "tap-1", "A.b_c-9", "..", longest.as_str()] {
            assert_eq!(Address::new(good).unwrap().name(), good);
        }
        let too_long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "a/b", "a b", "a\0", "\u{e9}", too_long.as_str()] {
            assert!(matches!(bad.parse::<Address>(), Err(Error::Name { .. })), "{bad:?}");
        }
    }
}
