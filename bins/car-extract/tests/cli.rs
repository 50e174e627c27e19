//! The tool alone: recorded events in, block tables or records out.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use atproto::event::{self, Event};
use atproto::spans::{self, Role};
use atproto::{Cid, commit, mst};
use frame::host::Role as HostRole;
use frame::verdict::Verdict;
use frame::{Decoder, Frame, Header, HostId, Item, Kind, Tag, mark};
use ipld_core::ipld::Ipld;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const HOST: HostId = HostId(3);

/// Some of the recorded events: every n-th.
fn recorded(step: usize) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../tests/fixtures/refnet/firehose.u32be.zst");
    let bytes = zstd::decode_all(&std::fs::read(path).unwrap()[..]).unwrap();
    let (mut rest, mut events) = (&bytes[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (event, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        events.push(event.to_vec());
        rest = tail;
    }
    events.into_iter().step_by(step).collect()
}

fn header(seq: usize) -> Header {
    Header { host: HOST, epoch: 1, seq: seq as u64, ..Header::new(Kind::EVENT, 1_000) }
}

/// A whole stream of these events, of one host, with marks among them.
fn stream(events: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_magic(&mut out);
    frame::host::put(&mut out, HOST, HostRole::Pds, "pds.example.com").unwrap();
    for (seq, event) in events.iter().enumerate() {
        frame::put(&mut out, &header(seq), event).unwrap();
        if seq % 100 == 99 {
            let at = mark::Mark { host: HOST, epoch: 1, seq: seq as u64 };
            mark::put(&mut out, &mut Vec::new(), 2_000, [at]).unwrap();
        }
    }
    end(&mut out);
    out
}

fn end(out: &mut Vec<u8>) {
    frame::put(out, &Header::new(Kind::END, 3_000), b"").unwrap();
}

fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_car-extract"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str], input: &[u8]) -> Output {
    e2e::fed(&mut tool(args), input)
}

fn passed(output: Output) -> Vec<u8> {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    output.stdout
}

fn each_frame(bytes: &[u8], mut each: impl FnMut(&Frame<'_>)) {
    let (mut decoder, mut at) = (Decoder::default(), 0);
    while let Some((item, consumed)) = decoder.next(&bytes[at..]).unwrap() {
        if let Item::Frame(frame) = item {
            each(&frame);
        }
        at += consumed;
    }
    assert_eq!(at, bytes.len());
}

struct Table<'a>(BTreeMap<Cid, &'a [u8]>);

impl mst::Source for Table<'_> {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        self.0.get(cid).copied()
    }
}

#[test]
fn every_recorded_event_with_blocks_gets_a_table_that_proves_its_operations() {
    let events = recorded(5);
    let out = passed(run(&[], &stream(&events)));
    let (mut tables, mut others) = (0, 0);
    each_frame(&out, |frame| {
        if frame.header.kind != Kind::EVENT {
            others += 1;
            return;
        }
        let body = &events[frame.header.seq as usize];
        assert_eq!((frame.header, frame.body()), (header(frame.header.seq as usize), &body[..]));
        let event = event::parse(body).unwrap();
        let Some(table) = frame.section(Tag::SPANS) else {
            assert!(event.blocks().is_none());
            return;
        };
        tables += 1;
        let mut blocks = Table(BTreeMap::new());
        let mut found = Vec::new();
        for span in spans::read(table, body.len()).unwrap() {
            let data = &body[span.offset as usize..][..span.length as usize];
            let cid = Cid::from_slice(&body[span.cid_offset as usize..][..36]).unwrap();
            assert!(cid.is_of(data));
            blocks.0.insert(cid, data);
            found.push((span.role, cid));
        }
        let commits: Vec<&(Role, Cid)> = found.iter().filter(|(r, _)| *r == Role::Commit).collect();
        assert_eq!(commits.len(), 1);
        let signed = commit::parse(blocks.0[&commits[0].1]).unwrap();
        let Event::Commit(commit) = event else { return };
        assert_eq!(commits[0].1, commit.commit);
        assert!(found.contains(&(Role::Node, signed.data)));
        for op in commit.ops {
            assert_eq!(mst::find(op.path, &signed.data, &blocks), Ok(op.cid));
            assert!(op.cid.is_none_or(|cid| found.contains(&(Role::Record, cid))));
        }
    });
    assert!(tables > 1_000);
    assert_eq!(others, 1 + events.len() / 100 + 1);
}

