use proptest::prelude::*;

use super::*;
use crate::{Tag, host, mark, put, put_magic, put_with, verdict};

/// What a test writes: kind, flags, host, seq, body, sections.
type Written = (u8, u8, u32, u64, Vec<u8>, Vec<(u16, Vec<u8>)>);

fn written() -> impl Strategy<Value = Written> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let sections = prop::collection::vec((any::<u16>(), bytes(40)), 0..4);
    // An `end` must be followed by a magic, so the strategy leaves it out.
    let kind = any::<u8>().prop_filter("end", |kind| *kind != Kind::END.0);
    (kind, 0u8..16, any::<u32>(), any::<u64>(), bytes(300), sections)
}

fn encode(frames: &[Written]) -> Vec<u8> {
    let mut stream = Vec::new();
    put_magic(&mut stream);
    for (kind, flags, host, seq, body, sections) in frames {
        let header = Header {
            kind: Kind(*kind),
            flags: *flags,
            host: HostId(*host),
            epoch: 3,
            seq: *seq,
            time_ns: 77,
        };
        let sections = sections.iter().map(|(tag, data)| crate::Section { tag: Tag(*tag), data });
        crate::encode::put_sections(&mut stream, &header, body, sections).unwrap();
    }
    stream
}

fn header(kind: Kind) -> Header {
    Header::new(kind, 5)
}

proptest! {
    #[test]
    fn what_was_written_is_read_in_pieces_of_any_size(
        frames in prop::collection::vec(written(), 0..8),
        cuts in prop::collection::vec(1usize..200, 1..50),
    ) {
        let stream = encode(&frames);
        let mut decoder = Decoder::default();
        let (mut from, mut to, mut found, mut starts) = (0, 0, 0, 0);
        for cut in cuts.iter().cycle() {
            while let Some((item, used)) = decoder.next(&stream[from..to]).unwrap() {
                from += used;
                prop_assert_eq!(decoder.offset(), from as u64);
                match item {
                    Item::Start => starts += 1,
                    Item::Frame(frame) => {
                        let (kind, flags, host, seq, body, sections) = &frames[found];
                        prop_assert_eq!(frame.header.kind.0, *kind);
                        prop_assert_eq!(frame.header.flags, *flags);
                        prop_assert_eq!(frame.header.host.0, *host);
                        prop_assert_eq!(frame.header.seq, *seq);
                        prop_assert_eq!(frame.body(), &body[..]);
                        let read: Vec<_> = frame.sections().map(|s| (s.tag.0, s.data.to_vec())).collect();
                        prop_assert_eq!(&read, sections);
                        found += 1;
                    }
                }
            }
            if to == stream.len() { break; }
            prop_assert!(from == to || Decoder::wants(&stream[from..to]) > to - from);
            to = (to + cut).min(stream.len());
        }
        prop_assert_eq!((found, starts, from), (frames.len(), 1, stream.len()));
    }

    #[test]
    fn a_flipped_bit_in_a_header_is_seen(frames in prop::collection::vec(written(), 1..3), bit in 0usize..320) {
        let mut stream = encode(&frames);
        stream[8 + bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::default();
        let (_, used) = decoder.next(&stream).unwrap().unwrap();
        prop_assert_eq!(decoder.next(&stream[used..]), Err(Error::HeaderChecksum { offset: 8 }));
    }

    #[test]
    fn any_bytes_are_an_error_or_decode_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_decoder(&bytes);
        let mut framed = MAGIC.to_vec();
        framed.extend_from_slice(&bytes);
        fuzz_decoder(&framed);
    }
}

