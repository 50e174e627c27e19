use frame::{Header, HostId};
use proptest::prelude::*;

use super::*;

fn event(seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &Header { seq, ..Header::new(Kind::EVENT, 1) }, b"body").unwrap();
    bytes
}

fn mark(entries: &[(u32, u32, u64)]) -> Vec<u8> {
    let marks = entries.iter().map(|&(host, epoch, seq)| Mark { host: HostId(host), epoch, seq });
    let mut bytes = Vec::new();
    mark::put(&mut bytes, &mut Vec::new(), 1, marks).unwrap();
    bytes
}

fn entries(bytes: &[u8]) -> Vec<(u32, u32, u64)> {
    let frame = reread(bytes).unwrap();
    mark::read(&frame).unwrap().map(|mark| (mark.host.0, mark.epoch, mark.seq)).collect()
}

fn push(hold: &mut Hold, did: &str, event: &[u8]) {
    let held = hold.admit(&reread(event).unwrap());
    hold.push(did, held);
}

fn put_off(hold: &mut Hold, did: &str, event: &[u8], due: Instant) -> bool {
    let held = hold.admit(&reread(event).unwrap());
    hold.put_off(did, held, due).map_err(|held| hold.settle(&held)).is_ok()
}

/// Settles all events of an account; gives their seqs in order.
fn release(hold: &mut Hold, did: &str) -> Vec<u64> {
    let queue = hold.take(did);
    queue.iter().for_each(|held| hold.settle(held));
    queue.iter().map(|held| held.frame().unwrap().header.seq).collect()
}

#[test]
fn an_account_keeps_its_order_and_a_mark_waits_for_all_before_it() {
    let mut hold = Hold::default();
    for (did, seq) in [("a", 1), ("b", 2), ("a", 3)] {
        push(&mut hold, did, &event(seq));
    }
    hold.gate(&reread(&mark(&[(1, 1, 3)])).unwrap());
    push(&mut hold, "b", &event(4));
    assert!(hold.waits_for("a") && !hold.waits_for("c"));
    assert_eq!(release(&mut hold, "a"), [1, 3]);
    assert_eq!(hold.pop_gate(), None);
    assert_eq!(release(&mut hold, "b"), [2, 4]);
    assert_eq!(entries(&hold.pop_gate().unwrap()), [(1, 1, 3)]);
    assert!(hold.is_empty());
    assert_eq!((hold.events, hold.bytes, hold.behind), (0, 0, 0));
}

#[test]
fn what_cannot_be_settled_goes_back_to_where_it_was() {
    let mut hold = Hold::default();
    for seq in 1..=3 {
        push(&mut hold, "a", &event(seq));
    }
    let mut queue = hold.take("a");
    hold.settle(&queue.pop_front().unwrap());
    hold.restore("a", queue);
    push(&mut hold, "a", &event(4));
    assert_eq!(release(&mut hold, "a"), [2, 3, 4]);
    assert!(hold.is_empty());
}

#[test]
fn what_is_put_off_stands_aside_until_it_is_due_and_holds_marks_up() {
    let mut hold = Hold::default();
    let now = Instant::now();
    let later = now + std::time::Duration::from_secs(60);
    assert!(put_off(&mut hold, "a", &event(1), later));
    assert!(put_off(&mut hold, "b", &event(2), now));
    hold.gate(&reread(&mark(&[(1, 1, 2)])).unwrap());
    assert!(!hold.waits_for("a") && !hold.waits_for("b"), "others go by");
    push(&mut hold, "a", &event(3));
    assert_eq!((hold.due(Some(now)).as_deref(), hold.due(None).as_deref()), (Some("b"), Some("b")));
    assert_eq!(release(&mut hold, "b"), [2]);
    assert_eq!((hold.due(Some(now)), hold.due(None).as_deref()), (None, Some("a")));
    assert_eq!(hold.pop_gate(), None);
    assert_eq!(release(&mut hold, "a"), [1, 3], "its turn is before those that wait");
    assert_eq!(entries(&hold.pop_gate().unwrap()), [(1, 1, 2)]);
    assert!(hold.is_empty() && hold.due(None).is_none());
    assert_eq!((hold.put_off.events, hold.put_off.bytes), (0, 0));
}

#[test]
fn what_is_put_off_is_bounded_in_all_and_for_each_account() {
    let mut hold = Hold::default();
    let due = Instant::now();
    let kept = (0..1000).filter(|number| put_off(&mut hold, "a", &event(*number), due)).count();
    assert_eq!(kept, PUT_OFF_EACH_MAX);
    let others = (0..EVENTS_MAX as u64).map(|number| (number.to_string(), event(number)));
    let kept = others.filter(|(did, event)| put_off(&mut hold, did, event, due)).count();
    assert_eq!(kept, PUT_OFF_MAX - PUT_OFF_EACH_MAX);
    assert!(!hold.is_full(), "they leave room for events that prove");
}