#[test]
fn a_second_run_replaces_its_table_and_nothing_else() {
    let once = passed(run(&["-"], &stream(&recorded(40))));
    let twice = passed(run(&[], &once));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    each_frame(&once, |frame| first.push((frame.header.kind, frame.bytes().to_vec())));
    each_frame(&twice, |frame| second.push((frame.header.kind, frame.bytes().to_vec())));
    // The end is made anew, with its own time.
    assert_eq!(first.pop().unwrap().0, Kind::END);
    assert_eq!(second.pop().unwrap().0, Kind::END);
    assert!(first == second);
}

/// The first recorded commit with operations.
fn with_ops() -> Vec<u8> {
    let has_ops = |body: &Vec<u8>| matches!(event::parse(body), Ok(Event::Commit(commit)) if !commit.ops.is_empty());
    recorded(1).into_iter().find(has_ops).unwrap()
}

/// The same with one byte of its last block changed.
fn damaged() -> Vec<u8> {
    let mut body = with_ops();
    let (blocks, at) = event::parse(&body).unwrap().blocks().unwrap();
    let last = at + blocks.len() - 1;
    body[last] ^= 1;
    body
}

#[test]
fn what_cannot_be_read_passes_on_without_a_table() {
    let mut torn = damaged();
    let (_, at) = event::parse(&torn).unwrap().blocks().unwrap();
    torn[at] = 0xff;
    let events = [damaged(), torn, b"no event".to_vec(), Vec::new()];
    let input = stream(&events);
    let output = run(&["-v"], &input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" seq ")).collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[0].starts_with("car-extract: pds.example.com seq 0: did:plc:"), "{said}");
    assert!(lines[0].contains(" does not hash to bafyrei"), "{said}");
    assert!(lines[1].contains(" bytes announced, "), "{said}");
    assert!(lines[2].contains("seq 2: event: "), "{said}");
    let mut seen = Vec::new();
    each_frame(&output.stdout, |frame| {
        if frame.header.kind == Kind::EVENT {
            assert_eq!(frame.sections().count(), 0);
            seen.push(frame.body().to_vec());
        }
    });
    assert_eq!(seen, events);
    assert_eq!(String::from_utf8_lossy(&run(&[], &input).stderr), "");
}

#[test]
fn unknown_kinds_and_sections_pass_through() {
    let mut input = Vec::new();
    frame::put_magic(&mut input);
    frame::put(&mut input, &Header::new(Kind(77), 5), b"from the future").unwrap();
    let mut plain = Vec::new();
    frame::put(&mut plain, &header(1), &with_ops()).unwrap();
    let mut decoder = Decoder::default();
    let mut whole = frame::MAGIC.to_vec();
    whole.extend(&plain);
    let (_, start) = decoder.next(&whole).unwrap().unwrap();
    let Some((Item::Frame(event), _)) = decoder.next(&whole[start..]).unwrap() else { panic!() };
    frame::put_with(&mut input, &event, Tag(999), b"section of the future").unwrap();
    end(&mut input);
    let out = passed(run(&[], &input));
    let mut seen = Vec::new();
    each_frame(&out, |frame| {
        let tags: Vec<Tag> = frame.sections().map(|section| section.tag).collect();
        seen.push((frame.header.kind, frame.body().to_vec(), tags));
    });
    assert_eq!(seen[0], (Kind(77), b"from the future".to_vec(), vec![]));
    assert_eq!(seen[1].2, [Tag(999), Tag::SPANS]);
}

#[test]
fn a_torn_stream_is_passed_on_as_far_as_it_is_whole() {
    let events = recorded(200);
    let whole = stream(&events);
    let output = run(&[], &whole[..whole.len() - 200]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("torn"));
    let mut count = 0;
    each_frame(&output.stdout, |frame| count += usize::from(frame.header.kind == Kind::EVENT));
    assert_eq!(count, events.len() - 1);
}

/// JSON by the conventions of the data model, back as a value.
fn value(json: &Value) -> Ipld {
    match json {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Ipld::Integer(value.into()),
            (_, Some(value)) => Ipld::Integer(value.into()),
            _ => Ipld::Float(number.as_f64().unwrap()),
        },
        Value::String(value) => Ipld::String(value.clone()),
        Value::Array(list) => Ipld::List(list.iter().map(value).collect()),
        Value::Object(map) => match (map.get("$link"), map.get("$bytes")) {
            (Some(link), _) => Ipld::Link(link.as_str().unwrap().parse().unwrap()),
            (_, Some(bytes)) => {
                let bytes = bytes.as_str().unwrap().as_bytes();
                Ipld::Bytes(data_encoding::BASE64_NOPAD.decode(bytes).unwrap())
            }
            _ => Ipld::Map(map.iter().map(|(key, json)| (key.clone(), value(json))).collect()),
        },
    }
}