#[test]
fn the_example_of_the_doc_is_the_smallest_stream() {
    let hex = include_str!("../lib.rs")
        .lines()
        .skip_while(|line| !line.contains("53 56 52 4e 66"))
        .take(3)
        .flat_map(|line| line.trim_start_matches("//!").split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let mut stream = Vec::new();
    put_magic(&mut stream);
    put(&mut stream, &Header::new(Kind::END, 0), b"").unwrap();
    assert_eq!(hex.collect::<Vec<_>>(), stream);
}

#[test]
fn the_magic_read_as_a_length_is_over_every_limit() {
    let len = u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]);
    assert_eq!(len, 1_314_018_899);
    assert!(len as usize > PAYLOAD_BYTES_MAX);
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_payload_is_there() {
    let mut head = [0; HEADER_BYTES];
    head[..4].copy_from_slice(&(PAYLOAD_BYTES_MAX as u32 + 1).to_le_bytes());
    let crc = crc32c::crc32c(&head[..36]);
    head[36..].copy_from_slice(&crc.to_le_bytes());
    let mut decoder = Decoder::default();
    decoder.next(&MAGIC).unwrap();
    let limit = PAYLOAD_BYTES_MAX as u64;
    assert_eq!(decoder.next(&head), Err(Error::TooLong { offset: 8, bytes: limit + 1, limit }));
}

