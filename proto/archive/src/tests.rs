//! The room as a whole. What is written is made here: streams of frames whose events are real
//! `#identity` events, so that they have accounts.

use std::path::Path;

use frame::host::Role;
use frame::mark::Mark;
use frame::verdict::Verdict;
use frame::{Frame, Header, HostId, Item, Kind, Tag};

use crate::{Error, Found, Fsync, Options, Outcome, Query, Reader, Totals, Writer};

mod archive;
mod compact;
mod crash;
mod damage;
mod find;
mod flips;
mod golden;
mod heads;
mod lattice;

/// Small segments, a small memory, and no waiting for the disk.
fn small() -> Options {
    Options {
        segment_bytes: u64::MAX,
        segment_events: 10,
        level: 1,
        fsync: Fsync::Never,
        window: 1000,
        ..Options::default()
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..24 => out.push(0x60 + len as u8),
        len @ 24..256 => out.extend([0x78, len as u8]),
        len => {
            out.push(0x79);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

fn did(account: u8) -> String {
    format!("did:plc:{}", char::from(b'a' + account % 26).to_string().repeat(24))
}

/// An `#identity` event of this account, `bytes` longer than the shortest.
fn event(account: u8, seq: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0xa2];
    text(&mut out, "t");
    text(&mut out, "#identity");
    text(&mut out, "op");
    out.push(1);
    out.push(0xa4);
    text(&mut out, "did");
    text(&mut out, &did(account));
    text(&mut out, "pad");
    text(&mut out, &"x".repeat(bytes));
    text(&mut out, "seq");
    out.push(0x1a);
    // Strict CBOR has no leading zeros.
    out.extend((0x7000_0000 + seq as u32).to_be_bytes());
    text(&mut out, "time");
    text(&mut out, "2026-08-01T00:00:00.000Z");
    assert!(atproto::event::parse(&out).is_ok_and(|event| event.did() == Some(&did(account))));
    out
}

/// A stream of frames that is being made.
#[derive(Default, Clone)]
struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    fn new() -> Stream {
        let mut stream = Stream::default();
        frame::put_magic(&mut stream.bytes);
        frame::host::put(&mut stream.bytes, HostId(3), Role::Pds, "pds.example.com").unwrap();
        frame::host::put(&mut stream.bytes, HostId(0), Role::Relay, "relay.example.com").unwrap();
        stream
    }

    fn event(&mut self, host: u32, account: u8, seq: u64, bytes: usize) {
        let header = Header {
            host: HostId(host),
            epoch: 2,
            seq,
            flags: u8::from(seq.is_multiple_of(7)),
            ..Header::new(Kind::EVENT, 1_750_000_000_000_000_000 + seq * 1_000_003)
        };
        let verdict = Verdict::ok(Some([account; 34])).to_bytes();
        let body = event(account, seq, bytes);
        let spans = [9; 12];
        let sections = [(Tag::SPANS, Some(&spans[..])), (Tag::VERDICT, Some(&verdict[..]))];
        frame::put_with_two(&mut self.bytes, &header, &body, sections).unwrap();
    }

    fn mark(&mut self, host: u32, seq: u64) {
        let mark = Mark { host: HostId(host), epoch: 2, seq };
        frame::mark::put(&mut self.bytes, &mut Vec::new(), 5, [mark]).unwrap();
    }

    fn hole(&mut self, host: u32, after: u64) {
        let hole = frame::hole::Hole { after, until: after + 5 };
        frame::hole::put(&mut self.bytes, HostId(host), 2, 6, hole).unwrap();
    }

    /// The frames of the stream.
    fn each(&self, mut see: impl FnMut(Item<'_>)) {
        let mut decoder = frame::Decoder::default();
        let mut rest = &self.bytes[..];
        while let Some((item, used)) = decoder.next(rest).unwrap() {
            see(item);
            rest = &rest[used..];
        }
    }
}

/// Feeds a stream to a writer, stopping at the first error.
fn feed(writer: &mut Writer, stream: &Stream) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = Vec::new();
    let mut failed = None;
    stream.each(|item| {
        if failed.is_none() {
            match item {
                Item::Start => writer.start(),
                Item::Frame(frame) => match writer.put(&frame) {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(error) => failed = Some(error),
                },
            }
        }
    });
    failed.map_or(Ok(outcomes), Err)
}

fn pack(dir: &Path, options: Options, stream: &Stream, seal: bool) -> Result<Totals, Error> {
    let mut writer = Writer::open(dir, options)?;
    feed(&mut writer, stream)?;
    writer.finish(seal)
}

/// What comes back, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Back {
    /// `None` for a control frame.
    n: Option<u64>,
    host: String,
    header: Header,
    body: Vec<u8>,
    verdict: Option<Vec<u8>>,
}

