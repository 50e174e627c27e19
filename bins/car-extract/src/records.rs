//! `--records`: one JSON line for each operation.

use std::io::Write;

use atproto::Cid;
use atproto::blocks::Blocks;
use atproto::event::{Action, Commit, Event, Op};
use cli::{Cli, Text};
use frame::host::HostTable;
use frame::{Frame, verdict};
use serde::{Serialize, Serializer};
use stats::Counter;

/// Everything of a line but the record.
#[derive(Serialize)]
struct Line<'a> {
    did: &'a str,
    rev: &'a str,
    seq: u64,
    host: Option<&'a str>,
    verdict: Option<&'static str>,
    action: &'a str,
    collection: &'a str,
    rkey: &'a str,
    #[serde(serialize_with = "as_text")]
    cid: Option<Cid>,
}

fn as_text<S: Serializer>(cid: &Option<Cid>, to: S) -> Result<S::Ok, S::Error> {
    cid.map(|cid| cid.text()).as_ref().map(|text| text.as_str()).serialize(to)
}

/// JSON lines on their way to standard output.
pub(crate) struct Records<'c> {
    text: Text<'c>,
    lines: Counter,
    missing: Counter,
}

impl<'c> Records<'c> {
    pub(crate) fn new(cli: &'c Cli) -> Records<'c> {
        let (lines, missing) = (cli.stats().named("records"), cli.stats().named("missing-block"));
        Records { text: Text::new(cli), lines, missing }
    }

    /// Appends the lines of an event.
    pub(crate) fn put(
        &mut self,
        frame: &Frame<'_>,
        hosts: &HostTable,
        event: &Event<'_>,
        blocks: &Blocks,
    ) -> anyhow::Result<()> {
        let Event::Commit(commit) = event else { return Ok(()) };
        let verdict = verdict::read(frame)?.map(|verdict| verdict.status.name());
        let host = hosts.get(frame.header.host).map(|host| host.name);
        for op in commit.ops {
            let block = match op.action {
                Action::Delete => None,
                _ => match op.cid.and_then(|cid| blocks.get(frame.body(), &cid)) {
                    Some(block) => Some(block),
                    None => {
                        self.missing.add(1);
                        continue;
                    }
                },
            };
            self.line(&line(commit, &op, frame.header.seq, host, verdict), block)?;
        }
        self.text.commit()
    }

    fn line(&mut self, line: &Line<'_>, block: Option<&[u8]>) -> anyhow::Result<()> {
        let text = self.text.buffer();
        serde_json::to_writer(&mut *text, line)?;
        // The object goes on behind its last field.
        text.pop();
        text.extend_from_slice(b",\"record\":");
        match block.map(|block| lines::record(text, block)) {
            Some(Ok(())) => text.extend_from_slice(b"}\n"),
            None => text.extend_from_slice(b"null}\n"),
            Some(Err(error)) => writeln!(text, "null,\"error\":\"record: {error}\"}}")?,
        }
        self.lines.add(1);
        Ok(())
    }

    /// Hands on what has gathered.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.text.flush()
    }
}

fn line<'a>(
    commit: &Commit<'a>,
    op: &Op<'a>,
    seq: u64,
    host: Option<&'a str>,
    verdict: Option<&'static str>,
) -> Line<'a> {
    Line {
        did: commit.repo,
        rev: commit.rev,
        seq,
        host,
        verdict,
        action: op.name,
        collection: op.collection(),
        rkey: op.rkey(),
        cid: op.cid,
    }
}
