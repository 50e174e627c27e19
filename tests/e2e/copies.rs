//! What a second host repeats goes through `dedupe` (the first could have been refused for who
//! sent it), and the archive stores it once. What a host sends again is dropped. Whoever forges is
//! first at that, and hides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use e2e::{Chain, json_lines, refnet_events, truths};
use frame::host::Role;
use frame::{Decoder, Header, HostId, Item, Kind};
use ipld_core::ipld::Ipld;

use crate::exact::{archived, proved_events};
use crate::{Refnet, text};

/// The host that the capture's directory names.
const HOME: &str = "localhost:2583";

/// Behind the revs of the capture.
const TIME_NS: u64 = 1_800_000_000_000_000_000;

/// A host of a made-up stream, and how late it sends each event, in events.
struct Sender {
    role: Role,
    name: &'static str,
    late: usize,
    /// What it makes of an event.
    makes: fn(&[u8], u64) -> Vec<u8>,
}

fn true_to_it(event: &[u8], _: u64) -> Vec<u8> {
    event.to_vec()
}

/// Header and body of a commit or sync, as values; `None` for what nobody signed.
fn signed(event: &[u8]) -> Option<(&'static str, BTreeMap<String, Ipld>)> {
    ["#commit", "#sync"].into_iter().find_map(|t| {
        let header = BTreeMap::from([
            ("op".to_owned(), Ipld::Integer(1)),
            ("t".to_owned(), Ipld::String(t.into())),
        ]);
        let header = serde_ipld_dagcbor::to_vec(&Ipld::Map(header)).unwrap();
        let body = event.strip_prefix(&header[..])?;
        match serde_ipld_dagcbor::from_slice(body).unwrap() {
            Ipld::Map(body) => Some((t, body)),
            other => panic!("{other:?}"),
        }
    })
}

fn encoded(t: &str, body: BTreeMap<String, Ipld>) -> Vec<u8> {
    let header = BTreeMap::from([
        ("op".to_owned(), Ipld::Integer(1)),
        ("t".to_owned(), Ipld::String(t.into())),
    ]);
    let part = |map| serde_ipld_dagcbor::to_vec(&Ipld::Map(map)).unwrap();
    [part(header), part(body)].concat()
}

/// Another number, another time, a field that nobody knows: what servers do that pass events on.
fn wrapped_anew(event: &[u8], seq: u64) -> Vec<u8> {
    let Some((t, mut body)) = signed(event) else { return event.to_vec() };
    body.insert("seq".into(), Ipld::Integer(seq.into()));
    body.insert("time".into(), Ipld::String("2027-01-01T00:00:00.000Z".into()));
    body.insert("unheardOf".into(), Ipld::Bool(true));
    body.remove("blobs");
    encoded(t, body)
}

/// One byte of what is signed.
fn forged(event: &[u8], seq: u64) -> Vec<u8> {
    let Some((t, mut body)) = signed(event) else { return event.to_vec() };
    let Some(Ipld::Bytes(blocks)) = body.get_mut("blocks") else { panic!("no blocks") };
    let at = blocks.len() - 1 - seq as usize % (blocks.len() / 2);
    blocks[at] ^= 1;
    encoded(t, body)
}

