//! `make bench-dedupe`: the duplicate filter from ring to ring, and its window beside what else
//! could remember.
//!
//! Usage: `dedupe TOOL` with the path of the built tool, or `dedupe window` for the second alone.
#![allow(missing_docs, reason = "a bench has no callers")]

use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use dashmap::DashSet;
use fastbloom::BloomFilter;
use frame::host::Role;
use frame::{Decoder, Header, HostId, Item, Kind};
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use joints::{cpu_seconds, goal, median};
use nix::sys::resource::UsageWho;
use ring::{CAPACITY_BYTES, Patience, Reader, Ready, Writer};
use seen::{Key, Window};

/// Bytes of an event, as the network has them on average.
const EVENT_BYTES: usize = 5_400;
/// Events of a run, half of them copies, and by how many a copy is later.
const EVENTS: usize = 600_000;
const LATE: usize = 1_000;
const ROUNDS: usize = 3;

/// Entries of the window alone, and look-ups of a round.
const ENTRIES: usize = 10_000_000;
const LOOK_UPS: usize = 2_000_000;
/// As many at a time as the tool has.
const AHEAD: usize = 32;

fn main() -> Result<()> {
    let tool = std::env::args().nth(1).context("usage: dedupe TOOL|window")?;
    println!("DEDUPE on {} cores", std::thread::available_parallelism()?);
    if tool != "window" {
        rings(&tool)?;
    }
    window()
}

/// From ring to ring.
fn rings(tool: &str) -> Result<()> {
    let template = Template::new()?;
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let name = |side: &str| format!("bench-{}-{side}{round}", std::process::id());
        let (to, from) = (name("to"), name("from"));
        let before = cpu_seconds(UsageWho::RUSAGE_CHILDREN);
        let begun = Instant::now();
        let mut child = Command::new(tool)
            .args([format!("ring:{to}"), "--out".into(), format!("ring:{from}")])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| tool.to_owned())?;
        let passed = std::thread::scope(|scope| {
            let reader = scope.spawn(|| count(&from));
            template.write(&to)?;
            reader.join().map_err(|_| anyhow::anyhow!("the reader"))?
        })?;
        ensure!(child.wait()?.success(), "{tool} failed");
        ensure!(passed == EVENTS / 2, "{passed} events passed");
        let cpu = cpu_seconds(UsageWho::RUSAGE_CHILDREN) - before;
        println!(
            "  {EVENTS} events of {EVENT_BYTES} bytes, half of them copies: {:.0} a CPU second, {:.0} a second",
            EVENTS as f64 / cpu,
            EVENTS as f64 / begun.elapsed().as_secs_f64()
        );
        rates.push(EVENTS as f64 / cpu);
    }
    goal("events a second and core, in 1,000", median(rates) / 1e3, 500.0);
    Ok(())
}

/// An event that is another one with each number that is written into it.
struct Template {
    event: Vec<u8>,
    /// Where in its blocks the number goes.
    at: usize,
}

impl Template {
    fn new() -> Result<Template> {
        let cid = |n: u8| {
            let bytes: Vec<u8> = [0x01, 0x71, 0x12, 0x20].into_iter().chain([n; 32]).collect();
            Cid::try_from(&bytes[..]).map(Ipld::Link)
        };
        let map = |fields: Vec<(&str, Ipld)>| {
            Ipld::Map(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<BTreeMap<_, _>>(),
            )
        };
        let text = |text: &str| Ipld::String(text.to_owned());
        let op = map(vec![
            ("action", text("create")),
            ("path", text("app.bsky.feed.like/3lbyzcisvhs2h")),
            ("cid", cid(1)?),
        ]);
        let event = |blocks: usize| -> Result<Vec<u8>> {
            let header = map(vec![("op", Ipld::Integer(1)), ("t", text("#commit"))]);
            let body = map(vec![
                ("ops", Ipld::List(vec![op.clone()])),
                ("rev", text("3lbyzcisvhs2h")),
                ("seq", Ipld::Integer(1 << 33)),
                ("repo", text("did:plc:44ybard66vv44zksje25o7dz")),
                ("time", text("2026-11-28T12:00:00.000Z")),
                ("blobs", Ipld::List(vec![])),
                ("since", text("3lbyzcisvhs2g")),
                ("blocks", Ipld::Bytes(vec![0xbb; blocks])),
                ("commit", cid(2)?),
                ("rebase", Ipld::Bool(false)),
                ("tooBig", Ipld::Bool(false)),
                ("prevData", cid(3)?),
            ]);
            let part = |value| serde_ipld_dagcbor::to_vec(value).context("DAG-CBOR");
            Ok([part(&header)?, part(&body)?].concat())
        };
        let rest = event(1_000)?.len() - 1_000;
        let event = event(EVENT_BYTES - rest)?;
        let at = event.windows(8).position(|bytes| bytes == [0xbb; 8]).context("blocks")?;
        Ok(Template { event, at })
    }

