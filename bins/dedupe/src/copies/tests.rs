use frame::host::Role;
use frame::{Decoder, HostId, Item};

use super::*;

const HOSTS: [(u32, Role, &str); 4] = [
    (1, Role::Pds, "a.example"),
    (2, Role::Pds, "b.example"),
    (3, Role::Relay, "r.example"),
    (4, Role::Relay, "s.example"),
];

/// Copies that know the hosts.
fn copies(window: usize) -> Copies {
    let mut copies = Copies::new(window, None, None, &Page::none()).unwrap();
    for (id, role, name) in HOSTS {
        copies.hosts.name(HostId(id), Host { role, name }, &copies.key);
    }
    copies
}

/// A signed event: what is not looked at for an identity is left empty.
fn sync(n: u64) -> Vec<u8> {
    let mut event = b"\xa2at\x65#syncbop\x01".to_vec();
    event.extend(b"\xa5cdidadcrevarcseq\x01dtimeatfblocks\x48");
    event.extend(n.to_le_bytes());
    event
}

fn stream(events: &[(u32, u64)]) -> Vec<u8> {
    let mut stream = frame::MAGIC.to_vec();
    for (seq, (host, n)) in events.iter().enumerate() {
        let header = Header { host: HostId(*host), seq: seq as u64, ..Header::new(Kind::EVENT, 1) };
        frame::put(&mut stream, &header, &sync(*n)).unwrap();
    }
    stream
}

fn frames(stream: &[u8]) -> Vec<Frame<'_>> {
    let (mut decoder, mut rest, mut frames) = (Decoder::default(), stream, Vec::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            frames.push(frame);
        }
    }
    frames
}

#[test]
fn what_is_prepared_is_what_comes() {
    assert!(matches!(event::parse(&sync(1)), Ok(Event::Sync(_))));
    let stream = stream(&[(1, 1), (1, 2), (1, 1), (2, 2), (2, 2), (3, 1), (4, 1)]);
    let expected = [false, false, true, false, true, false, true];
    for foreseen in [0, 3, 7] {
        let mut copies = copies(100);
        let frames = frames(&stream);
        for frame in frames.iter().take(foreseen) {
            assert!(copies.foresee(frame));
        }
        let told: Vec<bool> = frames.iter().map(|frame| copies.is_copy(frame).unwrap()).collect();
        assert_eq!(told, expected, "{foreseen} prepared");
        let tallies: Vec<_> =
            copies.hosts.iter().map(|host| (host.tally.first, host.tally.copies)).collect();
        assert_eq!(tallies, [(2, 1), (0, 2), (0, 1), (0, 1)]);
    }
}

#[test]
fn a_host_that_repeats_one_event_a_million_times_takes_nothing_from_others() {
    let mut copies = copies(60);
    let others: Vec<(u32, u64)> = (0..50).map(|n| (2, n)).collect();
    let stream = stream(&[&others[..], &[(1, 99)], &others].concat());
    let frames = frames(&stream);
    let (before, rest) = frames.split_at(50);
    let (repeated, behind) = rest.split_at(1);
    before.iter().for_each(|frame| assert!(!copies.is_copy(frame).unwrap()));
    assert!(!copies.is_copy(&repeated[0]).unwrap());
    for _ in 0..1_000_000 {
        assert!(copies.is_copy(&repeated[0]).unwrap());
    }
    // Everybody else's is as well known as before.
    behind.iter().for_each(|frame| assert!(copies.is_copy(frame).unwrap()));
    assert_eq!(copies.window.len(), 51);
}

#[test]
fn no_event_takes_memory() {
    let mut copies = copies(1_000);
    let events: Vec<(u32, u64)> =
        (0..20_000).map(|n| (1 + (n % 4) as u32, n / 2 % 7_000)).collect();
    let stream = stream(&events);
    let frames = frames(&stream);
    let mut dropped = 0;
    let mut go = |frames: &[Frame<'_>]| {
        for some in frames.chunks(AHEAD) {
            copies.tick().unwrap();
            some.iter().for_each(|frame| {
                copies.foresee(frame);
            });
            copies.window.fetch(&copies.hashes);
            for frame in some {
                dropped += usize::from(copies.is_copy(frame).unwrap());
            }
        }
    };
    let (warm, counted) = frames.split_at(1_000);
    go(warm);
    let info = allocation_counter::measure(|| go(counted));
    assert_eq!(info.count_total, 0);
    assert!(dropped > 0);
}
