//! What an audit says: a JSON line for each finding, and one at the end.

use std::collections::BTreeMap;

use cli::{Cli, OutputClosed, Text};
use didindex::PlcDid;
use plc::proof::{Entry, Proof};
use serde::Serialize;

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Finding {
    /// The operation fails.
    Invalid,
    /// The operation holds, and a newer server would not take it.
    Note,
}

/// A line about an operation.
#[derive(Serialize)]
struct Line {
    r#type: Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// None where it cannot be read.
    did: Option<String>,
    /// As it is written; none where it cannot be read.
    cid: Option<String>,
    rule: &'static str,
    detail: String,
}

/// What was found, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Different operations that were judged.
    pub(crate) operations: u64,
    pub(crate) dids: u64,
    /// What fails, lines of which nothing can be read included.
    pub(crate) invalid: u64,
    dids_invalid: u64,
    notes: u64,
    /// Proved, and then nullified.
    nullified: u64,
    repeated: u64,
    /// Lines of which not even the account can be read.
    unreadable: u64,
    /// How often each rule was broken, and each limit exceeded.
    rules: BTreeMap<&'static str, u64>,
    /// What went to the disk for lack of memory.
    pub(super) spilled_bytes: u64,
    pub(super) seconds: f64,
    /// The first that fails, for a message.
    pub(crate) first: Option<String>,
}

/// The last line.
#[derive(Serialize)]
struct Summary<'a> {
    r#type: &'static str,
    operations: u64,
    dids: u64,
    invalid: u64,
    dids_invalid: u64,
    notes: u64,
    nullified: u64,
    repeated: u64,
    unreadable: u64,
    rules: &'a BTreeMap<&'static str, u64>,
    spilled_bytes: u64,
    /// From the first line that was read to the last that was judged.
    seconds: f64,
    /// For a million operations.
    seconds_per_million: f64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.dids += other.dids;
        self.invalid += other.invalid;
        self.dids_invalid += other.dids_invalid;
        self.notes += other.notes;
        self.nullified += other.nullified;
        self.repeated += other.repeated;
        self.unreadable += other.unreadable;
        for (rule, count) in &other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
        if self.first.is_none() {
            self.first.clone_from(&other.first);
        }
    }

    /// For a million operations.
    pub(crate) fn seconds_per_million(&self) -> f64 {
        self.seconds * 1e6 / self.operations.max(1) as f64
    }
}

/// Lines that wait to be said, and their numbers.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<Line>,
    pub(super) tally: Tally,
}

impl Report {
    /// What was found out about an account.
    pub(super) fn account(
        &mut self,
        did: &PlcDid,
        entries: &[Entry<'_>],
        proof: &Proof,
        file: Option<&str>,
    ) {
        self.tally.dids += 1;
        self.tally.operations += proof.operations() as u64;
        self.tally.dids_invalid += u64::from(!proof.faults.is_empty());
        self.tally.nullified += proof.nullified as u64;
        self.tally.repeated += proof.repeated as u64;
        let mut found = |at: usize, r#type, rule, detail| {
            let cid = entries.get(at).map(|entry| entry.name.clone().into_owned());
            let (did, file) = (Some(did.to_string()), file.map(str::to_owned));
            self.line(Line { r#type, file, did, cid, rule, detail });
        };
        for (at, fault) in &proof.faults {
            found(*at, Finding::Invalid, fault.rule(), fault.to_string());
        }
        for (at, note) in &proof.notes {
            found(*at, Finding::Note, note.rule(), note.to_string());
        }
    }

    /// Notes something about an operation that a proof does not look at.
    pub(super) fn note(&mut self, entry: &Entry<'_>, rule: &'static str, detail: &str, file: &str) {
        self.line(Line {
            r#type: Finding::Note,
            file: Some(file.to_owned()),
            did: Some(entry.did.to_string()),
            cid: Some(entry.name.clone().into_owned()),
            rule,
            detail: detail.to_owned(),
        });
    }

    /// Something of which not even the account can be read.
    pub(super) fn unreadable(&mut self, detail: &str, file: Option<&str>) {
        self.tally.unreadable += 1;
        self.line(Line {
            r#type: Finding::Invalid,
            file: file.map(str::to_owned),
            did: None,
            cid: None,
            rule: "schema",
            detail: detail.to_owned(),
        });
    }

    fn line(&mut self, line: Line) {
        match line.r#type {
            Finding::Invalid => self.tally.invalid += 1,
            Finding::Note => self.tally.notes += 1,
        }
        *self.tally.rules.entry(line.rule).or_default() += 1;
        if line.r#type == Finding::Invalid && self.tally.first.is_none() {
            let known = [&line.file, &line.did, &line.cid].map(|name| name.as_deref());
            let mut first: Vec<&str> = known.into_iter().flatten().collect();
            first.extend([line.rule, &line.detail]);
            self.tally.first = Some(first.join(": "));
        }
        self.lines.push(line);
    }
}

/// Where findings are said. A reader that goes away ends the audit, unless an index waits for it.
pub(crate) struct Voice<'c> {
    text: Text<'c>,
    goes_on: bool,
    gone: bool,
}

impl<'c> Voice<'c> {
    pub(crate) fn new(cli: &'c Cli, goes_on: bool) -> Self {
        Self { text: Text::new(cli), goes_on, gone: false }
    }

    /// At once: what was found stays said, whatever comes after it.
    pub(super) fn say(&mut self, report: &Report) -> anyhow::Result<()> {
        if report.lines.is_empty() {
            return Ok(());
        }
        let said = report.lines.iter().try_for_each(|line| self.text.object(line));
        let said = said.and_then(|()| self.text.flush());
        self.minding(said)
    }

    /// The last line.
    pub(crate) fn end(&mut self, tally: &Tally) -> anyhow::Result<()> {
        let said = self.text.object(&Summary {
            r#type: "audit",
            operations: tally.operations,
            dids: tally.dids,
            invalid: tally.invalid,
            dids_invalid: tally.dids_invalid,
            notes: tally.notes,
            nullified: tally.nullified,
            repeated: tally.repeated,
            unreadable: tally.unreadable,
            rules: &tally.rules,
            spilled_bytes: tally.spilled_bytes,
            seconds: tally.seconds,
            seconds_per_million: tally.seconds_per_million(),
        });
        let said = said.and_then(|()| self.text.flush());
        self.minding(said)
    }

    fn minding(&mut self, said: anyhow::Result<()>) -> anyhow::Result<()> {
        match said {
            Err(error) if self.goes_on && (self.gone || error.is::<OutputClosed>()) => {
                self.gone = true;
                Ok(())
            }
            said => said,
        }
    }
}
