//! Real processes: this test runs itself again as a tool, reads its page and kills it.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use stats::{Page, Snapshot, State};

const ROLE: &str = "STATS_TEST_ROLE";

struct Tool {
    child: Child,
    said: String,
    /// Held open, for the harness in the tool fails when it cannot print.
    _stdout: BufReader<ChildStdout>,
}

/// Starts this test binary as a tool and waits until it has said its line.
fn tool(role: &str, dir: &Path) -> Tool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_tool_that_the_other_tests_run", "--nocapture"])
        .env(ROLE, role)
        .env("SOVEREIGN_STATS_DIR", dir)
        .env("TMPDIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.by_ref().lines();
    let said = lines.find_map(|line| line.unwrap().strip_prefix("said ").map(String::from));
    Tool { child, said: said.unwrap(), _stdout: stdout }
}

#[test]
fn the_tool_that_the_other_tests_run() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let page = Page::create("dedupe", Some(&role), "1");
    let said = match &page {
        Ok(_) => "created".to_string(),
        Err(error) => error.to_string(),
    };
    let page = page.unwrap_or_else(|_| Page::none());
    page.set_inputs(&[stats::endpoint_of(std::io::stdin())]);
    page.events_in(41);
    page.events_in(1);
    page.latency(1_000_000);
    // The harness has begun a line of its own.
    println!("\nsaid {said}");
    page.wait(State::Input, || std::io::stdin().read_to_end(&mut vec![]).unwrap());
}

#[test]
fn another_process_is_read_while_it_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut tool = tool("reader", dir.path());
    assert_eq!(tool.said, "created");
    let stdin = tool.child.stdin.take().unwrap();
    let page = Snapshot::read_all(dir.path()).unwrap().pages.remove(0);
    assert_eq!((page.label(), page.pid), ("reader", u64::from(tool.child.id())));
    assert_eq!((page.counts.events_in, page.latency.count()), (42, 1));
    assert_eq!(page.inputs, [stats::endpoint_of(&stdin)]);
    drop(stdin);
    assert!(tool.child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn kill_9_leaves_a_page_that_the_next_reader_removes() {
    let dir = tempfile::tempdir().unwrap();
    let mut tool = tool("killed", dir.path());
    assert_eq!(Snapshot::read_all(dir.path()).unwrap().pages.len(), 1);
    tool.child.kill().unwrap();
    tool.child.wait().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let reading = Snapshot::read_all(dir.path()).unwrap();
    assert_eq!((reading.pages.len(), reading.removed, reading.skipped.len()), (0, 1, 0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn kill_9_leaves_a_page_that_the_next_tool_removes() {
    let dir = tempfile::tempdir().unwrap();
    let mut tool = tool("killed", dir.path());
    tool.child.kill().unwrap();
    tool.child.wait().unwrap();
    let _page = Page::create_in(dir.path(), "sig-verify", None, "1").unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_tool_without_a_place_for_its_page_runs_on() {
    let mut tool = tool("homeless", Path::new("/proc/self"));
    assert!(tool.said.starts_with("no stats page in /proc/self: "), "{}", tool.said);
    drop(tool.child.stdin.take());
    assert!(tool.child.wait().unwrap().success());
}
