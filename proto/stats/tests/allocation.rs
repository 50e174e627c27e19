//! What is called for each event takes no memory: a counting allocator says so.

use allocation_counter::measure;
use stats::{Page, State};

fn handle_events(page: &Page) -> u64 {
    let counter = page.refusal("bad-signature");
    measure(|| {
        for n in 0..1_000 {
            page.wait(State::Input, || {});
            page.state(State::Output);
            page.events_in(1);
            page.frames_in(1);
            page.bytes_in(n);
            page.events_out(1);
            page.frames_out(1);
            page.bytes_out(n);
            page.refused(1);
            page.dropped(1);
            page.held(n);
            page.queue(n, 1 << 20);
            page.last_event(n);
            page.latency(n * 1_000);
            page.age(n * 1_000_000);
            counter.add(1);
            counter.set(n);
            counter.sub(1);
        }
    })
    .count_total
}

#[test]
fn events_cost_no_memory() {
    assert!(
        measure(|| drop(std::hint::black_box(Box::new(1)))).count_total > 0,
        "the allocator counts"
    );
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "dedupe", None, "1").unwrap();
    assert_eq!(handle_events(&page), 0);
    assert_eq!(handle_events(&Page::none()), 0);
}
