//! `did.idx` beside what else could hold the directory: how large it is, how fast it is built, and
//! how fast it answers, with the same accounts and the same questions, on this machine.
//!
//! Usage: `peers ACCOUNTS [PEER...]` measures, beside all peers if none is named (`none` is none);
//! `peers lines ACCOUNTS` prints the directory that is measured.
#![allow(missing_docs, reason = "a bench has no callers")]

mod directory;
mod measure;
mod ours;
mod peer;

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use atproto::PlcDid;
use didindex::DidIndex;

use crate::measure::{each, quarter};
use crate::peer::{Did, Fjall, Lmdb, Memory, Peer, Redb};

/// Rounds of everything hot. Short ones, in turn: other work on the machine hits some, and both of
/// what is compared.
const ROUNDS: usize = 40;
/// Questions of a round.
const HOT: usize = 20_000;
/// Rounds before those that count, where a peer has caches of its own.
const WARMING: usize = 20;
/// Questions after the files were forgotten.
const COLD: usize = 4_000;
/// What counts as level: other work on the machine moves figures by as much.
const LEVEL: f64 = 0.9;

/// Questions: accounts that are there and such that are not.
struct Questions {
    hits: Vec<PlcDid>,
    misses: Vec<PlcDid>,
}

impl Questions {
    fn new(accounts: u64, count: usize, round: usize) -> Self {
        let draws = (0..count as u64).map(|draw| draw + ((round * count) as u64));
        Self {
            hits: draws
                .clone()
                .map(|draw| directory::did(directory::any(draw, accounts)))
                .collect(),
            misses: draws.map(|draw| directory::did(accounts + draw)).collect(),
        }
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["lines", accounts] => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            ours::write_lines(accounts.parse()?, &mut out)?;
            Ok(out.flush()?)
        }
        [accounts, ref peers @ ..] if accounts != "--help" => run(accounts.parse()?, peers),
        _ => anyhow::bail!("usage: peers ACCOUNTS [PEER...] | peers lines ACCOUNTS"),
    }
}

fn run(accounts: u64, peers: &[&str]) -> Result<()> {
    let place = std::env::var_os("BENCH_DIR").unwrap_or_else(|| "target".into());
    std::fs::create_dir_all(&place)?;
    let folder = tempfile::tempdir_in(place)?;
    let path = folder.path().join("did.idx");
    size_and_building(accounts, folder.path(), &path)?;
    let mut ours = Ours::new(accounts, &path)?;
    ours.alone()?;
    goal("hits many at a time 3 times as quick as single ones", ours.together, 3.0);
    let wanted = |name: &str| peers.is_empty() || peers.contains(&name);
    let names = [Memory::NAME, Lmdb::NAME, Redb::NAME, Fjall::NAME];
    if !names.into_iter().any(wanted) {
        return Ok(());
    }
    let mut dids: Vec<Did> = (0..accounts).map(|one| *directory::did(one).as_bytes()).collect();
    dids.sort_unstable();
    println!(
        "\nBESIDE PEERS, one after another, each round in turn with did.idx; in brackets how many times"
    );
    println!("as long as did.idx; cold: what the system held of the files was forgotten before");
    println!(
        "{:<12} {:>9} {:>20} {:>20} {:>20} {:>20}",
        "ns", "bytes/DID", "hits", "misses", "cold hits", "cold misses"
    );
    let mut least = f64::MAX;
    if wanted(Lmdb::NAME) {
        least = least.min(ours.beside::<Lmdb>(folder.path(), &dids)?.0);
    }
    if wanted(Redb::NAME) {
        least = least.min(ours.beside::<Redb>(folder.path(), &dids)?.0);
    }
    if wanted(Fjall::NAME) {
        least = least.min(ours.beside::<Fjall>(folder.path(), &dids)?.0);
    }
    if wanted(Memory::NAME) {
        let (hits, misses) = ours.beside::<Memory>(folder.path(), &dids)?;
        goal("hits as quick as hashbrown", hits, LEVEL);
        goal("misses as quick as hashbrown", misses, LEVEL);
    }
    if least < f64::MAX {
        goal("hits 5 times as quick as every peer on disk", least, 5.0);
    }
    Ok(())
}