impl Back {
    fn of(n: Option<u64>, host: &str, frame: &Frame<'_>) -> Back {
        let header = Header { host: HostId(0), ..frame.header };
        let verdict = frame.section(Tag::VERDICT).map(<[u8]>::to_vec);
        Back { n, host: host.to_owned(), header, body: frame.body().to_vec(), verdict }
    }
}

/// What a stream should come back as, if nothing in it is repeated.
fn expected(stream: &Stream) -> Vec<Back> {
    let mut hosts = frame::host::HostTable::default();
    let mut back = Vec::new();
    let mut n = 0;
    stream.each(|item| {
        let Item::Frame(frame) = item else { return };
        hosts.apply(&frame).unwrap();
        let number = match frame.header.kind {
            Kind::HOST | Kind::MARK | Kind::END => return,
            Kind::EVENT => {
                n += 1;
                Some(n - 1)
            }
            _ => None,
        };
        back.push(Back::of(number, hosts.get(frame.header.host).unwrap().name, &frame));
    });
    back
}

/// Everything that is asked for, and what was damaged.
fn read(dir: &Path, query: Query) -> (Vec<Back>, Vec<crate::Damage>) {
    let mut reader = Reader::open(dir).unwrap();
    let mut scan = reader.scan(query);
    let (mut back, mut damage) = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    loop {
        // Through the frame that a tool would write, so that this is what is tested.
        bytes.clear();
        let (n, host) = match scan.next().unwrap() {
            None => return (back, damage),
            Some(Found::Damage(found)) => {
                damage.push(found);
                continue;
            }
            Some(Found::Event(event)) => {
                event.put(&mut bytes).unwrap();
                (Some(event.n), event.from.name.to_string())
            }
            Some(Found::Note(note)) => {
                note.put(&mut bytes).unwrap();
                (None, note.host.unwrap().1.name.to_string())
            }
        };
        let mut decoder = frame::Decoder::default();
        decoder.next(&frame::MAGIC).unwrap();
        let Some((Item::Frame(frame), _)) = decoder.next(&bytes).unwrap() else { panic!() };
        assert_eq!(frame::number::read(&frame), n);
        assert_eq!(frame.section(Tag::SPANS), None, "spans are made again, not stored");
        back.push(Back::of(n, &host, &frame));
    }
}

fn read_all(dir: &Path) -> Vec<Back> {
    let (back, damage) = read(dir, Query::default());
    assert_eq!(damage, []);
    back
}

/// A stream of `events` events of several accounts on two hosts, with marks and holes between.
fn stream(events: u64) -> Stream {
    let mut stream = Stream::new();
    for seq in 1..=events {
        let host = if seq % 3 == 0 { 0 } else { 3 };
        stream.event(host, (seq * 7 % 5) as u8, seq, (seq % 4) as usize * 30);
        if seq % 4 == 0 {
            stream.mark(host, seq);
        }
        if seq % 9 == 0 {
            stream.hole(host, seq);
        }
    }
    stream
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
