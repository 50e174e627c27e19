//! `host` frames: a host's name goes by once, and by id afterwards.
//!
//! The header's `host` is the id that is being named; the body is
//!
//! | offset | size | field | meaning                                                     |
//! |-------:|-----:|-------|-------------------------------------------------------------|
//! |      0 |    1 | role  | 0: the host is a PDS, 1: it is a relay                      |
//! |      1 | rest | name  | canonical name, UTF-8, 1 to 260 bytes: lower case, without scheme, trailing slash or default port (`pds.example.com`, `127.0.0.1:2583`) |
//!
//! An id may be named again (a tool with several outputs names it on each): the last name stands.

use std::collections::HashMap;

use crate::{Error, Frame, Header, HostId, Kind, put as put_frame};

/// The longest name: 253 bytes of DNS name, a colon and a port, with room.
pub const NAME_BYTES_MAX: usize = 260;

/// As what a host is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// It speaks for its own accounts.
    Pds = 0,
    /// It passes on what others said.
    Relay = 1,
}

impl Role {
    /// `pds` or `relay`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Pds => "pds",
            Role::Relay => "relay",
        }
    }
}

/// What a `host` frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    /// As what it is listened to.
    pub role: Role,
    /// Its canonical name.
    pub name: &'a str,
}

/// Appends a `host` frame.
///
/// # Errors
/// [`Error::Body`] for a name that is empty or longer than [`NAME_BYTES_MAX`].
pub fn put(out: &mut Vec<u8>, id: HostId, role: Role, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::Body { kind: "host", bytes: name.len() + 1 });
    }
    let mut body = [0; NAME_BYTES_MAX + 1];
    let used = body.get_mut(..=name.len()).unwrap_or_default();
    if let Some((first, rest)) = used.split_first_mut() {
        *first = role as u8;
        rest.copy_from_slice(name.as_bytes());
    }
    put_frame(out, &Header { host: id, ..Header::new(Kind::HOST, 0) }, used)
}

/// Reads the body of a `host` frame.
///
/// # Errors
/// [`Error::Body`] if it does not have the form above.
pub fn read<'a>(frame: &Frame<'a>) -> Result<Host<'a>, Error> {
    let body = frame.body();
    let wrong = Error::Body { kind: "host", bytes: body.len() };
    let (role, name) = body.split_first().ok_or_else(|| wrong.clone())?;
    let role = match role {
        0 => Role::Pds,
        1 => Role::Relay,
        _ => return Err(wrong),
    };
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_empty() && name.len() <= NAME_BYTES_MAX => Ok(Host { role, name }),
        _ => Err(wrong),
    }
}

/// The most hosts that a stream may name: more than the directory has, and bounded memory.
pub const HOSTS_MAX: usize = 1 << 20;

/// Which id has which name, as far as a stream has said.
#[derive(Debug, Default, Clone)]
pub struct HostTable {
    hosts: HashMap<HostId, (Role, Box<str>)>,
}

impl HostTable {
    /// Learns from a `host` frame; other frames are ignored. Names beyond [`HOSTS_MAX`] are not kept.
    ///
    /// # Errors
    /// [`Error::Body`] if the frame does not have its form.
    pub fn apply(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        if frame.header.kind == Kind::HOST {
            let Host { role, name } = read(frame)?;
            if self.hosts.len() < HOSTS_MAX || self.hosts.contains_key(&frame.header.host) {
                self.hosts.insert(frame.header.host, (role, name.into()));
            }
        }
        Ok(())
    }

    /// Role and name of an id.
    #[must_use]
    pub fn get(&self, id: HostId) -> Option<Host<'_>> {
        self.hosts.get(&id).map(|(role, name)| Host { role: *role, name })
    }

    /// Forgets all, as a magic demands.
    pub fn clear(&mut self) {
        self.hosts.clear();
    }

    /// All that are named, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (HostId, Host<'_>)> {
        self.hosts.iter().map(|(id, (role, name))| (*id, Host { role: *role, name }))
    }
}