#[test]
fn marks_that_wait_for_the_same_events_become_one() {
    let mut hold = Hold::default();
    push(&mut hold, "a", &event(1));
    for marks in [[(2, 1, 5), (1, 1, 9)], [(1, 1, 11), (1, 2, 0)], [(3, 1, 1), (1, 2, 4)]] {
        hold.gate(&reread(&mark(&marks)).unwrap());
    }
    release(&mut hold, "a");
    let joined = hold.pop_gate().unwrap();
    assert_eq!(entries(&joined), [(1, 1, 11), (1, 2, 4), (2, 1, 5), (3, 1, 1)]);
    assert!(hold.is_empty());
}

#[test]
fn a_hole_is_not_joined_to_a_mark() {
    let mut hold = Hold::default();
    push(&mut hold, "a", &event(1));
    let mut hole = Vec::new();
    frame::put(&mut hole, &Header::new(Kind::HOLE, 1), b"").unwrap();
    let mark = mark(&[(1, 1, 1)]);
    for frame in [&mark, &hole, &mark] {
        hold.gate(&reread(frame).unwrap());
    }
    release(&mut hold, "a");
    let gates: Vec<Vec<u8>> = std::iter::from_fn(|| hold.pop_gate()).collect();
    assert_eq!(gates, [mark.clone(), hole, mark]);
}

#[test]
fn both_bounds_make_it_full() {
    let mut hold = Hold::default();
    let bytes = event(1);
    for _ in 0..EVENTS_MAX {
        assert!(!hold.is_full());
        push(&mut hold, "a", &bytes);
    }
    assert!(hold.is_full());
    let mut hold = Hold::default();
    let mut large = Vec::new();
    frame::put(&mut large, &Header::new(Kind::EVENT, 1), &vec![0; 4 << 20]).unwrap();
    while !hold.is_full() {
        push(&mut hold, "a", &large);
    }
    assert_eq!(hold.events(), 32);
}

/// What the model of a stream is made of, in its order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Event(u8),
    Mark,
    Release(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..12u8).prop_map(Step::Event),
        4 => Just(Step::Mark),
        1 => (0..12u8).prop_map(Step::Release),
    ];
    prop::collection::vec(step, 0..600)
}

proptest! {
    #[test]
    fn no_mark_overtakes_an_event_and_none_is_lost(steps in steps()) {
        let mut hold = Hold::default();
        // Places of events that are not settled, and the marks, by the steps' numbers.
        let (mut open, mut marks) = (Vec::new(), Vec::new());
        let (mut passed, mut last) = (0, 0);
        let all = (0..12).map(Step::Release);
        for (number, step) in (1..).zip(steps.into_iter().chain(all)) {
            match step {
                Step::Event(account) => {
                    push(&mut hold, &account.to_string(), &event(number));
                    open.push((account, number));
                }
                Step::Mark => {
                    let mark = mark(&[(1, 1, number)]);
                    if hold.is_empty() {
                        passed = number;
                    } else {
                        hold.gate(&reread(&mark).unwrap());
                    }
                    marks.push(number);
                    last = number;
                }
                Step::Release(account) => {
                    let seqs = release(&mut hold, &account.to_string());
                    let of: Vec<u64> =
                        open.iter().filter(|it| it.0 == account).map(|it| it.1).collect();
                    prop_assert_eq!(seqs, of);
                    open.retain(|it| it.0 != account);
                }
            }
            while let Some(gate) = hold.pop_gate() {
                let seq = entries(&gate)[0].2;
                prop_assert!(seq > passed, "marks go in their order");
                passed = seq;
            }
            let first_open = open.iter().map(|it| it.1).min().unwrap_or(u64::MAX);
            prop_assert!(passed < first_open, "a mark overtook an event");
            let due = marks.iter().copied().filter(|mark| *mark < first_open).max().unwrap_or(0);
            let many = hold.gates.len() >= MARKS_MAX;
            prop_assert!(many || passed == due || hold.next >= MARKS_MAX as u64);
            prop_assert!(hold.gates.len() <= MARKS_MAX);
        }
        prop_assert_eq!(passed, last);
        prop_assert!(hold.is_empty());
        prop_assert_eq!((hold.bytes, hold.behind), (0, 0));
    }
}
