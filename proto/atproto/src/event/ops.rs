//! The operations of a commit, read as they are asked for.

use super::Error;
use super::parse::{InField, required};
use crate::cbor::Reader;
use crate::cid::Cid;

/// What an operation does to its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A record where none was.
    Create,
    /// Another record in the place of one.
    Update,
    /// No record any more.
    Delete,
    /// An action that is not known here.
    Unknown,
}

impl Action {
    /// The word that events use; `unknown` for any other, which [`Op::name`] has.
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Unknown => "unknown",
        }
    }
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// What it does.
    pub action: Action,
    /// The action's name as the event has it.
    pub name: &'a str,
    /// `collection/rkey`, not checked.
    pub path: &'a str,
    /// The record; none with a delete.
    pub cid: Option<Cid>,
    /// The record before.
    pub prev: Option<Cid>,
}

impl<'a> Op<'a> {
    /// What is before the first slash of the path; all of it where there is none.
    pub fn collection(&self) -> &'a str {
        self.path.split_once('/').map_or(self.path, |(collection, _)| collection)
    }

    /// What is behind the first slash of the path; nothing where there is none.
    pub fn rkey(&self) -> &'a str {
        self.path.split_once('/').map_or("", |(_, rkey)| rkey)
    }

    /// An operation with the fields that all have and no others.
    fn usual(reader: &mut Reader<'a>) -> Option<Op<'a>> {
        let has_prev = reader.is_next(b"\xa4");
        if !(has_prev || reader.is_next(b"\xa3")) || !reader.is_next(b"\x63cid") {
            return None;
        }
        let cid = reader.usual_cid_or_null()?;
        let path = reader.is_next(b"\x64path").then(|| reader.usual_string(0x60))??;
        let path = std::str::from_utf8(path).ok()?;
        let mut prev = None;
        if has_prev {
            prev = reader.is_next(b"\x64prev").then(|| reader.usual_cid_or_null())??;
        }
        if !reader.is_next(b"\x66action") {
            return None;
        }
        let action = if reader.is_next(b"\x66create") {
            Action::Create
        } else if reader.is_next(b"\x66update") {
            Action::Update
        } else if reader.is_next(b"\x66delete") {
            Action::Delete
        } else {
            return None;
        };
        Some(Op { action, name: action.name(), path, cid, prev })
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Op<'a>, Error> {
        let mut ahead = *reader;
        if let Some(op) = Op::usual(&mut ahead) {
            *reader = ahead;
            return Ok(op);
        }
        let object = reader.position();
        let mut map = reader.map().field("ops")?;
        let (mut name, mut path, mut cid, mut prev) = (None, None, None, None);
        while let Some(key) = map.next_key(reader).field("ops")? {
            match key {
                "action" => name = Some(reader.text().field("ops.action")?),
                "path" => path = Some(reader.text().field("ops.path")?),
                "cid" => cid = reader.cid_or_null().field("ops.cid")?,
                "prev" => prev = reader.cid_or_null().field("ops.prev")?,
                _ => reader.skip_value().field("ops")?,
            }
        }
        let name = required(name, "ops.action", object)?;
        let known = [Action::Create, Action::Update, Action::Delete];
        let action = known.into_iter().find(|action| action.name() == name);
        let action = action.unwrap_or(Action::Unknown);
        Ok(Op { action, name, path: required(path, "ops.path", object)?, cid, prev })
    }
}

/// The operations of a commit. All were read once when the event was parsed, so
/// going through them cannot fail.
#[derive(Debug, Clone, Copy)]
pub struct Ops<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) left: u64,
}

impl<'a> Ops<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Ops<'a>, Error> {
        let left = reader.array().field("ops")?;
        let ops = Ops { reader: *reader, left };
        for _ in 0..left {
            Op::read(reader)?;
        }
        Ok(ops)
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Op<'a>;

    fn next(&mut self) -> Option<Op<'a>> {
        self.left = self.left.checked_sub(1)?;
        Op::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}
