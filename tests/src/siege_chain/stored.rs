//! What lies behind the chain, held against what was sent.
//!
//! An event is known by its host and the number under which its first copy was sent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use frame::verdict::Status;
use frame::{Decoder, Frame, Item, Kind};

use super::open;
use crate::tool;

/// What is read at once, and at first.
const READ_BYTES: usize = 1 << 20;

/// What was sent.
pub(super) struct Truth {
    copies: u64,
    hosts: HashMap<String, Host>,
}

/// The events of a host.
#[derive(Default)]
struct Host {
    first: u64,
    /// Whether each of them is good.
    good: Vec<bool>,
}

impl Truth {
    /// Reads what `pds-sim` says.
    pub(super) fn read(path: &Path, copies: u64) -> Truth {
        let mut hosts: HashMap<String, Host> = HashMap::new();
        for line in BufReader::new(open(path)).lines() {
            let line = line.expect("a line of text");
            let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
            let name = line["host"].as_str().expect("a host");
            let seq = line["seq"].as_u64().expect("a number");
            if !hosts.contains_key(name) {
                hosts.insert(name.to_owned(), Host { first: seq, good: Vec::new() });
            }
            let host = hosts.get_mut(name).expect("it is there");
            assert_eq!(seq, host.first + host.good.len() as u64 * copies, "{name}: not in order");
            host.good.push(line["current"] == "ok");
        }
        Truth { copies, hosts }
    }

    /// How many events there are.
    pub(super) fn events(&self) -> u64 {
        self.hosts.values().map(|host| host.good.len() as u64).sum()
    }

    /// How many of them are good.
    pub(super) fn good(&self) -> u64 {
        let good = |host: &Host| host.good.iter().filter(|good| **good).count() as u64;
        self.hosts.values().map(good).sum()
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Events in the archive.
    pub events: u64,
    /// Good events that are not there.
    pub lost: u64,
    /// Events that are there again.
    pub twice: u64,
    /// Events that nobody sent.
    pub foreign: u64,
    /// Good events that were refused, though a copy may have been stored.
    pub refused_falsely: u64,
    /// The rules that refused them.
    pub false_rules: Vec<String>,
    /// False events that are in the archive.
    pub passed_falsely: u64,
    /// False events that were refused, each counted once.
    pub refused: u64,
}

/// How often each event of each host occurs.
struct Tally<'t> {
    truth: &'t Truth,
    counts: HashMap<&'t str, Vec<u32>>,
    foreign: u64,
}

impl<'t> Tally<'t> {
    fn new(truth: &'t Truth) -> Self {
        let of = |(name, host): (&'t String, &Host)| (name.as_str(), vec![0; host.good.len()]);
        Self { truth, counts: truth.hosts.iter().map(of).collect(), foreign: 0 }
    }

    /// One has occurred. `Some` says whether it is good.
    fn add(&mut self, name: &str, seq: u64) -> Option<bool> {
        let host = self.truth.hosts.get(name);
        let place = host.and_then(|host| seq.checked_sub(host.first));
        let at = place.map_or(usize::MAX, |place| (place / self.truth.copies) as usize);
        let count = self.counts.get_mut(name).and_then(|counts| counts.get_mut(at));
        let (Some(host), Some(count)) = (host, count) else {
            self.foreign += 1;
            return None;
        };
        *count += 1;
        host.good.get(at).copied()
    }

    /// Each event: whether it is good, and how often it occurred.
    fn each(&self) -> impl Iterator<Item = (bool, u32)> {
        self.truth.hosts.iter().flat_map(|(name, host)| {
            host.good.iter().copied().zip(self.counts[name.as_str()].iter().copied())
        })
    }
}

impl Stored {
    /// Reads the archive and the files of rejects of a folder.
    pub(super) fn read(dir: &Path, truth: &Truth) -> Stored {
        let mut stored = Stored::default();
        let mut tally = Tally::new(truth);
        let mut cat = tool("archive-cat")
            .arg(dir.join("archive"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("archive-cat runs");
        read(cat.stdout.take().expect("its output"), |name, frame| {
            stored.events += 1;
            tally.add(name, frame.header.seq);
        });
        assert!(cat.wait().expect("it ends").success(), "archive-cat failed");
        for (good, count) in tally.each() {
            match good {
                true if count == 0 => stored.lost += 1,
                true => stored.twice += u64::from(count - 1),
                false => stored.passed_falsely += u64::from(count),
            }
        }
        stored.foreign = tally.foreign;

        let mut tally = Tally::new(truth);
        for entry in std::fs::read_dir(dir.join("rejects")).expect("the rejects") {
            read(open(&entry.expect("an entry").path()), |name, frame| {
                let verdict = frame::verdict::read(frame).expect("a verdict").expect("a verdict");
                if verdict.status != Status::Refused {
                    return;
                }
                if tally.add(name, frame.header.seq) == Some(true) {
                    let rule =
                        verdict.rule.and_then(|rule| rule.name()).unwrap_or("unknown").to_owned();
                    if !stored.false_rules.contains(&rule) {
                        stored.false_rules.push(rule);
                    }
                }
            });
        }
        for (good, count) in tally.each().filter(|(_, count)| *count > 0) {
            match good {
                true => stored.refused_falsely += u64::from(count),
                false => stored.refused += 1,
            }
        }
        stored
    }
}

/// Reads the events of a stream, with the names of their hosts. It may be torn at its end: whoever
/// wrote it may have been killed.
fn read(mut input: impl Read, mut event: impl FnMut(&str, &Frame<'_>)) {
    let mut decoder = Decoder::default();
    let mut names: HashMap<u32, String> = HashMap::new();
    let mut buffer = vec![0; 2 * READ_BYTES];
    let (mut begin, mut end) = (0, 0);
    loop {
        buffer.copy_within(begin..end, 0);
        (begin, end) = (0, end - begin);
        if buffer.len() - end < READ_BYTES {
            buffer.resize(buffer.len() * 2, 0);
        }
        let bytes = input.read(&mut buffer[end..]).expect("a stream of frames");
        if bytes == 0 {
            return;
        }
        end += bytes;
        while let Some((item, bytes)) = decoder.next(&buffer[begin..end]).expect("frames") {
            begin += bytes;
            let Item::Frame(frame) = item else { continue };
            let id = frame.header.host.0;
            match frame.header.kind {
                Kind::HOST => {
                    let name = frame::host::read(&frame).expect("a host frame").name;
                    names.insert(id, name.to_owned());
                }
                Kind::EVENT => event(&names[&id], &frame),
                _ => {}
            }
        }
    }
}
