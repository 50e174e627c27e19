use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { message_bytes_max: 1000, read_past_bytes_max: 100_000 };

/// A server's frame: first byte, payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n if n < 126 => out.push(n as u8),
        n if n < 65536 => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

fn decode(stream: &[u8], size: usize) -> (Vec<String>, Option<Breach>) {
    decode_in_pieces(stream, size, LIMITS)
}

fn shown(messages: &[Message<'_>]) -> Vec<String> {
    messages.iter().map(|message| format!("{message:?}")).collect()
}

#[test]
fn messages_come_out_however_the_stream_is_cut() {
    let long = vec![7; 900];
    let stream = [
        frame(0x82, b"one"),
        frame(0x81, b"text"),
        frame(0x82, b""),
        frame(0x02, b"in "),
        frame(0x89, b"ping"),
        frame(0x00, b"three "),
        frame(0x8a, b""),
        frame(0x80, b"pieces"),
        frame(0x82, &long),
        frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
    ]
    .concat();
    let expected = shown(&[
        Message::Binary(b"one"),
        Message::Text(b"text"),
        Message::Binary(b""),
        Message::Ping(b"ping"),
        Message::Pong,
        Message::Binary(b"in three pieces"),
        Message::Binary(&long),
        Message::Close { code: Some(1000), reason: b"bye" },
    ]);
    for size in 1..stream.len() + 1 {
        assert_eq!(decode(&stream, size), (expected.clone(), None), "pieces of {size}");
    }
}

#[test]
fn a_message_over_the_limit_is_read_past_and_the_next_one_arrives() {
    let stream = [
        frame(0x82, &vec![1; 70_000]),
        frame(0x82, b"next"),
        // Over the limit only together.
        frame(0x02, &[2; 600]),
        frame(0x00, &[2; 600]),
        frame(0x80, &[2; 600]),
        frame(0x82, b"last"),
    ]
    .concat();
    let expected = shown(&[
        Message::TooLong { bytes: 70_000, beginning: &[1; 1000] },
        Message::Binary(b"next"),
        Message::TooLong { bytes: 1800, beginning: &[2; 1000] },
        Message::Binary(b"last"),
    ]);
    for size in [1, 5, 599, 1000, stream.len()] {
        assert_eq!(decode(&stream, size), (expected.clone(), None), "pieces of {size}");
    }
}

#[test]
fn no_more_than_the_beginning_of_a_message_over_the_limit_is_held() {
    let mut decoder = Decoder::new(LIMITS);
    let stream = frame(0x82, &vec![1; 70_000]);
    let mut input = &stream[..50_000];
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(decoder.unfinished_bytes(), LIMITS.message_bytes_max);
    assert!(decoder.is_within_message());
}

#[test]
fn a_message_exactly_at_the_limit_arrives() {
    let bytes = vec![3; 1000];
    let expected = shown(&[Message::Binary(&bytes)]);
    assert_eq!(decode(&frame(0x82, &bytes), 100), (expected, None));
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let limits = Limits { message_bytes_max: 5_000_000, read_past_bytes_max: 100_000_000 };
    let mut decoder = Decoder::new(limits);
    let mut head = vec![0x82, 127];
    head.extend_from_slice(&4_999_999u64.to_be_bytes());
    head.push(0);
    let mut input = head.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert!(decoder.unfinished_bytes() < 100);
}

#[test]
fn breaches_are_named() {
    let endless = [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat();
    for (stream, breach) in [
        (frame(0x83, b""), Breach::Opcode(3)),
        (frame(0x8b, b""), Breach::Opcode(11)),
        (frame(0xc2, b""), Breach::Reserved),
        (vec![0x82, 0x81, 0, 0, 0, 0, 0], Breach::Masked),
        (frame(0x09, b""), Breach::Control),
        (frame(0x89, &[0; 126]), Breach::Control),
        (frame(0x80, b""), Breach::Continuation),
        ([frame(0x02, b""), frame(0x82, b"")].concat(), Breach::Interleaved),
        (endless, Breach::Endless { bytes: u64::MAX }),
    ] {
        for size in [1, 3, 1000] {
            assert_eq!(decode(&stream, size), (vec![], Some(breach)), "{stream:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_alike_in_any_pieces(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_decoder(&data);
    }

    #[test]
    fn any_frames_decode_alike_in_any_pieces(
        frames in proptest::collection::vec(
            (prop_oneof![Just(0x82u8), Just(0x02), Just(0x00), Just(0x80), Just(0x89), Just(0x81)],
             proptest::collection::vec(any::<u8>(), 0..1100)), 0..8)
    ) {
        let stream: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        fuzz_decoder(&stream);
    }
}