fn goal(what: &str, ratio: f64, least: f64) {
    let met = if ratio >= least { "met" } else { "NOT met" };
    println!("goal: {what}: {ratio:.2} (at least {least}): {met}");
}

fn size_and_building(accounts: u64, folder: &Path, path: &Path) -> Result<()> {
    let (made, parsed) = ours::bare_rates()?;
    let built = ours::build(accounts, path)?;
    let json = built.number("json_bytes");
    let share = |field: &str| 100.0 * built.number(field) / accounts as f64;
    println!(
        "did.idx of {accounts} accounts from {} operations of {:.0} bytes; {:.1} % of accounts had more",
        built.number("operations"),
        json / built.number("operations"),
        share("accounts_rotated"),
    );
    println!("than one key, on {} hosts", built.number("hosts"));
    // Everything that lies there, the log of the last days' operations included.
    let bytes = measure::bytes(folder)? as f64 / built.number("accounts");
    println!("bytes per DID: {bytes:.2}");
    goal("at most 60 bytes a DID", 60.0 / bytes, 1.0);
    println!(
        "build: {:.0} MB/s of raw JSON ({:.1} s), {:.0} MB a CPU second; most memory {:.0} MiB, on disk meanwhile {:.0} MiB",
        json / 1e6 / built.wall_seconds,
        built.wall_seconds,
        json / 1e6 / built.cpu_seconds,
        built.memory_bytes as f64 / 1048576.0,
        built.number("spilled_bytes") / 1048576.0,
    );
    println!(
        "beside it: the lines are made at {:.0} MB/s, and parsing them alone runs at {:.0} MB/s",
        made / 1e6,
        parsed / 1e6
    );
    goal("build at 500 MB/s of raw JSON", json / built.wall_seconds / 500e6, 1.0);
    Ok(())
}

/// The index that is measured.
struct Ours<'a> {
    accounts: u64,
    path: &'a Path,
    index: Option<DidIndex>,
    /// How many times as quick hits are many at a time.
    together: f64,
}

impl<'a> Ours<'a> {
    fn new(accounts: u64, path: &'a Path) -> Result<Self> {
        let index = Some(DidIndex::open(path)?);
        Ok(Self { accounts, path, index, together: 0.0 })
    }

    fn index(&self) -> Result<&DidIndex> {
        self.index.as_ref().context("the index is open")
    }

