use super::*;

/// That the order and the verdicts are those of one thread is tested with the tool itself
/// (`tests/cli/jobs.rs`); here, what is proved beforehand at all.
#[test]
fn an_outline_says_where_the_account_stands_in_the_event() {
    let events = crate::costs::events();
    let mut outlined = 0;
    for body in &events {
        let event = verify::open(body).unwrap();
        let header = frame::Header::new(frame::Kind::EVENT, 1);
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &header, body).unwrap();
        let frame = reread(&bytes).unwrap();
        let Some(outline) = Outline::of(body, &event) else {
            assert!(event.rev().is_none_or(|rev| rev.parse::<Tid>().is_err()));
            continue;
        };
        assert_eq!(outline.did(&frame), event.did());
        outlined += 1;
    }
    assert!(outlined > events.len() / 2);
}