#[test]
fn every_record_is_printed_and_encodes_to_its_cid_again() {
    let events = recorded(3);
    let text = passed(run(&["--records"], &stream(&events)));
    let mut lines = text.split(|byte| *byte == b'\n');
    let (mut written, mut deleted) = (0, 0);
    for (seq, body) in events.iter().enumerate() {
        let Ok(Event::Commit(commit)) = event::parse(body) else { continue };
        for op in commit.ops {
            let line: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
            assert_eq!(line["did"], commit.repo);
            assert_eq!(line["rev"], commit.rev);
            assert_eq!((&line["seq"], &line["host"]), (&seq.into(), &"pds.example.com".into()));
            assert_eq!(line["action"], op.name);
            assert_eq!(line["collection"], op.collection());
            assert_eq!(line["rkey"], op.rkey());
            assert_eq!(line["verdict"], Value::Null);
            assert_eq!(line["cid"].as_str(), op.cid.map(|cid| cid.to_string()).as_deref());
            match op.cid {
                Some(cid) => {
                    let again = serde_ipld_dagcbor::to_vec(&value(&line["record"])).unwrap();
                    assert!(cid.is_of(&again), "{line}");
                    written += 1;
                }
                None => {
                    assert_eq!(line["record"], Value::Null);
                    deleted += 1;
                }
            }
        }
    }
    assert_eq!(lines.next(), Some(&b""[..]));
    assert_eq!(lines.next(), None);
    assert!(written > 1_000 && deleted > 50, "{written} {deleted}");
}

#[test]
fn the_verdict_stands_with_the_record() {
    let plain = stream(&[with_ops()]);
    let mut input = Vec::new();
    frame::put_magic(&mut input);
    each_frame(&plain, |frame| {
        if frame.header.kind == Kind::EVENT {
            let verdict = Verdict::ok(None).to_bytes();
            frame::put_with(&mut input, frame, Tag::VERDICT, &verdict).unwrap();
        } else {
            input.extend_from_slice(frame.bytes());
        }
    });
    let text = passed(run(&["--records"], &input));
    let first = text.split(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(first).unwrap()["verdict"], "ok");
}

#[test]
fn records_of_damaged_blocks_are_not_printed() {
    assert_eq!(passed(run(&["--records"], &stream(&[damaged()]))), b"");
}

#[test]
fn a_closed_output_ends_quietly() {
    for args in [&[][..], &["--records"]] {
        let mut child = tool(args).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        drop(child.stdout.take());
        let writer = std::thread::spawn(move || drop(stdin.write_all(&stream(&recorded(1)))));
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
        writer.join().unwrap();
    }
}

#[test]
fn a_signal_lets_it_drain() {
    let events = recorded(40);
    let input = stream(&events);
    let mut child = tool(&[]).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (head, tail) = input.split_at(input.len() / 2);
    stdin.write_all(head).unwrap();
    // Something comes out only when its signal handlers are in place.
    let mut out = vec![0; 8];
    stdout.read_exact(&mut out).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let tail = tail.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&tail));
    stdout.read_to_end(&mut out).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut count = 0;
    each_frame(&out, |frame| count += usize::from(frame.header.kind == Kind::EVENT));
    assert_eq!(count, events.len());
}

#[test]
fn files_are_read_in_order_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let events = recorded(100);
    std::fs::write(path("a"), stream(&events[..10])).unwrap();
    std::fs::write(path("b"), stream(&events[10..])).unwrap();
    passed(run(&[&path("a"), &path("b"), "-o", &path("out")], b""));
    let mut seen = Vec::new();
    each_frame(&std::fs::read(path("out")).unwrap(), |frame| {
        if frame.header.kind == Kind::EVENT {
            seen.push(frame.body().to_vec());
        }
    });
    assert_eq!(seen, events);
    let again = run(&[&path("a"), "-o", &path("out")], b"");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    let same = run(&[&path("a"), "-o", &path("a"), "--force"], b"");
    assert_eq!(same.status.code(), Some(2));
    assert_eq!(std::fs::read(path("a")).unwrap(), stream(&events[..10]));
}

#[test]
fn misuse_is_exit_code_two() {
    for args in [&["--no-such-option"][..], &["--records", "-o", "x.frames"]] {
        let output = run(args, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("car-extract: "));
    }
    let text = run(&[], b"{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(text.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&text.stderr).contains("not a frame stream"));
}

#[test]
fn help_and_version_say_what_it_is() {
    let help = String::from_utf8(passed(run(&["--help"], b""))).unwrap();
    assert!(help.contains("Example:") && help.contains("car-extract --records"), "{help}");
    let version = String::from_utf8(passed(run(&["--version"], b""))).unwrap();
    assert!(version.starts_with("car-extract 0."), "{version}");
}
