//! `--resume ARCHIVE`: what an archive says of the accounts, as of its last mark.
//!
//! What it holds behind its last mark comes again, since that mark is where hosts are resumed: it
//! is left out, so that it is judged as it was the first time. Repositories that were fetched
//! (`repo` frames) come from nowhere again and count wherever they lie: what comes again and is in
//! one already is a repeat, as it was then. What the archive learns later is kept here in memory
//! and dies with the process, as the next start learns it from the archive.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use archive::{Event as Stored, Found, Query, Reader};
use atproto::event::{self, Event};
use atproto::{Cid, Tid, car, commit};
use cli::Cli;
use frame::host::Role;
use frame::verdict::{self, Status};
use frame::{Frame, Kind};

use crate::heads::{Account, Head, Heads, HostKey};

/// Up to where hosts have been heard for good.
type Marks = HashMap<(Box<str>, Role), (u32, u64)>;

/// Learns what an archive says. Nothing, if there is none yet.
///
/// # Errors
/// What the archive says.
pub(crate) fn read(dir: &Path, heads: &mut Heads, cli: &Cli) -> anyhow::Result<()> {
    let name = || format!("--resume {}", dir.display());
    // Waits while a writer repairs.
    let Some(marks) = archive::marks(dir).with_context(name)? else { return Ok(()) };
    let marks: Marks = marks
        .into_iter()
        .map(|mark| ((mark.name.into(), mark.role), (mark.epoch, mark.seq)))
        .collect();
    let mut reader = Reader::open(dir).with_context(name)?;
    let mut scan = reader.scan(Query::default());
    let (mut events, mut repos) = (0u64, 0u64);
    while let Some(found) = scan.next().with_context(name)? {
        match found {
            Found::Event(stored) if is_behind(&marks, &stored) && stored.proof().is_some() => {
                events += 1;
                learn(heads, &stored);
            }
            Found::Note(note) if note.frame().header.kind == Kind::REPO => {
                repos += 1;
                learn_repo(heads, &note.frame());
            }
            Found::Damage(damage) => cli.warn(format_args!("{}: {damage}", name())),
            _ => {}
        }
    }
    cli.info(format_args!("{}: {events} events up to its last mark, {repos} repos", name()));
    Ok(())
}

/// Whether a mark covers an event.
fn is_behind(marks: &Marks, stored: &Stored<'_>) -> bool {
    let from = (stored.from.name.clone(), stored.from.role);
    marks.get(&from).is_some_and(|mark| (stored.epoch, stored.seq) <= *mark)
}

fn learn(heads: &mut Heads, stored: &Stored<'_>) {
    let Ok(event) = event::parse(stored.body) else { return };
    let Some(did) = event.did() else { return };
    let before = heads.get(did);
    let account = match &event {
        Event::Account(account) if account.active => Account { away: None, ..before },
        // What a relay said was its host's word, but that host is not in the archive.
        Event::Account(_) if stored.from.role == Role::Relay => return,
        Event::Account(_) => Account { away: Some(HostKey::of(&stored.from.name)), ..before },
        _ => match head(&event) {
            Some(head) if before.head.is_none_or(|before| before.rev < head.rev) => {
                Account { head: Some(head), healed: false, ..before }
            }
            _ => return,
        },
    };
    heads.put(did, account);
}

/// Learns a repository that was fetched and proved.
fn learn_repo(heads: &mut Heads, frame: &Frame<'_>) {
    let verdict = verdict::read(frame).ok().flatten();
    if verdict.is_none_or(|verdict| verdict.status != Status::Ok) {
        return;
    }
    let Ok((repo, _)) = frame::repo::read(frame) else { return };
    let cids = (Cid::from_slice(&repo.commit), Cid::from_slice(&repo.data));
    let (Ok(commit), Ok(data)) = cids else { return };
    let before = heads.get(repo.did);
    let head = Head { rev: Tid(repo.rev), commit, data };
    if before.head.is_none_or(|before| before.rev < head.rev) {
        heads.put(repo.did, Account { head: Some(head), healed: true, ..before });
    }
}

/// The head that a proved event made its account's.
fn head(event: &Event<'_>) -> Option<Head> {
    let (bytes, _) = event.blocks()?;
    let car = car::parse(bytes).ok()?;
    let root = match event {
        Event::Commit(commit) => commit.commit,
        _ => car.root()?,
    };
    let mut blocks = car.blocks().map_while(Result::ok);
    let block = blocks.find(|block| block.cid == root)?;
    let signed = commit::parse(block.data).ok()?;
    Some(Head { rev: signed.rev.parse().ok()?, commit: root, data: signed.data })
}