/// The same events by all senders. Each keeps the order of an account and mixes the accounts its
/// own way.
fn stream(events: &[Vec<u8>], dids: &[String], senders: &[Sender]) -> Vec<u8> {
    let mut sent: Vec<(usize, usize, usize)> = Vec::new();
    for (who, sender) in senders.iter().enumerate() {
        let mut order: Vec<usize> = (0..events.len()).collect();
        let mixed = |event: &usize| {
            let salted = dids[*event]
                .bytes()
                .fold(who, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
            (*event / 50, salted % 97)
        };
        order.sort_by_key(mixed);
        sent.extend(
            order.into_iter().enumerate().map(|(at, event)| (at + sender.late, who, event)),
        );
    }
    sent.sort_by_key(|(at, who, _)| (*at, *who));
    let mut stream = frame::MAGIC.to_vec();
    for (sender, id) in senders.iter().zip(1..) {
        frame::host::put(&mut stream, HostId(id), sender.role, sender.name).unwrap();
    }
    let mut seqs = vec![0; senders.len()];
    for (at, who, event) in sent {
        seqs[who] += 1;
        let seq = seqs[who] + 1_000 * who as u64;
        let header =
            Header { host: HostId(1 + who as u32), seq, ..Header::new(Kind::EVENT, TIME_NS) };
        frame::put(&mut stream, &header, &(senders[who].makes)(&events[event], seq)).unwrap();
        if at % 500 == 0 {
            let mark = frame::mark::Mark { host: header.host, epoch: 0, seq };
            frame::mark::put(&mut stream, &mut Vec::new(), TIME_NS, [mark]).unwrap();
        }
    }
    frame::put(&mut stream, &Header::new(Kind::END, TIME_NS), b"").unwrap();
    stream
}

/// The accounts of the capture's events.
fn dids(refnet: &Offline, events: &[Vec<u8>]) -> Vec<String> {
    let alone = [Sender { role: Role::Pds, name: HOME, late: 0, makes: true_to_it }];
    let unmixed = vec![String::new(); events.len()];
    let path = refnet.write("alone.frames", &stream(events, &unmixed, &alone));
    let lines = Chain::new().stage("frame-cat", &["--events", &path]).succeed();
    let did = |line: serde_json::Value| line["did"].as_str().unwrap_or_default().to_owned();
    json_lines(&lines).into_iter().map(did).collect()
}

/// What is proved and used of a signed event, to know it by in whatever envelope.
fn content(event: &[u8]) -> Option<Vec<u8>> {
    let (t, mut body) = signed(event)?;
    for left_out in ["seq", "time", "unheardOf", "blobs", "tooBig", "rebase", "prev"] {
        body.remove(left_out);
    }
    Some(encoded(t, body))
}

fn bodies(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut decoder, mut rest, mut bodies) = (Decoder::default(), stream, Vec::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        match item {
            Item::Frame(frame) if frame.header.kind == Kind::EVENT => {
                bodies.push(frame.body().to_vec());
            }
            _ => {}
        }
    }
    bodies
}

/// The capture's index, without anybody who serves it.
struct Offline {
    dir: tempfile::TempDir,
    index: String,
}

impl Offline {
    fn new() -> Offline {
        let dir = tempfile::tempdir().unwrap();
        let index = text(&dir.path().join("did.idx")).to_owned();
        let export = e2e::fixture("refnet/plc-export.jsonl");
        let build = ["--ops", text(&export), "--out", &index];
        Chain::new().stage("index-build", &build).succeed();
        Offline { dir, index }
    }

    fn path(&self, name: &str) -> String {
        text(&self.dir.path().join(name)).to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
        self.path(name)
    }
}

/// The signed events of the capture that a key proves, by content, in order.
fn proved_content() -> Vec<Vec<u8>> {
    let mut proved: Vec<Vec<u8>> = proved_events().iter().filter_map(|it| content(it)).collect();
    proved.sort();
    proved
}

