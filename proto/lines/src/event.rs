//! The line of an event.

use atproto::Cid;
use atproto::event::{Event, Op, Ops};
use frame::host::HostTable;
use frame::{Frame, flags, number, verdict};
use serde::{Serialize, Serializer};

use crate::rfc3339;

/// The fields in the order in which they are printed. What an event does not have is null, so
/// that a line of any event answers the same questions; the last ones are left out.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    kind: &'static str,
    n: Option<u64>,
    host: Option<&'a str>,
    role: Option<&'static str>,
    epoch: u32,
    seq: u64,
    time: String,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    did: Option<&'a str>,
    rev: Option<&'a str>,
    since: Option<&'a str>,
    #[serde(serialize_with = "cid_text")]
    commit: Option<Cid>,
    verdict: Option<&'static str>,
    rule: Option<String>,
    notes: Vec<&'static str>,
    key: Option<String>,
    #[serde(serialize_with = "ops_list")]
    ops: Option<Ops<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a str>,
    bytes: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    flags: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Line<'a> {
    pub(crate) fn of(frame: &Frame<'a>, hosts: &'a HostTable) -> Result<Line<'a>, frame::Error> {
        let host = hosts.get(frame.header.host);
        let verdict = verdict::read(frame)?;
        let notes = verdict.map_or(0, |verdict| verdict.notes);
        let mut line = Line {
            kind: "event",
            n: number::read(frame),
            host: host.map(|host| host.name),
            role: host.map(|host| host.role.name()),
            epoch: frame.header.epoch,
            seq: frame.header.seq,
            time: rfc3339(frame.header.time_ns),
            event_type: None,
            did: None,
            rev: None,
            since: None,
            commit: None,
            verdict: verdict.map(|verdict| verdict.status.name()),
            rule: verdict.and_then(|verdict| verdict.rule).map(|rule| rule.to_string()),
            notes: verdict::notes::NAMES
                .iter()
                .filter(|(bit, _)| notes & bit != 0)
                .map(|(_, name)| *name)
                .collect(),
            key: verdict
                .and_then(|verdict| verdict.key)
                .and_then(|key| keys::PublicKey::from_bytes(&key).ok())
                .map(|key| key.to_did_key()),
            ops: None,
            active: None,
            status: None,
            handle: None,
            bytes: frame.body().len(),
            flags: if frame.header.flags & flags::REDACTED == 0 { &[] } else { &["redacted"] },
            error: None,
        };
        match atproto::event::parse(frame.body()) {
            Ok(event) => line.tell(event),
            Err(error) => line.error = Some(error.to_string()),
        }
        Ok(line)
    }

    /// Fills in what the event itself says.
    fn tell(&mut self, event: Event<'a>) {
        self.event_type = Some(event.type_name());
        self.did = event.did();
        self.rev = event.rev();
        match event {
            Event::Commit(commit) => {
                self.since = commit.since;
                self.commit = Some(commit.commit);
                self.ops = Some(commit.ops);
            }
            Event::Account(account) => {
                self.active = Some(account.active);
                self.status = account.status;
            }
            Event::Identity(identity) => self.handle = identity.handle,
            _ => {}
        }
    }
}

#[derive(Serialize)]
struct OpLine<'a> {
    action: &'a str,
    collection: &'a str,
    rkey: &'a str,
    #[serde(serialize_with = "cid_text")]
    cid: Option<Cid>,
    #[serde(serialize_with = "cid_text")]
    prev: Option<Cid>,
}

impl<'a> From<Op<'a>> for OpLine<'a> {
    fn from(op: Op<'a>) -> OpLine<'a> {
        OpLine {
            action: op.name,
            collection: op.collection(),
            rkey: op.rkey(),
            cid: op.cid,
            prev: op.prev,
        }
    }
}

fn ops_list<S: Serializer>(ops: &Option<Ops<'_>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(ops.iter().copied().flatten().map(OpLine::from))
}

fn cid_text<S: Serializer>(cid: &Option<Cid>, to: S) -> Result<S::Ok, S::Error> {
    match cid {
        Some(cid) => to.serialize_str(cid.text().as_str()),
        None => to.serialize_none(),
    }
}
