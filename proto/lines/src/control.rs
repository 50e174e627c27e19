//! The lines of control frames.

use atproto::{Cid, Tid};
use frame::host::HostTable;
use frame::{Frame, hole, host, mark, repo};
use serde::Serialize;

use crate::rfc3339;

#[derive(Serialize)]
pub(crate) struct Host<'a> {
    kind: &'static str,
    id: u32,
    host: &'a str,
    role: &'static str,
}

impl<'a> Host<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Result<Host<'a>, frame::Error> {
        let host::Host { role, name } = host::read(frame)?;
        Ok(Host { kind: "host", id: frame.header.host.0, host: name, role: role.name() })
    }
}

#[derive(Serialize)]
pub(crate) struct Mark<'a> {
    kind: &'static str,
    time: String,
    marks: Vec<HostMark<'a>>,
}

#[derive(Serialize)]
struct HostMark<'a> {
    host: Option<&'a str>,
    epoch: u32,
    seq: u64,
}

impl<'a> Mark<'a> {
    pub(crate) fn of(frame: &Frame<'_>, hosts: &'a HostTable) -> Result<Mark<'a>, frame::Error> {
        let marks = mark::read(frame)?.map(|mark| HostMark {
            host: hosts.get(mark.host).map(|host| host.name),
            epoch: mark.epoch,
            seq: mark.seq,
        });
        Ok(Mark { kind: "mark", time: rfc3339(frame.header.time_ns), marks: marks.collect() })
    }
}

#[derive(Serialize)]
pub(crate) struct Hole<'a> {
    kind: &'static str,
    host: Option<&'a str>,
    epoch: u32,
    after: u64,
    until: u64,
    time: String,
}

impl<'a> Hole<'a> {
    pub(crate) fn of(frame: &Frame<'_>, hosts: &'a HostTable) -> Result<Hole<'a>, frame::Error> {
        let hole::Hole { after, until } = hole::read(frame)?;
        Ok(Hole {
            kind: "hole",
            host: hosts.get(frame.header.host).map(|host| host.name),
            epoch: frame.header.epoch,
            after,
            until,
            time: rfc3339(frame.header.time_ns),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct Repo<'a> {
    kind: &'static str,
    did: &'a str,
    rev: String,
    commit: Option<String>,
    records: u32,
    time: String,
}

impl<'a> Repo<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Result<Repo<'a>, frame::Error> {
        let (repo, paths) = repo::read(frame)?;
        Ok(Repo {
            kind: "repo",
            did: repo.did,
            rev: Tid(repo.rev).to_string(),
            commit: Cid::from_slice(&repo.commit).ok().map(|cid| cid.to_string()),
            records: paths.left(),
            time: rfc3339(frame.header.time_ns),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct End {
    kind: &'static str,
    time: String,
}

impl End {
    pub(crate) fn of(frame: &Frame<'_>) -> End {
        End { kind: "end", time: rfc3339(frame.header.time_ns) }
    }
}

/// A frame whose body this version does not show.
#[derive(Serialize)]
pub(crate) struct Other<'a> {
    kind: String,
    host: Option<&'a str>,
    seq: u64,
    time: String,
    bytes: usize,
}

impl<'a> Other<'a> {
    pub(crate) fn of(frame: &Frame<'_>, hosts: &'a HostTable) -> Other<'a> {
        let kind = frame.header.kind;
        Other {
            kind: kind.name().map_or_else(|| kind.0.to_string(), str::to_owned),
            host: hosts.get(frame.header.host).map(|host| host.name),
            seq: frame.header.seq,
            time: rfc3339(frame.header.time_ns),
            bytes: frame.body().len(),
        }
    }
}
