use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::Key;

/// A spread of hashes that differ in all bits.
fn hash(n: u64) -> u128 {
    Key::of([1; 16]).hash(|take| take(&n.to_le_bytes()))
}

#[test]
fn the_last_events_are_remembered_and_older_ones_leave() {
    let mut window = Window::new(300, None).unwrap();
    for n in 0..10_000 {
        assert!(!window.insert(hash(n)), "{n} was never there");
        let oldest = n.saturating_sub(299);
        assert!(window.insert(hash(n)) && window.insert(hash(oldest)), "{oldest} of {n}");
        let gone = n.checked_sub(351);
        assert!(gone.is_none_or(|gone| !window.has(hash(gone))), "{gone:?} of {n}");
    }
    assert!((300..=350).contains(&window.len()));
    let counts = window.counts();
    assert_eq!((counts.new, counts.seen), (10_000, 20_000));
}

#[test]
fn zero_is_a_hash_like_any_other() {
    let mut window = Window::new(1, None).unwrap();
    assert!(!window.has(0) && !window.insert(0));
    assert!(window.has(0) && window.insert(0));
}

#[test]
fn a_window_of_nothing_or_of_everything_is_refused() {
    assert!(matches!(Window::new(0, None), Err(Error::Size { events: 0 })));
    assert!(matches!(Window::new(usize::MAX, None), Err(Error::Size { .. })));
    assert!(matches!(Window::new(1 << 46, None), Err(Error::NoMemory { .. })));
    assert_eq!(Window::bytes_for(0), None);
}

#[test]
fn what_is_older_than_its_age_leaves_without_anything_newer() {
    let mut window = Window::new(60_000, Some(600)).unwrap();
    window.tick(0);
    for n in 0..10_000 {
        window.insert(hash(n));
    }
    // Nothing of it leaves before its time.
    for now_ns in (0..600).step_by(10) {
        window.tick(now_ns);
        assert!(window.has(hash(1)) && window.has(hash(9_999)), "at {now_ns}");
    }
    for now_ns in (600..1_000).step_by(10) {
        window.tick(now_ns);
    }
    assert!(window.is_empty() && !window.has(hash(1)));
    assert!(!window.insert(hash(1)) && window.insert(hash(1)));
}

#[test]
fn the_filter_errs_as_often_as_the_formula_says() {
    let events = 60_000;
    let mut window = Window::new(events as usize, None).unwrap();
    (0..events).for_each(|n| {
        window.insert(hash(n));
    });
    let (expected, before) = (window.false_positives_expected(), window.counts());
    // Six whole generations of two events a line, as the module's constants have them.
    assert!((0.002..0.01).contains(&expected), "{expected}");
    let asked = 400_000;
    let wrong = (events..events + asked).filter(|n| window.candidates(hash(*n)) != 0).count();
    let ratio = wrong as f64 / asked as f64 / expected;
    assert!((0.9..1.1).contains(&ratio), "{ratio} times the {expected} expected");
    assert!((0.05..0.2).contains(&window.fill()), "{}", window.fill());
    // And none of them counts as seen.
    assert_eq!(before, window.counts());
    assert!((events..events + 10_000).all(|n| !window.has(hash(n))));
}

#[test]
fn nothing_is_allocated_and_no_memory_is_taken_after_the_start() {
    let mut window = Window::new(6_000, Some(1_000)).unwrap();
    let hashes: Vec<u128> = (0..50_000).map(hash).collect();
    let info = allocation_counter::measure(|| {
        for (n, some) in hashes.chunks(16).enumerate() {
            window.fetch(some);
            for hash in some {
                window.insert(*hash);
            }
            window.tick(n as u64);
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn the_default_of_dedupe_stays_within_its_memory() {
    let bytes = Window::bytes_for(7_200_000).unwrap();
    assert!(bytes <= 248 << 20, "{bytes}");
}

proptest! {
    /// Against the simplest thing that could do it: everything in one set, the newest in a queue.
    #[test]
    fn it_agrees_with_a_set(draws in proptest::collection::vec(0_u64..400, 1..2_000), size in 1_usize..80) {
        let mut window = Window::new(size, None).unwrap();
        let mut held: VecDeque<u64> = VecDeque::new();
        for n in draws {
            let seen = window.insert(hash(n));
            let newest: HashSet<u64> = held.iter().rev().take(size).copied().collect();
            let most = (GENERATIONS - 1) * size.div_ceil(GENERATIONS_HELD);
            let possible: HashSet<u64> = held.iter().rev().take(most).copied().collect();
            prop_assert!(!newest.contains(&n) || seen, "{} of the newest is forgotten", n);
            prop_assert!(possible.contains(&n) || !seen, "{} cannot be there", n);
            if !seen {
                held.push_back(n);
            }
        }
    }
}