#[test]
fn other_files_are_named() {
    let found = |bytes: &[u8; 8]| match Decoder::default().next(bytes) {
        Err(Error::NotFrames { offset: 0, found }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(b"\x28\xb5\x2f\xfd1234"), Found::Zstd);
    assert_eq!(found(b"\x1f\x8b123456"), Found::Gzip);
    assert_eq!(found(b"{\"did\":\""), Found::Json);
    assert_eq!(found(b"\0\0\x01\x02\xa2atb"), Found::Capture);
    assert_eq!(found(b"whatever"), Found::Bytes(*b"whatever"));
    let newer = Decoder::default().next(b"SVRNfrm2");
    assert_eq!(newer, Err(Error::Version { offset: 0, found: "2".into() }));
}

#[test]
fn a_frame_behind_the_end_needs_a_magic() {
    let mut stream = MAGIC.to_vec();
    put(&mut stream, &header(Kind::END), b"").unwrap();
    let first = stream.len();
    put(&mut stream, &header(Kind::EVENT), b"x").unwrap();
    let mut decoder = Decoder::default();
    decoder.next(&stream).unwrap();
    decoder.next(&stream[8..]).unwrap();
    assert!(decoder.ended());
    assert!(matches!(decoder.next(&stream[first..]), Err(Error::NotFrames { .. })));
    assert_eq!(decoder.next(&MAGIC).unwrap(), Some((Item::Start, 8)));
    assert!(!decoder.ended());
}

#[test]
fn a_critical_flag_is_named_and_others_pass() {
    for (bits, expected) in [(0x0f, None), (0x20, Some(0x20))] {
        let mut stream = MAGIC.to_vec();
        put(&mut stream, &Header { flags: bits, ..header(Kind(99)) }, b"").unwrap();
        let mut decoder = Decoder::default();
        decoder.next(&stream).unwrap();
        match (decoder.next(&stream[8..]), expected) {
            (Ok(Some((Item::Frame(frame), _))), None) => assert_eq!(frame.header.flags, bits),
            (Err(Error::CriticalFlag { offset: 8, flag }), Some(bit)) => assert_eq!(flag, bit),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_section_replaces_only_an_earlier_one_of_its_kind() {
    let mut stream = MAGIC.to_vec();
    put(&mut stream, &header(Kind::EVENT), b"event").unwrap();
    for (tag, data) in
        [(Tag(70), "a"), (Tag::VERDICT, "old"), (Tag(71), "b"), (Tag::VERDICT, "new")]
    {
        let mut decoder = Decoder::default();
        decoder.next(&stream).unwrap();
        let Some((Item::Frame(frame), _)) = decoder.next(&stream[8..]).unwrap() else { panic!() };
        let mut next = MAGIC.to_vec();
        put_with(&mut next, &frame, tag, data.as_bytes()).unwrap();
        stream = next;
    }
    let mut decoder = Decoder::default();
    decoder.next(&stream).unwrap();
    let Some((Item::Frame(frame), _)) = decoder.next(&stream[8..]).unwrap() else { panic!() };
    assert_eq!(frame.body(), b"event");
    let sections: Vec<_> = frame.sections().map(|s| (s.tag, s.data)).collect();
    assert_eq!(sections, [(Tag(70), &b"a"[..]), (Tag(71), b"b"), (Tag::VERDICT, b"new")]);
}

#[test]
fn control_frames_say_what_was_put_into_them() {
    let mut stream = MAGIC.to_vec();
    host::put(&mut stream, HostId(7), host::Role::Relay, "relay.example.com").unwrap();
    let marks = [
        mark::Mark { host: HostId(7), epoch: 1, seq: u64::MAX },
        mark::Mark { host: HostId(8), epoch: 0, seq: 12 },
    ];
    mark::put(&mut stream, &mut Vec::new(), 9, marks).unwrap();
    let hole = crate::hole::Hole { after: 3, until: 9 };
    crate::hole::put(&mut stream, HostId(8), 2, 10, hole).unwrap();

    let (mut decoder, mut hosts, mut from) = (Decoder::default(), host::HostTable::default(), 0);
    let mut seen = Vec::new();
    while let Some((item, used)) = decoder.next(&stream[from..]).unwrap() {
        from += used;
        let Item::Frame(frame) = item else { continue };
        hosts.apply(&frame).unwrap();
        match frame.header.kind {
            Kind::MARK => assert!(mark::read(&frame).unwrap().eq(marks)),
            Kind::HOLE => assert_eq!(crate::hole::read(&frame), Ok(hole)),
            _ => {}
        }
        seen.push(frame.header.kind);
    }
    assert_eq!(seen, [Kind::HOST, Kind::MARK, Kind::HOLE]);
    let named = hosts.get(HostId(7)).unwrap();
    assert_eq!((named.role, named.name), (host::Role::Relay, "relay.example.com"));
    assert_eq!(hosts.get(HostId(8)), None);
}

#[test]
fn control_frames_of_another_form_are_refused() {
    let frame = |kind, body: &[u8]| {
        let mut stream = MAGIC.to_vec();
        put(&mut stream, &header(kind), body).unwrap();
        stream
    };
    let wrong = |kind, body: &[u8]| {
        let stream = frame(kind, body);
        let mut decoder = Decoder::default();
        decoder.next(&stream).unwrap();
        let Some((Item::Frame(frame), _)) = decoder.next(&stream[8..]).unwrap() else { panic!() };
        let result = match kind {
            Kind::HOST => host::read(&frame).map(|_| ()),
            Kind::MARK => mark::read(&frame).map(|_| ()),
            _ => crate::hole::read(&frame).map(|_| ()),
        };
        assert!(matches!(result, Err(Error::Body { .. })), "{kind:?} {body:?}");
    };
    for body in [&b""[..], b"\0", b"\x02name", b"\0\xff\xfe", &[0; 400]] {
        wrong(Kind::HOST, body);
    }
    wrong(Kind::MARK, b"fifteen bytes..");
    wrong(Kind::HOLE, b"short");
    assert!(host::put(&mut Vec::new(), HostId(1), host::Role::Pds, "").is_err());
}

#[test]
fn verdicts_come_back_and_short_ones_are_refused() {
    use verdict::{Rule, Status, Verdict, notes};
    let key = std::array::from_fn(|at| at as u8 + 1);
    let all = [
        Verdict { notes: notes::FOREIGN | 1 << 31, ..Verdict::ok(Some(key)) },
        Verdict::refused(Rule::BAD_SIGNATURE),
        Verdict::unchecked(Rule(60_000)),
    ];
    for verdict in all {
        let bytes = verdict.to_bytes();
        assert_eq!(Verdict::from_bytes(&bytes), Ok(verdict));
        assert!(Verdict::from_bytes(&bytes[..41]).is_err());
        assert!(Verdict::from_bytes(&[&[9], &bytes[1..]].concat()).is_err());
    }
    assert_eq!(all[2].rule.unwrap().to_string(), "rule-60000");
    assert_eq!(all[1].status.name(), Status::Refused.name());
    let names: std::collections::HashSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
}
