//! A page written by one side and read by the other, byte for byte.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use stats::layout::{NAMED_MAX, PAGE_BYTES};
use stats::{Error, Kind, Page, Snapshot, State};

fn only_page(dir: &Path) -> Snapshot {
    let mut reading = Snapshot::read_all(dir).unwrap();
    assert!(reading.skipped.is_empty(), "{:?}", reading.skipped);
    assert_eq!(reading.pages.len(), 1);
    reading.pages.remove(0)
}

fn only_file(dir: &Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(dir).unwrap();
    let path = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    path
}

#[test]
fn all_that_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "sig-verify", Some("west"), "0.1.0 (abc)").unwrap();
    assert!(page.is_shared());
    page.set_inputs(&["ring:a", "pipe:[17]"]);
    page.set_output("/tmp/x y.frames");
    page.events_in(1);
    page.events_out(2);
    page.refused(3);
    page.dropped(4);
    page.frames_in(5);
    page.frames_out(6);
    page.bytes_in(7);
    page.bytes_out(8);
    page.held(9);
    page.queue(10, 11);
    page.last_event(12);
    page.latency(1_000);
    page.latency(3_000);
    page.age(5_000_000_000);
    let rule = page.refusal("bad-signature");
    let gauge = page.gauge("hosts-waiting");
    rule.add(2);
    page.named("log-bytes").add(99);
    gauge.set(5);
    gauge.sub(2);
    gauge.add(1);

    let seen = only_page(dir.path());
    assert_eq!((seen.tool.as_str(), seen.label()), ("sig-verify", "west"));
    assert_eq!(seen.release, "0.1.0 (abc)");
    assert_eq!(seen.pid, u64::from(std::process::id()));
    assert_eq!(seen.inputs, ["ring:a", "pipe:[17]"]);
    assert_eq!(seen.outputs, ["/tmp/x y.frames"]);
    let counts = seen.counts;
    let ins = [counts.events_in, counts.frames_in, counts.bytes_in, counts.last_event_ns];
    assert_eq!(ins, [1, 5, 7, 12]);
    assert_eq!([counts.events_out, counts.frames_out, counts.bytes_out], [2, 6, 8]);
    assert_eq!([counts.refused, counts.dropped, counts.held], [3, 4, 9]);
    assert_eq!([counts.queue_depth, counts.queue_capacity], [10, 11]);
    assert_eq!((seen.latency.count(), seen.latency.sum_ns()), (2, 4_000));
    assert!((1_000..=1_062).contains(&seen.latency.percentile(0.5).unwrap()));
    assert_eq!(seen.age.count(), 1);
    let named: Vec<_> = seen.named.iter().map(|n| (n.name.as_str(), n.kind, n.value)).collect();
    assert_eq!(
        named,
        [
            ("bad-signature", Kind::Refusal, 2),
            ("hosts-waiting", Kind::Gauge, 4),
            ("log-bytes", Kind::Count, 99),
        ]
    );
    let own = page.snapshot();
    assert!(own.is_same_run(&seen));
    assert_eq!((own.counts, own.latency), (seen.counts, seen.latency));
}

#[test]
fn a_page_is_private_to_its_user_and_goes_with_its_last_owner() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "dedupe", None, "1").unwrap();
    let path = only_file(dir.path());
    let name = path.file_name().unwrap().to_str().unwrap();
    let seen = only_page(dir.path());
    let expected = format!("sovereign-stats-dedupe-{}-{}", std::process::id(), seen.start_ns);
    assert_eq!(name, expected);
    let metadata = path.metadata().unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.len()), (0o600, PAGE_BYTES as u64));
    let counter = page.named("x");
    drop(page);
    assert!(path.exists());
    counter.add(1);
    drop(counter);
    assert!(!path.exists());
}

#[test]
fn counts_lie_where_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "dedupe", None, "1").unwrap();
    page.events_in(0x0102);
    page.dropped(7);
    page.latency(20);
    page.named("gap").add(3);
    page.set_outputs(&["ring:b"]);
    let bytes = std::fs::read(only_file(dir.path())).unwrap();
    assert_eq!(&bytes[..16], b"SVRNstat\x01\0\0\0\0\0\0\0");
    assert_eq!(&bytes[512..514], [2, 1]);
    assert_eq!(bytes[776], 7);
    // 20 is in the row of 16 to 31: highest bit 4, so bucket (4 - 3) * 16 + (20 >> 0) % 16.
    assert_eq!(bytes[16_384 + 64 + 20 * 8], 1);
    assert_eq!(&bytes[4_096..4_100], b"gap\0");
    assert_eq!(bytes[4_096 + 32], 3);
    assert_eq!(&bytes[12_288..12_295], b"ring:b\0");
    assert!(bytes[32_768..].iter().all(|byte| *byte == 0));
}

#[test]
fn the_example_in_the_layout_is_a_page() {
    let mut bytes = vec![0; PAGE_BYTES];
    let mut lines = 0;
    for line in include_str!("../src/layout.rs").lines() {
        let Some((hex, _)) = line.strip_prefix("//! 0000").and_then(|l| l.split_once('|')) else {
            continue;
        };
        let (offset, hex) = hex.split_once(' ').unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let row: Vec<u8> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        bytes[offset..offset + row.len()].copy_from_slice(&row);
        lines += 1;
    }
    assert_eq!(lines, 7);
    let page = Snapshot::decode(&bytes).unwrap();
    assert_eq!((page.tool.as_str(), page.pid, page.name), ("dedupe", 0x1234, None));
    assert_eq!(page.inputs, ["ring:a"]);
    assert_eq!(page.start_ns, 1_764_631_832_420_155_392);
    assert_eq!(page.latency.count(), 0);
}

