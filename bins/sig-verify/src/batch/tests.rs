use super::*;

/// That the order and the verdicts are those of one thread is tested with the tool itself
/// (`tests/cli/jobs.rs`); here, what is proved beforehand at all.
#[test]
fn an_outline_says_what_the_event_does_wherever_its_bytes_lie() {
    let events = crate::costs::events();
    let mut outlined = 0;
    for body in &events {
        let event = verify::open(body).unwrap();
        let Some(outline) = Outline::of(body, &event) else {
            let Event::Commit(commit) = event else { continue };
            assert!(commit.rev.parse::<Tid>().is_err());
            continue;
        };
        let moved = body.clone();
        assert_eq!(outline.did(&moved), event.did());
        let again = Event::Commit(outline.places.commit(&moved).unwrap());
        assert_eq!(format!("{again:?}"), format!("{:?}", verify::open(&moved).unwrap()));
        outlined += 1;
    }
    assert!(outlined > events.len() / 2);
}