    /// Single and many at a time, hot and cold.
    fn alone(&mut self) -> Result<()> {
        let index = self.index()?;
        let warm = index.iter().filter(|(_, entry)| entry.key().is_some()).count();
        ensure!(warm > 0, "an index without keys");
        let mut figures = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            let Questions { hits, misses } = Questions::new(self.accounts, HOT, round);
            let (mut one, mut many) = (0, 0);
            figures[0].push(each(HOT, || one = ours::look_up(index, &hits)));
            figures[1].push(each(HOT, || many = ours::look_up_together(index, &hits)));
            ensure!(one == many && one >= HOT as u64 / 2, "hits: {one} and {many}");
            figures[2].push(each(HOT, || one = ours::look_up(index, &misses)));
            figures[3].push(each(HOT, || many = ours::look_up_together(index, &misses)));
            ensure!(one == 0 && many == 0, "misses were found");
        }
        let [hit, hits, miss, misses] = figures.each_ref().map(|figures| quarter(figures));
        self.together = hit / hits;
        println!(
            "\nDID.IDX, ns a look-up, the lower quarter of {ROUNDS} rounds of {HOT} (cold: {COLD} in all)"
        );
        println!("hot, one by one:       hits {hit:>9.1}   misses {miss:>9.1}");
        let apart = miss / misses;
        println!(
            "hot, many at a time:   hits {hits:>9.1}   misses {misses:>9.1}   ({:.2} and {apart:.2} times as quick)",
            self.together
        );
        let cold = |many: bool| -> Result<(f64, f64)> {
            let round = ROUNDS + usize::from(many);
            let Questions { hits, misses } = Questions::new(self.accounts, COLD, round);
            let mut sum = 0;
            let ask = if many { ours::look_up_together } else { ours::look_up };
            let first = {
                measure::forget(self.path)?;
                let index = DidIndex::open(self.path)?;
                each(COLD, || sum += ask(&index, &hits))
            };
            measure::forget(self.path)?;
            let index = DidIndex::open(self.path)?;
            let second = each(COLD, || sum += ask(&index, &misses));
            ensure!(sum > 0, "no hit");
            Ok((first, second))
        };
        self.index = None;
        for (many, what) in [(false, "cold, one by one: "), (true, "cold, many at a time:")] {
            let (hits, misses) = cold(many)?;
            println!("{what:<22} hits {hits:>9.0}   misses {misses:>9.0}");
        }
        self.index = Some(DidIndex::open(self.path)?);
        ensure!(self.index()?.iter().count() as u64 == self.accounts, "accounts are missing");
        Ok(())
    }

    /// Measures a peer in turn with the index; how many times as long its hits and misses take.
    fn beside<P: Peer>(&mut self, folder: &Path, dids: &[Did]) -> Result<(f64, f64)> {
        let path = folder.join("peer");
        P::build(&path, dids).context(P::NAME)?;
        let peer = P::open(&path, dids)?;
        let mut figures = [const { Vec::new() }; 4];
        for round in 0..WARMING + ROUNDS {
            let Questions { hits, misses } = Questions::new(self.accounts, HOT, round);
            let index = self.index()?;
            for (questions, is_hits) in [(hits, true), (misses, false)] {
                // Half of them bring what each keeps in the processor's caches back, as the other
                // has just driven it out; the other half is timed.
                let (warming, timed) = questions.split_at(HOT / 2);
                let (their_warming, their_timed) = (ours::bytes(warming), ours::bytes(timed));
                let mut own = 0;
                let own_ns = {
                    own += ours::look_up(index, warming);
                    each(HOT / 2, || own += ours::look_up(index, timed))
                };
                let mut found = peer.look_up(&their_warming)?;
                let mut last = Ok(0);
                let peer_ns = each(HOT / 2, || last = peer.look_up(&their_timed));
                found += last?;
                ensure!((own > 0) == is_hits && (found > 0) == is_hits, "{}", P::NAME);
                // The first rounds are for the caches.
                if round >= WARMING {
                    let at = if is_hits { 0 } else { 2 };
                    figures[at].push(own_ns);
                    figures[at + 1].push(peer_ns);
                }
            }
        }
        let [own_hit, hit, own_miss, miss] = figures.each_ref().map(|figures| quarter(figures));
        let (hits, misses) = (hit / own_hit, miss / own_miss);
        let taken = if P::ON_DISK { measure::bytes(&path)? } else { peer.memory_bytes() };
        drop(peer);
        let with = |ns: f64, ratio: f64| format!("{ns:.0} ({ratio:.2})");
        let [cold_hits, cold_misses] = if P::ON_DISK {
            [self.cold::<P>(&path, dids, true)?, self.cold::<P>(&path, dids, false)?]
        } else {
            ["".into(), "".into()]
        };
        println!(
            "{:<12} {:>9.1} {:>20} {:>20} {cold_hits:>20} {cold_misses:>20}",
            P::NAME,
            taken as f64 / dids.len() as f64,
            with(hit, hits),
            with(miss, misses),
        );
        if path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else if path.exists() {
            std::fs::remove_file(&path)?;
        }
        Ok((hits, misses))
    }

    /// Both with nothing in memory.
    fn cold<P: Peer>(&mut self, path: &Path, dids: &[Did], hits: bool) -> Result<String> {
        let questions = Questions::new(self.accounts, COLD, WARMING + ROUNDS);
        let questions = if hits { questions.hits } else { questions.misses };
        let theirs = ours::bytes(&questions);
        self.index = None;
        measure::forget(self.path)?;
        let index = DidIndex::open(self.path)?;
        let mut found = Ok(0);
        let mut sum = 0;
        let own = each(COLD, || sum += ours::look_up(&index, &questions));
        ensure!((sum > 0) == hits, "did.idx");
        self.index = Some(index);
        measure::forget(path)?;
        let peer = P::open(path, dids)?;
        let peers = each(COLD, || found = peer.look_up(&theirs));
        found?;
        Ok(format!("{peers:.0} ({:.2})", peers / own))
    }
}
