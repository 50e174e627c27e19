//! What was truly made, for the verdicts of others to be held against.
//!
//! One JSON object a line, in the order of making:
//! `{"host","seq","t","did","rev","ops","key","current","at_time","fault"}`. `key` signed the
//! event. `current` is the verdict under the account's key at the end of the run, `at_time` that
//! under the key that the directory had at the rev: `ok`, or the name of the rule that refuses.
//! The last five are there for events with a commit, `fault` only for one that was damaged.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::fault::Fault;

/// What is remembered of an event until the end.
pub struct Made {
    /// Number of its host.
    pub host: usize,
    /// Its number there.
    pub seq: i64,
    /// Its type.
    pub t: &'static str,
    /// Number of its account.
    pub member: usize,
    /// What it says of the account's repository.
    pub signed: Option<Signed>,
}

/// The signed part of an event.
pub struct Signed {
    /// Rev of the commit.
    pub rev: Box<str>,
    /// Number of operations.
    pub ops: usize,
    /// The key that signed, as the directory would name it.
    pub key: Arc<str>,
    /// What was done to the event.
    pub fault: Option<Fault>,
}

/// What the directory says of an account, from first to last, without what was nullified.
#[derive(Clone)]
pub struct History {
    /// The account.
    pub did: String,
    /// The TID of the moment from which on a key was named; no key when the DID was ended.
    pub keys: Vec<(String, Option<Arc<str>>)>,
}

#[derive(Serialize)]
struct Line<'a> {
    host: &'a str,
    seq: i64,
    t: &'a str,
    did: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
}

/// Writes the file whole, beside its place, and moves it there.
pub fn write(path: &Path, hosts: &[&str], members: &[&History], made: &[Made]) -> Result<()> {
    write_whole(path, |out| {
        for event in made {
            let (Some(host), Some(member)) = (hosts.get(event.host), members.get(event.member))
            else {
                continue;
            };
            let signed = event.signed.as_ref();
            let line = Line {
                host,
                seq: event.seq,
                t: event.t,
                did: &member.did,
                rev: signed.map(|signed| &*signed.rev),
                ops: signed.map(|signed| signed.ops),
                key: signed.map(|signed| &*signed.key),
                current: signed.map(|signed| signed.current(member)),
                at_time: signed.map(|signed| signed.at_time(member)),
                fault: signed.and_then(|signed| signed.fault).map(Fault::name),
            };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

impl Signed {
    fn current(&self, member: &History) -> &'static str {
        self.verdict(member.keys.last())
    }

    /// A rev before the first operation counts as under the first key: the first commit is
    /// signed before the DID is registered.
    fn at_time(&self, member: &History) -> &'static str {
        let later = member.keys.partition_point(|(from, _)| **from <= *self.rev);
        self.verdict(member.keys.get(later.saturating_sub(1)))
    }

    fn verdict(&self, period: Option<&(String, Option<Arc<str>>)>) -> &'static str {
        match (self.fault, period.and_then(|(_, key)| key.as_ref())) {
            (Some(fault @ (Fault::Content | Fault::Migration)), _) => fault.rule(),
            (_, None) => "tombstoned",
            // Under a key that did not sign, every signature is bad, however it is formed.
            (_, Some(key)) if *key != self.key => "bad-signature",
            (fault, Some(_)) => fault.map_or("ok", Fault::rule),
        }
    }
}

/// Writes a file beside its place and moves it there, so that it is never seen in part.
pub fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let mut name = path.file_name().context("a file needs a name")?.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let create = || -> Result<()> {
        let mut out = BufWriter::new(File::create(&part)?);
        fill(&mut out)?;
        out.flush()?;
        std::fs::rename(&part, path)?;
        Ok(())
    };
    create().with_context(|| format!("{}: cannot write it", path.display()))
}