#[test]
fn a_forger_who_is_always_first_hides_nothing_and_brings_nothing_in() {
    let offline = Offline::new();
    let events: Vec<Vec<u8>> = refnet_events().into_iter().take(1_000).collect();
    let dids = dids(&offline, &events);
    let sender = |role, name, late, makes| Sender { role, name, late, makes };
    let senders = [
        sender(Role::Pds, "forger.example", 0, forged as fn(&[u8], u64) -> Vec<u8>),
        sender(Role::Pds, "wrapper.example", 60, wrapped_anew),
        sender(Role::Relay, "relay.example", 130, wrapped_anew),
        sender(Role::Pds, HOME, 220, true_to_it),
        sender(Role::Relay, "late.example", 300, true_to_it),
    ];
    let input = offline.write("all.frames", &stream(&events, &dids, &senders));
    let sent: BTreeSet<Vec<u8>> = events.iter().filter_map(|it| content(it)).collect();
    let expected: Vec<_> = proved_content().into_iter().filter(|it| sent.contains(it)).collect();
    for (foreign, by_index) in [("mark", false), ("refuse", false), ("refuse", true)] {
        let mut dedupe = vec!["--window", "100000", &input];
        if by_index {
            dedupe.extend(["--index", &offline.index]);
        }
        let output = Chain::new()
            .stage("dedupe", &dedupe)
            .stage("sig-verify", &["--index", &offline.index, "--foreign", foreign])
            .succeed();
        let mut passed: Vec<_> = bodies(&output).iter().filter_map(|it| content(it)).collect();
        passed.sort();
        // A `#sync` at the head has no effect, however often it comes: the archive's to settle.
        let once = |all: &[Vec<u8>]| {
            let mut once = all.to_vec();
            once.dedup();
            once
        };
        let is_commit = |it: &&Vec<u8>| signed(it).is_some_and(|(t, _)| t == "#commit");
        let commits = |all: &[Vec<u8>]| all.iter().filter(is_commit).count();
        assert!(once(&passed) == expected, "{foreign}, index {by_index}: {}", passed.len());
        assert_eq!(commits(&passed), commits(&expected), "{foreign}, index {by_index}");
        let (proved, archive) =
            (offline.write("proved", &output), offline.path(&format!("{foreign}-{by_index}")));
        Chain::new().stage("archive-pack", &["--out", &archive, &proved]).succeed();
        let stored = bodies(&Chain::new().stage("archive-cat", &[&archive]).succeed());
        let mut stored: Vec<_> = stored.iter().filter_map(|it| content(it)).collect();
        stored.sort();
        assert!(stored == expected, "{foreign}, index {by_index}: {} stored", stored.len());
    }
}

#[test]
fn a_window_much_smaller_than_the_stream_lets_late_copies_pass_and_the_archive_takes_none() {
    let (offline, events) = (Offline::new(), refnet_events());
    let dids = dids(&offline, &events);
    // Proved one by one: a single sig-verify would know the second as the repeat that it is.
    let verified = ["a.example", "b.example"].map(|name| {
        let relay = [Sender { role: Role::Relay, name, late: 0, makes: wrapped_anew }];
        let input = offline.write("relay.frames", &stream(&events, &dids, &relay));
        let output = offline.path(name);
        let verify = ["--index", &offline.index, &input, "--out", &output];
        Chain::new().stage("sig-verify", &verify).succeed();
        output
    });
    let expected = proved_content();
    let archive = offline.path("archive");
    let dedupe = ["--window", "60", &verified[0], &verified[1]];
    let passed = bodies(&Chain::new().stage("dedupe", &dedupe).succeed());
    assert_eq!(passed.iter().filter_map(|it| content(it)).count(), 2 * expected.len());
    Chain::new().stage("dedupe", &dedupe).stage("archive-pack", &["--out", &archive]).succeed();
    let stored = bodies(&Chain::new().stage("archive-cat", &[&archive]).succeed());
    let mut stored: Vec<_> = stored.iter().filter_map(|it| content(it)).collect();
    stored.sort();
    assert!(stored == expected, "{} stored, {} expected", stored.len(), expected.len());
}

#[test]
fn with_an_index_the_copies_behind_the_accounts_own_host_are_dropped() {
    let (offline, events) = (Offline::new(), refnet_events());
    let dids = dids(&offline, &events);
    let sender = |role, name, late| Sender { role, name, late, makes: true_to_it };
    let signed_events = events.iter().filter(|event| signed(event).is_some()).count();
    let kept = |late_home: usize, args: &[&str]| {
        let senders = [
            sender(Role::Relay, "relay.example", 500),
            sender(Role::Pds, HOME, late_home),
            sender(Role::Pds, "other.example", 500),
        ];
        let input = offline.write("own.frames", &stream(&events, &dids, &senders));
        let mut all = vec!["--window", "100000", &input];
        all.extend(args);
        let output = Chain::new().stage("dedupe", &all).succeed();
        bodies(&output).iter().filter(|event| signed(event).is_some()).count()
    };
    assert_eq!(kept(0, &[]), 3 * signed_events, "three sides");
    assert_eq!(kept(0, &["--index", &offline.index]), signed_events, "after the own host's");
    assert_eq!(kept(1_000, &["--index", &offline.index]), 3 * signed_events, "before it");
}

