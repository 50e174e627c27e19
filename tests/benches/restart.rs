//! How long the tools take from their start until they take input, with a small archive and one that
//! is sixteen times as large.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use e2e::Chain;
use frame::host::{self, Role};
use frame::verdict::Verdict;
use frame::{Header, HostId, Kind, Tag, mark};

use crate::ROUNDS;
use crate::measure::{Spread, grouped};
use crate::streams::Streams;

/// Events of the two archives; each is of one of a quarter as many accounts.
const EVENTS: [u64; 2] = [250_000, 4_000_000];
/// Events of a segment.
const SEGMENT: u64 = 16_384;

/// Prints what a start takes.
pub(crate) fn report(streams: &Streams) {
    println!(
        "\nRESTART: from the start of a tool to the end of an empty input, in ms: archives of small"
    );
    println!("events, {SEGMENT} to a segment; what is in the open log is read in full, as always");
    println!(
        "{:>12} {:>9} {:>14}   {:<24} {:<24} dedupe --prime",
        "events", "segments", "index bytes", "archive-pack", "sig-verify --resume"
    );
    let input = streams.scratch("restart.frames");
    let mut end = Vec::new();
    frame::put_magic(&mut end);
    frame::put(&mut end, &Header::new(Kind::END, 1), b"").expect("an end frame");
    std::fs::write(&input, end).expect("a file");
    let (ops, index) = (streams.scratch("restart-ops"), streams.scratch("restart.idx"));
    std::fs::create_dir_all(&ops).expect("a folder");
    let export = std::fs::read(e2e::fixture("refnet/plc-export.jsonl")).expect("the export");
    let export = zstd::encode_all(&export[..], 1).expect("zstd");
    std::fs::write(ops.join("00000000.jsonl.zst"), export).expect("a file");
    let ops = ops.to_str().expect("a path").to_owned();
    let index = index.to_str().expect("a path");
    Chain::new().stage("index-build", &["--ops", &ops, "--out", index]).succeed();
    for events in EVENTS {
        let folder = streams.scratch("restart");
        fill(&folder, events);
        let usage = archive::usage(&folder).expect("the archive");
        let folder_text = folder.to_str().expect("a path");
        let pack = start(&input, "archive-pack", &["--out", folder_text]);
        let verify = start(&input, "sig-verify", &["--index", index, "--resume", folder_text]);
        let prime = start(&input, "dedupe", &["--prime", folder_text]);
        println!(
            "{:>12} {:>9} {:>14}   {:<24} {:<24} {prime:.0}",
            grouped(events as f64),
            usage.segments,
            grouped(usage.index_bytes as f64),
            format!("{pack:.0}"),
            format!("{verify:.0}"),
        );
        std::fs::remove_dir_all(folder).expect("the archive");
    }
}

/// Has `archive-pack` make an archive of this many events: words on accounts, each with a mark now
/// and then.
fn fill(folder: &Path, events: u64) {
    let mut pack = e2e::tool("archive-pack");
    pack.arg("--out").arg(folder).args(["--segment-events", &SEGMENT.to_string(), "--level", "1"]);
    let mut pack = pack.stdin(Stdio::piped()).spawn().expect("archive-pack");
    let mut stdin = BufWriter::with_capacity(1 << 20, pack.stdin.take().expect("its input"));
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    frame::put_magic(&mut out);
    host::put(&mut out, HostId(1), Role::Pds, "pds.example.com").expect("a host frame");
    let verdict = Verdict::ok(None).to_bytes();
    for seq in 1..=events {
        let host = HostId(1);
        let header = Header { host, seq, ..Header::new(Kind::EVENT, seq * 1_000_000) };
        let body = event(seq % (events / 4), seq);
        let sections = [(Tag::VERDICT, Some(&verdict[..])), (Tag::NUMBER, None)];
        frame::put_with_two(&mut out, &header, &body, sections).expect("an event frame");
        if seq.is_multiple_of(1000) || seq == events {
            let mark = mark::Mark { host, epoch: 0, seq };
            mark::put(&mut out, &mut scratch, seq * 1_000_000, [mark]).expect("a mark frame");
        }
        stdin.write_all(&out).expect("archive-pack takes it");
        out.clear();
    }
    frame::put(&mut out, &Header::new(Kind::END, 1), b"").expect("an end frame");
    stdin.write_all(&out).and_then(|()| stdin.flush()).expect("archive-pack takes it");
    drop(stdin);
    assert!(pack.wait().expect("archive-pack").success());
}

/// An `#account` event.
fn event(account: u64, seq: u64) -> Vec<u8> {
    let mut out = vec![0xa2];
    text(&mut out, "t");
    text(&mut out, "#account");
    text(&mut out, "op");
    out.extend([1, 0xa4]);
    text(&mut out, "did");
    let letter = |at: u32| b"abcdefghijklmnopqrstuvwxyz234567"[(account >> (5 * at)) as usize % 32];
    let letters: String = (0..24).map(|at| char::from(letter(at % 12))).collect();
    text(&mut out, &format!("did:plc:{letters}"));
    text(&mut out, "seq");
    out.push(0x1a);
    // Strict CBOR has no leading zeros.
    out.extend((0x1000_0000 + seq as u32).to_be_bytes());
    text(&mut out, "time");
    text(&mut out, "2026-08-01T00:00:00.000Z");
    text(&mut out, "active");
    out.push(0xf5);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..24 => out.push(0x60 + len as u8),
        len => out.extend([0x78, len as u8]),
    }
    out.extend(text.as_bytes());
}

/// Milliseconds from the start of a tool to its end, which comes at once.
fn start(input: &PathBuf, tool: &str, args: &[&str]) -> Spread {
    let mut spread = Spread::default();
    for _ in 0..ROUNDS {
        let mut command: Command = e2e::tool(tool);
        command.args(args).arg(input).stdout(Stdio::null());
        let begun = Instant::now();
        assert!(command.status().expect(tool).success(), "{tool}");
        spread.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    spread
}