    /// All events, each twice.
    fn write(&self, ring: &str) -> Result<()> {
        let mut writer = Writer::create(ring, CAPACITY_BYTES, Patience::default())?;
        let mut bytes = frame::MAGIC.to_vec();
        frame::host::put(&mut bytes, HostId(1), Role::Pds, "pds.example.com")?;
        let mut event = self.event.clone();
        for seq in 0..EVENTS {
            // A thousand new ones, then the same thousand again.
            let number = (seq / (2 * LATE)) * LATE + seq % LATE;
            event[self.at..self.at + 8].copy_from_slice(&(number as u64).to_le_bytes());
            let header = Header { host: HostId(1), seq: seq as u64, ..Header::new(Kind::EVENT, 1) };
            frame::put(&mut bytes, &header, &event)?;
            if bytes.len() >= 64 << 10 {
                put(&mut writer, &bytes)?;
                bytes.clear();
            }
        }
        frame::put(&mut bytes, &Header::new(Kind::END, 1), b"")?;
        put(&mut writer, &bytes)?;
        Ok(writer.close()?)
    }
}

fn put(writer: &mut Writer, bytes: &[u8]) -> Result<()> {
    writer.reserve(bytes.len())?.copy_from_slice(bytes);
    writer.publish(bytes.len())?;
    Ok(writer.flush()?)
}

/// How many events come out.
fn count(ring: &str) -> Result<usize> {
    let mut reader = Reader::attach(ring, Patience::default())?;
    let (mut decoder, mut events) = (Decoder::default(), 0);
    let mut wanted = 1;
    while reader.wait_until(wanted)? == Ready::More {
        let mut used = 0;
        let data = reader.data()?;
        while let Some(located) = decoder.locate(&data[used..])? {
            if let Item::Frame(frame) = located.item(&data[used..]) {
                events += usize::from(frame.header.kind == Kind::EVENT);
            }
            used += located.len;
        }
        wanted = Decoder::wants(&data[used..]).max(data.len() - used + 1);
        reader.consume(used)?;
    }
    Ok(events)
}

/// Look-ups of what is there and what is not, half and half, in millions a second.
fn window() -> Result<()> {
    let key = Key::of([9; 16]);
    let hash = |n: usize| key.hash(|take| take(&n.to_le_bytes()));
    let keys: Vec<u128> = (0..ENTRIES).map(hash).collect();
    println!(
        "\nTHE WINDOW alone, {ENTRIES} entries, look-ups half hits and half misses; millions a CPU second"
    );
    let asked: Vec<u128> = (0..LOOK_UPS)
        .map(|n| match n % 2 {
            0 => keys[(n * 7_919) % ENTRIES],
            _ => hash(ENTRIES + n),
        })
        .collect();
    let mut ours = Window::new(ENTRIES, None)?;
    let before = cpu_seconds(UsageWho::RUSAGE_SELF);
    for some in keys.chunks(AHEAD) {
        ours.fetch(some);
        some.iter().for_each(|hash| {
            ours.insert(*hash);
        });
    }
    let filled = cpu_seconds(UsageWho::RUSAGE_SELF) - before;
    println!("  filled at {:.1}, with the system's pages", ENTRIES as f64 / filled / 1e6);
    let mut found = [0; 6];
    let many = each(|| {
        found[0] = 0;
        for some in asked.chunks(AHEAD) {
            ours.fetch(some);
            found[0] += some.iter().filter(|hash| ours.has(**hash)).count();
        }
    });
    let single = each(|| found[1] = asked.iter().filter(|hash| ours.has(**hash)).count());
    let filter_only = {
        let mut filter = BloomFilter::with_false_pos(0.006).seed(&7).expected_items(ENTRIES);
        keys.iter().for_each(|hash| {
            filter.insert(hash);
        });
        each(|| found[2] = asked.iter().filter(|hash| filter.contains(*hash)).count())
    };
    let dash = {
        let set: DashSet<u128> = keys.iter().copied().collect();
        each(|| found[3] = asked.iter().filter(|hash| set.contains(*hash)).count())
    };
    let mutex = {
        let set: Mutex<HashSet<u128>> = Mutex::new(keys.iter().copied().collect());
        each(|| {
            found[4] =
                asked.iter().filter(|hash| set.lock().is_ok_and(|set| set.contains(*hash))).count();
        })
    };
    black_box(found);
    for at in [0, 1, 3, 4] {
        ensure!(
            found[at] == LOOK_UPS / 2,
            "{} of {} found by number {at}",
            found[at],
            LOOK_UPS / 2
        );
    }
    for (name, rate) in [
        ("ours, 32 at a time (the tool's way)", many),
        ("ours, one by one", single),
        ("fastbloom (a filter alone: it errs)", filter_only),
        ("DashSet", dash),
        ("Mutex<HashSet>", mutex),
    ] {
        println!("  {name:<38} {rate:>7.1}   {:>5.2} times ours", rate / many);
    }
    goal("look-ups, millions a CPU second", many, 20.0);
    Ok(())
}

/// Millions of look-ups a CPU second.
fn each(mut look: impl FnMut()) -> f64 {
    let mut rates = Vec::new();
    for _ in 0..2 * ROUNDS + 1 {
        let before = cpu_seconds(UsageWho::RUSAGE_SELF);
        look();
        rates.push(LOOK_UPS as f64 / (cpu_seconds(UsageWho::RUSAGE_SELF) - before) / 1e6);
    }
    median(rates)
}