#[test]
fn a_primed_filter_sends_nothing_twice_down_the_line() {
    let (offline, events) = (Offline::new(), refnet_events());
    let dids = dids(&offline, &events);
    let relay = |makes| [Sender { role: Role::Relay, name: "relay.example", late: 0, makes }];
    let first = offline.write("first.frames", &stream(&events, &dids, &relay(true_to_it)));
    let archive = offline.path("archive");
    let dedupe = ["--window", "100000", "--prime", &archive];
    let run = |input: &str| {
        Chain::new()
            .stage("dedupe", &[&dedupe[..], &[input]].concat())
            .stage("sig-verify", &["--index", &offline.index])
            .stage("archive-pack", &["--out", &archive])
            .succeed();
    };
    // There is no archive yet: nothing is known.
    run(&first);
    // The relay again, behind a restart of its own: other numbers, other envelopes.
    let again = offline.write("again.frames", &stream(&events, &dids, &relay(wrapped_anew)));
    let passed = Chain::new().stage("dedupe", &[&dedupe[..], &[&again]].concat()).succeed();
    let mut passed: Vec<_> = bodies(&passed).iter().filter_map(|it| content(it)).collect();
    passed.sort();
    let proved = proved_content();
    assert!(passed.iter().all(|it| proved.binary_search(it).is_err()), "stored, and sent again");
    let unproved = events.iter().zip(truths()).filter(|(event, truth)| {
        signed(event).is_some() && truth.current != Some(true) && truth.at_time != Some(true)
    });
    assert_eq!(passed.len(), unproved.count());
    // A window smaller than the archive takes its newest events.
    let few = ["--window", "600", "--prime", &archive, &again];
    let passed = bodies(&Chain::new().stage("dedupe", &few).succeed());
    assert!(passed.len() > proved.len() / 2);
    assert!(Path::new(&archive).is_dir());
}

#[test]
fn two_hosts_with_the_same_events_make_an_archive_with_each_once() {
    let refnet = Refnet::start(&["--hosts", "2"]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    let archive = text(&archive);
    assert_eq!(refnet.sim.hosts.len(), 2);
    Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("dedupe", &["--window", "100000"])
        .stage("sig-verify", &["--index", &index])
        .stage("archive-pack", &["--out", archive])
        .succeed();
    let (mut events, _) = archived(&refnet, archive);
    let mut expected = proved_events();
    events.sort();
    expected.sort();
    assert!(events == expected, "{} events, {} expected", events.len(), expected.len());
}

#[test]
fn what_a_host_sends_again_is_dropped_and_what_a_second_relay_repeats() {
    let refnet = Refnet::start(&["--hosts", "2"]);
    let frames = refnet.path("all.frames");
    let tap = |role| {
        let mut args = vec!["--allow-private", "--cursor", "0", "--until-idle", "2"];
        refnet.sim.hosts.iter().for_each(|host| args.extend([role, host.as_str()]));
        Chain::new().stage("pds-tap", &args).succeed()
    };
    let events = |frames: &[u8], inputs: &[&str]| {
        std::fs::write(refnet.path("all.frames"), frames).unwrap();
        let mut args = vec!["--window", "100000"];
        args.extend(inputs);
        let output =
            Chain::new().stage("dedupe", &args).stage("frame-cat", &["--events"]).succeed();
        json_lines(&output)
    };
    let (all, once) = (text(&frames), e2e::truths().len());
    let unsigned = e2e::truths().iter().filter(|truth| truth.current.is_none()).count();
    let of_hosts = tap("--host");
    assert_eq!(events(&of_hosts, &[all]).len(), 2 * once, "two hosts are two sides");
    assert_eq!(events(&of_hosts, &[all, all]).len(), 2 * once, "each sent everything again");
    let of_relays = tap("--relay");
    let kept = events(&of_relays, &[all]);
    assert_eq!(kept.len(), once + unsigned, "relays are one side, for what is signed");
}