#[test]
fn names_without_room_are_counted_as_other() {
    let page = Page::none();
    let counters: Vec<_> = (0..100).map(|n| page.named(&format!("name-{n}"))).collect();
    counters.iter().for_each(|counter| counter.add(1));
    page.named("name-3").add(1);
    let seen = page.snapshot();
    assert_eq!(seen.named.len(), NAMED_MAX);
    assert_eq!((seen.named[3].name.as_str(), seen.named[3].value), ("name-3", 2));
    let last = seen.named.last().unwrap();
    assert_eq!((last.name.as_str(), last.value), ("other", 100 - 63));
}

#[test]
fn texts_are_cut_to_their_fields_and_cleaned() {
    let page = Page::none();
    let long = format!("/first/{}/last", "\u{e4}".repeat(300));
    page.set_inputs(&[long.as_str(), "a\x1b[2Jb"]);
    let name = page.named("a name that is longer than its field");
    name.add(1);
    let seen = page.snapshot();
    assert!(seen.inputs[0].ends_with("/last") && seen.inputs[0].len() >= 255);
    assert_eq!(seen.inputs[1], "a?[2Jb");
    assert_eq!(seen.named[0].name, "a name that is longer th");
    page.set_inputs(&["short"; 20]);
    assert_eq!(page.snapshot().inputs, ["short"; 16]);
}

#[test]
fn waiting_is_booked_by_what_was_waited_for_and_seen_while_it_lasts() {
    let pause = Duration::from_millis(5);
    let page = Page::none();
    assert_eq!(page.snapshot().state, State::Starting);
    assert_eq!(page.wait(State::Input, || std::thread::sleep(pause)), ());
    page.state(State::Output);
    std::thread::sleep(pause);
    let seen = page.snapshot();
    assert_eq!(seen.state, State::Output);
    assert!(seen.counts.input_wait_ns >= 5_000_000);
    assert!(seen.counts.output_wait_ns >= 5_000_000);
    page.state(State::Working);
    let later = page.snapshot();
    assert!(later.counts.output_wait_ns >= seen.counts.output_wait_ns);
    assert_eq!(later.counts.input_wait_ns, seen.counts.input_wait_ns);
}

#[test]
fn several_threads_lose_no_count() {
    let page = Page::none();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let page = page.clone();
            scope.spawn(move || {
                let counter = page.named("shared");
                for ns in 0..1_000 {
                    page.events_in(1);
                    page.latency(ns);
                    counter.add(1);
                }
            });
        }
    });
    let seen = page.snapshot();
    assert_eq!((seen.counts.events_in, seen.latency.count()), (4_000, 4_000));
    assert_eq!((seen.named.len(), seen.named[0].value), (1, 4_000));
}

#[test]
fn a_reader_never_sees_half_a_description() {
    let dir = tempfile::tempdir().unwrap();
    let page = Page::create_in(dir.path(), "dedupe", None, "1").unwrap();
    let texts = ["a", "b"].map(|letter| letter.repeat(200));
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..usize::MAX {
                page.set_inputs(&[&texts[turn % 2], &texts[turn % 2]]);
                if is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                // A writer that does nothing else would keep the reader out by right.
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..200 {
            let reading = Snapshot::read_all(dir.path()).unwrap();
            for seen in &reading.pages {
                if !seen.inputs.is_empty() {
                    assert!(texts.contains(&seen.inputs[0]), "{:?}", seen.inputs);
                    assert_eq!(seen.inputs[0], seen.inputs[1]);
                }
            }
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_tool_name_that_suits_no_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "../x", "Tap", "a b", &"x".repeat(33)] {
        let error = Page::create_in(dir.path(), name, None, "1").unwrap_err();
        assert!(matches!(error, Error::ToolName(_)), "{name}: {error}");
    }
}

#[test]
fn a_directory_that_takes_no_file_is_an_error_that_names_it() {
    let error = Page::create_in(Path::new("/proc/self"), "dedupe", None, "1").unwrap_err();
    assert!(error.to_string().starts_with("no stats page in /proc/self: "), "{error}");
}

#[test]
fn a_table_of_hosts_lies_beside_its_page_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = || {
        let reading = Snapshot::read_all(dir.path()).unwrap();
        reading.pages.iter().map(|page| page.hosts.len()).collect::<Vec<_>>()
    };
    let page = Page::create_in(dir.path(), "pds-tap", None, "1").unwrap();
    let mut table = page.host_table().unwrap();
    let host = |name| stats::Host { name, ..stats::Host::default() };
    let rows = table.write(["a.example", "b.example"].map(host).into_iter()).unwrap();
    assert_eq!(hosts(), [0], "the page does not speak of it yet");
    page.set_hosts(rows);
    assert_eq!(hosts(), [2]);
    // Killed, a writer leaves both behind, and whoever looks removes both.
    let mut left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    left.sort();
    let copies: Vec<_> = left.iter().map(|path| std::fs::read(path).unwrap()).collect();
    drop((page, table));
    assert!(left.iter().all(|path| !path.exists()));
    left.iter().zip(copies).for_each(|(path, copy)| std::fs::write(path, copy).unwrap());
    assert_eq!(hosts(), [0; 0]);
    assert!(left.len() == 2 && left.iter().all(|path| !path.exists()), "{left:?}");
    assert!(Page::none().host_table().is_none());
}
