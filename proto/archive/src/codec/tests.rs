//! Blocks of real events, of made-up ones, and of anything.

use proptest::prelude::*;

use super::*;

/// The events of the recorded network, with their accounts, those of an account together.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let with_did = |event: Vec<u8>| (crate::content::did(&event).to_owned(), event);
    let mut events: Vec<_> = e2e::refnet_events().into_iter().map(with_did).collect();
    events.sort_by(|a, b| a.0.cmp(&b.0));
    events
}

fn given(events: &[(String, Vec<u8>)]) -> Vec<Given<'_>> {
    let given =
        events.iter().map(|(did, body)| Given { did, seq: 7, sections: b"", body, base: None });
    given.collect()
}

fn metas<'a>(events: &[Given<'a>]) -> Vec<Meta<'a>> {
    events.iter().map(|event| Meta { did: event.did, seq: event.seq, base: None }).collect()
}

#[test]
fn recorded_events_come_back_from_a_tenth_of_their_bytes() {
    let events = recorded();
    let events = &given(&events)[..1500];
    let encoded = Encoder::new(3).unwrap().encode(events).unwrap();
    assert_eq!(encoded.codec, APART);
    let raw: usize = events.iter().map(|event| event.body.len()).sum();
    assert!(encoded.bytes.len() * 8 < raw, "{} of {raw} bytes", encoded.bytes.len());
    let mut decoder = Decoder::new().unwrap();
    let metas = metas(events).into_iter();
    let block = decoder.decode(APART, &encoded.bytes, encoded.raw_len, metas).unwrap();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(block.event(at).unwrap().body, event.body, "event {at}");
    }
}

#[test]
fn no_commit_of_the_recorded_network_is_kept_whole() {
    let events = recorded();
    let events = &given(&events)[..600];
    let mut encoder = Encoder::new(1).unwrap();
    let mut whole = vec![false; events.len()];
    assert!(encoder.take_apart(events, &mut whole));
    encoder.encode(events).unwrap();
    assert!(encoder.out.of(streams::Stream::Raw).is_empty());
}

/// A damaged event must come back as it is, whatever its damage does to what follows.
#[test]
fn events_with_any_byte_flipped_come_back() {
    let mut events = recorded();
    events.truncate(60);
    for (at, (_, body)) in events.iter_mut().enumerate() {
        let place = at * 7919 % body.len();
        body[place] ^= 1 << (at % 8);
    }
    let events = given(&events);
    let encoded = Encoder::new(1).unwrap().encode(&events).unwrap();
    let metas = metas(&events).into_iter();
    let mut decoder = Decoder::new().unwrap();
    let block = decoder.decode(encoded.codec, &encoded.bytes, encoded.raw_len, metas).unwrap();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(block.event(at).unwrap().body, event.body, "event {at}");
    }
}

#[test]
fn a_damaged_block_is_an_error_and_no_panic() {
    let events = recorded();
    let events = &given(&events)[..20];
    let encoded = Encoder::new(1).unwrap().encode(events).unwrap();
    let mut decoder = Decoder::new().unwrap();
    for at in (0..encoded.bytes.len()).step_by(5) {
        let mut damaged = encoded.bytes.clone();
        damaged[at] ^= 0x55;
        let metas = metas(events).into_iter();
        let _ = decoder.decode(APART, &damaged, encoded.raw_len, metas);
        let metas = self::metas(events).into_iter();
        let _ = decoder.decode(APART, &encoded.bytes[..at], encoded.raw_len, metas);
    }
}

proptest! {
    #[test]
    fn anything_comes_back(events: Vec<(String, u64, Vec<u8>, Vec<u8>)>) {
        let events: Vec<Given<'_>> = events
            .iter()
            .map(|(did, seq, sections, body)| Given { did, seq: *seq, sections, body, base: None })
            .collect();
        for encoded in [
            Encoder::new(3).unwrap().encode(&events).unwrap(),
            Encoder::new(3).unwrap().encode_whole(&events).unwrap(),
        ] {
            let metas = metas(&events).into_iter();
            let mut decoder = Decoder::new().unwrap();
            let block =
                decoder.decode(encoded.codec, &encoded.bytes, encoded.raw_len, metas).unwrap();
            for (index, given) in events.iter().enumerate() {
                let event = block.event(index).unwrap();
                prop_assert_eq!((event.sections, event.body), (given.sections, given.body));
            }
            prop_assert!(block.event(events.len()).is_none());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(raw: Vec<u8>, events in 0usize..9) {
        let meta = Meta { did: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", seq: 1, base: None };
        for codec in [ZSTD, APART_2, APART] {
            let metas = vec![meta.clone(); events].into_iter();
            let _ = Decoder::new().unwrap().decode(codec, &raw, raw.len(), metas);
        }
        let _ = spans(&raw, events);
    }

    #[test]
    fn any_streams_are_read_without_a_panic(bytes: Vec<u8>, did: bool) {
        let mut out = Out::default();
        for stream in streams::Stream::ALL {
            out.bytes(*stream, &bytes);
        }
        let did = if did { "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" } else { "" };
        let mut state = State::default();
        for codec in [APART_2, APART] {
            let mut input = out.input(codec);
            for _ in 0..4 {
                let meta = Meta { did, seq: 1, base: None };
                let _ = state.take(&mut input, meta, 1 << 16, &mut Vec::new());
            }
        }
    }

    #[test]
    fn numbers_come_back(values: Vec<(u64, i64, u32)>) {
        use streams::Stream;
        let mut out = Out::default();
        for (value, signed, bits) in &values {
            out.number(Stream::Time, *value);
            out.signed(Stream::Key, *signed);
            out.low_bits(u64::from(*bits), bits % 33);
        }
        out.end();
        let mut input = out.input(APART);
        for (value, signed, bits) in values {
            prop_assert_eq!(input.number(Stream::Time), Some(value));
            prop_assert_eq!(input.signed(Stream::Key), Some(signed));
            let low = u64::from(bits) & ((1 << (bits % 33)) - 1);
            prop_assert_eq!(input.low_bits(bits % 33), Some(low));
        }
    }
}
