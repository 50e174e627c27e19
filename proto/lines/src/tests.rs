use frame::host::{HostTable, Role};
use frame::verdict::{Rule, Verdict, notes};
use frame::{Decoder, Header, HostId, Item, Kind, Tag};
use serde_json::{Value, json};

/// The lines of a stream, each parsed again.
fn lines_of(stream: &[u8]) -> Vec<Value> {
    let (mut decoder, mut hosts) = (Decoder::default(), HostTable::default());
    let (mut rest, mut out) = (stream, Vec::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        if let Item::Frame(frame) = item {
            hosts.apply(&frame).unwrap();
            crate::put(&mut out, &frame, &hosts).unwrap();
        }
        rest = &rest[used..];
    }
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An `#account` event as the official PDS encodes it.
fn account_event() -> Vec<u8> {
    use serde_ipld_dagcbor::to_vec;
    let header = to_vec(&json!({"op": 1, "t": "#account"})).unwrap();
    let body = to_vec(&json!({
        "seq": 7, "did": "did:plc:44ybard66vv44zksje25o7dz", "active": false,
        "status": "deactivated", "time": "2026-11-23T11:11:05.084Z",
    }));
    [header, body.unwrap()].concat()
}

fn event_stream(body: &[u8], verdict: Option<Verdict>, number: Option<u64>) -> Vec<u8> {
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(3), Role::Pds, "pds.example.com").unwrap();
    let time_ns = 1_763_896_265_084_000_123;
    let header = Header { host: HostId(3), seq: 7, ..Header::new(Kind::EVENT, time_ns) };
    let (verdict, number) =
        (verdict.map(|verdict| verdict.to_bytes()), number.map(frame::number::bytes));
    let sections = [
        (Tag::VERDICT, verdict.as_ref().map(|bytes| &bytes[..])),
        (Tag::NUMBER, number.as_ref().map(|bytes| &bytes[..])),
    ];
    frame::put_with_two(&mut stream, &header, body, sections).unwrap();
    stream
}

#[test]
fn an_event_says_where_it_came_from_what_it_is_and_what_was_found() {
    let mut verdict = Verdict::refused(Rule::WRONG_HOST);
    verdict.notes = notes::FOREIGN;
    let body = account_event();
    let lines = lines_of(&event_stream(&body, Some(verdict), Some(12)));
    assert_eq!(lines[0], json!({"kind":"host","id":3,"host":"pds.example.com","role":"pds"}));
    let expected = json!({
        "kind": "event", "n": 12, "host": "pds.example.com", "role": "pds", "epoch": 0, "seq": 7,
        "time": "2025-11-23T11:11:05.084000Z", "type": "#account",
        "did": "did:plc:44ybard66vv44zksje25o7dz", "rev": null, "since": null, "commit": null,
        "verdict": "refused", "rule": "wrong-host", "notes": ["foreign"], "key": null, "ops": [],
        "active": false, "status": "deactivated", "bytes": body.len(),
    });
    assert_eq!(lines[1], expected);
}

#[test]
fn without_a_verdict_or_a_number_they_are_null() {
    let lines = lines_of(&event_stream(&account_event(), None, None));
    for field in ["n", "verdict", "rule", "key"] {
        assert_eq!(lines[1].get(field), Some(&Value::Null), "{field}");
    }
}

#[test]
fn an_event_that_cannot_be_read_says_why() {
    let lines = lines_of(&event_stream(b"\xa2 garbage", None, None));
    assert_eq!(lines[1]["type"], Value::Null);
    assert!(lines[1]["error"].as_str().unwrap().contains("offset"), "{}", lines[1]);
}

#[test]
fn control_frames_and_unknown_kinds_have_lines() {
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(3), Role::Relay, "relay.example.com").unwrap();
    let mark = frame::mark::Mark { host: HostId(3), epoch: 1, seq: 99 };
    frame::mark::put(&mut stream, &mut Vec::new(), 0, [mark]).unwrap();
    let hole = frame::hole::Hole { after: 5, until: 9 };
    frame::hole::put(&mut stream, HostId(3), 1, 0, hole).unwrap();
    let other = Header { host: HostId(3), seq: 4, ..Header::new(Kind(77), 0) };
    frame::put(&mut stream, &other, b"abc").unwrap();
    frame::put(&mut stream, &Header::new(Kind::END, 0), b"").unwrap();
    let (time, host) = ("1970-01-01T00:00:00.000000Z", "relay.example.com");
    let expected = [
        json!({"kind":"host","id":3,"host":host,"role":"relay"}),
        json!({"kind":"mark","time":time,"marks":[{"host":host,"epoch":1,"seq":99}]}),
        json!({"kind":"hole","host":host,"epoch":1,"after":5,"until":9,"time":time}),
        json!({"kind":"77","host":host,"seq":4,"time":time,"bytes":3}),
        json!({"kind":"end","time":time}),
    ];
    assert_eq!(lines_of(&stream), expected);
}
