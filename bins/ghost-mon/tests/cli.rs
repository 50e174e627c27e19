//! The tool alone: pages made as real tools make them, seen through `--once`, `--json` and a
//! terminal.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use stats::State;

use support::{DEADLINE, ghost_mon, json, pipeline, run, signal, text, write_hosts};

#[test]
fn no_tool_running_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let said = text(&run(dir.path(), &["--once"]));
    assert_eq!(said, "no tool of this system is running here.\n");
    assert_eq!(text(&run(dir.path(), &["--once", "--json"])), "");
}

#[test]
fn json_has_one_object_for_each_tool_in_pipeline_order() {
    let running = pipeline();
    let stages = json(&run(running.dir.path(), &["--once", "--json"]));
    let tools: Vec<_> = stages.iter().map(|stage| stage["tool"].as_str().unwrap()).collect();
    assert_eq!(tools, ["pds-tap", "dedupe", "sig-verify", "archive-pack"]);
    for (position, stage) in stages.iter().enumerate() {
        assert_eq!((&stage["position"], &stage["pipeline"]), (&position.into(), &0.into()));
        assert_eq!(stage["pid"], std::process::id());
    }
    let first = text(&run(running.dir.path(), &["--once", "--json"]));
    assert!(first.starts_with(r#"{"type":"stage","tool":"pds-tap","name":null,"#), "{first}");

    let verify = &stages[2];
    assert_eq!((&verify["name"], &verify["state"]), (&"west".into(), &"working".into()));
    assert_eq!(verify["inputs"], serde_json::json!(["ring:verify"]));
    assert_eq!(verify["refusals"], serde_json::json!({"bad-signature": 7, "no-key": 2}));
    let counts = ["events_in", "events_out", "refused", "held", "queue_bytes", "queue_bytes_max"];
    let counts = counts.map(|name| verify[name].as_u64().unwrap());
    assert_eq!(counts, [990, 981, 9, 3, 1 << 20, 1 << 20]);
    assert_eq!(verify["latency"]["count"], 100);
    let percentile = |name: &str| verify["latency"][name].as_u64().unwrap();
    assert!((100_000..=106_250).contains(&percentile("p50_ns")));
    assert!((100_000..=106_250).contains(&percentile("p99_ns")));
    assert!((8_000_000..=8_500_000).contains(&percentile("p999_ns")));
    assert_eq!(stages[0]["gauges"], serde_json::json!({"hosts-connected": 12}));
    assert_eq!(stages[3]["counts"], serde_json::json!({"log-bytes": 3 << 20}));
    assert_eq!(stages[3]["age"]["count"], 1);
    assert_eq!(stages[3]["latency"]["p50_ns"], Value::Null);
    assert_eq!(stages[1]["dropped"], 10);
}

#[test]
fn rates_and_waits_are_of_the_time_between_two_looks() {
    let running = pipeline();
    let [tap, _, verify, pack] = running.pages.as_slice() else { panic!() };
    tap.state(State::Output);
    pack.state(State::Input);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                verify.events_in(10);
                verify.latency(20_000_000);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let output = run(running.dir.path(), &["--once", "--json", "--interval", "300ms"]);
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        output
    });
    let stages = json(&output);
    let recent: Vec<_> = stages.iter().map(|stage| &stage["recent"]).collect();
    let number = |value: &Value| value.as_f64().unwrap();
    let (seconds, rate) = (number(&recent[2]["seconds"]), number(&recent[2]["events_in_per_s"]));
    assert!(seconds >= 0.3, "{seconds}");
    let counted = recent[2]["latency"]["count"].as_u64().unwrap() as f64;
    // The two numbers are not read at one moment, so they may be a few events apart.
    assert!(rate > 0.0 && (rate * seconds / 10.0 - counted).abs() <= 2.0, "{rate} {counted}");
    assert!(recent[2]["latency"]["p50_ns"].as_u64().unwrap() >= 20_000_000);
    assert_eq!(number(&recent[1]["events_in_per_s"]), 0.0);
    assert!(number(&recent[0]["output_wait_share"]) > 0.99);
    assert!(number(&recent[3]["input_wait_share"]) > 0.99);
    assert_eq!(number(&recent[1]["input_wait_share"]), 0.0);
}

#[test]
fn a_report_shows_stages_joints_refusals_and_who_waits_for_whom() {
    let running = pipeline();
    let [tap, dedupe, _, pack] = running.pages.as_slice() else { panic!() };
    tap.state(State::Output);
    dedupe.state(State::Output);
    pack.state(State::Input);
    let report = text(&run(running.dir.path(), &["--once"]));
    assert!(!report.contains('\x1b'), "{report}");
    let lines: Vec<_> = report.lines().collect();
    let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
    let stages = ["pds-tap ", "dedupe ", "west ", "archive-pack "].map(place);
    assert!(stages.is_sorted(), "{report}");
    assert!(lines[0].starts_with("ghost-mon  4 tools in 1 pipeline, running 0:00:0"), "{report}");
    let bar = |full: usize| "\u{2588}".repeat(full) + &"\u{2591}".repeat(20 - full);
    for (stage, joint) in [
        (stages[1], format!("  | pipe:[11]              [{}]  25% of 1.0 MiB, ", bar(5))),
        (stages[2], format!("  | ring:verify            [{}] 100% of 1.0 MiB, ", bar(20))),
        (stages[3], "  | pipe:[22]              0 B/s, archive-pack waits".into()),
    ] {
        assert!(lines[stage - 1].starts_with(&joint), "{joint:?} in {report}");
    }
    for sentence in [
        "    hosts-connected 12\n",
        "    log 3.0 MiB\n",
        "\nrefused so far: west 9 (bad-signature 7, no-key 2)\n",
        "\nduplicates dropped so far: dedupe 10\n",
        "\nreceipt to archive-pack: p50 5.2ms, p99 5.2ms, p99.9 5.2ms\n",
        "west sets the pace, at work ",
        "of the time: pds-tap and dedupe wait to hand on\n  to it, archive-pack waits for more.\n",
    ] {
        assert!(report.contains(sentence), "{sentence:?} in {report}");
    }
    assert!(lines[stages[2]].contains(" 3 "), "{report}");
    assert!(lines[stages[2]].ends_with(" busy"), "{report}");
    assert!(lines[stages[0]].ends_with(" blocked"), "{report}");
    assert!(lines[stages[3]].ends_with(" idle"), "{report}");
}

#[test]
fn the_hosts_of_a_tap_are_counted_and_the_loudest_and_slowest_named() {
    let running = pipeline();
    let _table = write_hosts(&running.pages[0]);
    let report = text(&run(running.dir.path(), &["--once"]));
    for line in [
        "    hosts 9 connected, 1 waiting, 1 dead\n",
        "    loudest h8.example 16/s, h7.example 14/s, h6.example 12/s, h5.example 10/s and h4.example 8.0/s\n",
        "    slowest h8.example 8.0ms, h7.example 7.0ms, h6.example 6.0ms, h5.example 5.0ms and h4.example 4.0ms behind\n",
    ] {
        assert!(report.contains(line), "{line:?} in {report}");
    }
    assert!(!report.contains("h3.example"), "{report}");
    let stages = json(&run(running.dir.path(), &["--once", "--json"]));
    let hosts = &stages[0]["hosts"];
    let counts = ["connected", "waiting", "dead", "refused"].map(|state| hosts[state].as_u64());
    assert_eq!(counts, [Some(9), Some(1), Some(1), Some(0)]);
    assert_eq!(hosts["loudest"][0]["host"], "h8.example");
    assert_eq!(hosts["slowest"][4]["lag_ns"], 4_000_000);
    assert_eq!(stages[1].get("hosts"), None);
    assert_eq!(stages.len(), 4);
}

#[test]
fn hosts_are_listed_when_asked_for_the_loudest_first() {
    let running = pipeline();
    let _table = write_hosts(&running.pages[0]);
    let report = text(&run(running.dir.path(), &["--once", "--hosts", "3"]));
    let names = ["h8.example  ", "h7.example  ", "h6.example  "];
    let places = names.map(|name| report.rfind(name).unwrap());
    assert!(places.is_sorted() && !report.contains("h5.example  "), "{report}");
    let lines = json(&run(running.dir.path(), &["--once", "--json", "--hosts", "100"]));
    let hosts: Vec<_> = lines.iter().filter(|line| line["type"] == "host").collect();
    assert_eq!((lines.len(), hosts.len()), (4 + 11, 11));
    assert_eq!(hosts[0]["host"], "h8.example");
    assert_eq!((&hosts[0]["seq"], &hosts[0]["events_per_s"]), (&78.into(), &16.0.into()));
    let dead = hosts.iter().find(|host| host["state"] == "dead").unwrap();
    assert_eq!((&dead["failures"], &dead["lag_ns"]), (&7.into(), &Value::Null));
    assert_eq!(dead["tap"], std::process::id());
}

#[test]
fn a_terminal_without_utf_8_gets_ascii() {
    let running = pipeline();
    running.pages[0].set_inputs(&["/caf\u{e9}"]);
    running.pages[0].queue(1, 2);
    let output = ghost_mon(running.dir.path()).env("LC_CTYPE", "C").arg("--once").output().unwrap();
    let report = text(&output);
    assert!(report.is_ascii(), "{report}");
    assert!(report.contains("[#####---------------]"), "{report}");
    assert!(report.contains("/caf? "), "{report}");
}

#[test]
fn colour_comes_when_asked_for_and_never_into_a_file_by_itself() {
    let running = pipeline();
    let report = text(&run(running.dir.path(), &["--once", "--color", "always"]));
    assert!(report.contains("\x1b[31m"), "{report}");
}

#[test]
fn a_file_that_is_no_page_is_named_once_and_the_others_are_shown() {
    let running = pipeline();
    let path = running.dir.path().join("sovereign-stats-evil-1-1");
    std::fs::write(&path, "not a page at all").unwrap();
    let output = run(running.dir.path(), &["--once", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.split(|byte| *byte == b'\n').count(), 4 + 1);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!("ghost-mon: {}: no stats page (it begins with [6e, ", path.display());
    assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
}

#[test]
fn a_directory_that_is_named_has_to_be_there() {
    let output = run(Path::new("/"), &["--once", "--dir", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("ghost-mon: ") && said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn wrong_durations_are_misuse() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in ["1w", "fast", "1ms"] {
        let output = run(dir.path(), &["--once", "--interval", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(output.stderr.starts_with(b"ghost-mon: "));
    }
}

#[test]
fn json_goes_on_until_a_signal_comes() {
    let running = pipeline();
    let mut child = ghost_mon(running.dir.path())
        .args(["--json", "--interval", "20ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let tools: Vec<_> = lines
        .by_ref()
        .take(8)
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["tool"].clone())
        .collect();
    assert_eq!(tools[..4], tools[4..]);
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    assert!(lines.all(|line| line.is_ok()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let running = pipeline();
    let mut child = ghost_mon(running.dir.path())
        .args(["--json", "--interval", "20ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
fn without_a_terminal_reports_follow_one_another() {
    let running = pipeline();
    let mut child = ghost_mon(running.dir.path())
        .args(["--interval", "20ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let headings = lines.map(Result::unwrap).filter(|line| line.starts_with("ghost-mon  4 tools"));
    assert_eq!(headings.take(3).count(), 3);
    // Dropping the reader ends it.
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A terminal of our own, with ghost-mon on it.
struct Terminal {
    child: Child,
    master: File,
    /// Kept so that the settings can be asked for after the end.
    slave: File,
    shown: String,
}

impl Terminal {
    fn of(dir: &Path, rows: u16, cells: u16, environment: &[(&str, &str)]) -> Self {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: cells, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let slave = File::from(pty.slave);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = ghost_mon(dir);
        command.args(["--interval", "50ms"]).envs(environment.iter().copied());
        // In a group of its own, for it stops its whole group when it is asked to.
        command.process_group(0);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, master: File::from(pty.master), slave, shown: String::new() }
    }

    /// Reads on until a text is there.
    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.shown.contains(text) {
            assert!(Instant::now() < until, "{text:?} in {:?}", self.shown);
            let mut bytes = [0; 65_536];
            let count = self.master.read(&mut bytes).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    /// The lines of the last whole picture, without escapes.
    fn picture(&self) -> Vec<String> {
        let frames: Vec<_> = self.shown.split("\x1b[H").collect();
        let frame = frames.iter().rev().find_map(|frame| frame.split_once("\x1b[J")).unwrap().0;
        let plain = |line: &str| {
            let mut pieces = line.split('\x1b');
            let first = pieces.next().unwrap_or_default().to_string();
            let rest = pieces.map(|piece| piece.split_once(['m', 'K']).unwrap().1);
            rest.fold(first, |line, piece| line + piece)
        };
        // The terminal makes two of each carriage return before a line feed.
        frame.split("\r\n").map(|line| plain(line).trim_end_matches('\r').into()).collect()
    }

    fn settings(&self) -> nix::sys::termios::Termios {
        nix::sys::termios::tcgetattr(&self.slave).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LEFT: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

#[test]
fn a_screen_of_80_by_24_holds_the_picture_and_q_gives_it_back() {
    use std::io::Write;
    let running = pipeline();
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
    terminal.wait_for("q quits");
    terminal.wait_for("\x1b[J");
    assert!(terminal.shown.starts_with("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H"));
    let picture = terminal.picture();
    assert!(picture.len() <= 24, "{picture:#?}");
    assert!(picture.iter().all(|line| line.chars().count() <= 80), "{picture:#?}");
    for start in ["ghost-mon  4 tools", "pds-tap", "dedupe", "west", "archive-pack", "q quits"] {
        assert!(picture.iter().any(|line| line.starts_with(start)), "{start}: {picture:#?}");
    }
    assert!(terminal.shown.contains("\x1b[31m"), "refusals are painted");
    let modes = terminal.settings().local_flags;
    assert!(!modes.contains(nix::sys::termios::LocalFlags::ECHO), "keys are not shown");

    terminal.master.write_all(b"q").unwrap();
    terminal.wait_for(LEFT);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    let modes = terminal.settings().local_flags;
    use nix::sys::termios::LocalFlags;
    assert!(modes.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let running = pipeline();
    for each in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
        terminal.wait_for("q quits");
        signal(&terminal.child, each);
        terminal.wait_for(LEFT);
        assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
        assert!(terminal.settings().local_flags.contains(nix::sys::termios::LocalFlags::ECHO));
    }
}

#[test]
fn stopped_by_control_z_it_gives_the_terminal_back_and_takes_it_again() {
    use nix::sys::termios::LocalFlags;
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use std::io::Write;
    let running = pipeline();
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
    terminal.wait_for("q quits");
    terminal.master.write_all(b"\x1a").unwrap();
    terminal.wait_for(LEFT);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(terminal.child.id()).unwrap());
    let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(status, WaitStatus::Stopped(pid, nix::sys::signal::Signal::SIGTSTP));
    assert!(terminal.settings().local_flags.contains(LocalFlags::ECHO));

    terminal.shown.clear();
    signal(&terminal.child, nix::sys::signal::Signal::SIGCONT);
    terminal.wait_for("\x1b[?1049h");
    terminal.wait_for("q quits");
    assert!(!terminal.settings().local_flags.contains(LocalFlags::ECHO));
    terminal.master.write_all(b"Q").unwrap();
    terminal.wait_for(LEFT);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_low_screen_keeps_the_stages_and_a_higher_one_shows_more() {
    let running = pipeline();
    let mut terminal = Terminal::of(running.dir.path(), 8, 40, &[("NO_COLOR", "1")]);
    terminal.wait_for("archive-pack");
    terminal.wait_for("\x1b[J");
    let picture = terminal.picture();
    assert!(picture.len() <= 8, "{picture:#?}");
    assert!(picture.iter().all(|line| line.chars().count() <= 40), "{picture:#?}");
    assert!(picture.iter().any(|line| line.starts_with("pds-tap")), "{picture:#?}");
    assert!(!terminal.shown.contains("\x1b[1m"), "{:?}", terminal.shown);

    let size = rustix::termios::Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal.master, size).unwrap();
    terminal.wait_for("hosts-connected 12");
    terminal.wait_for("q quits");
}

#[test]
fn a_dumb_terminal_gets_reports_without_escapes() {
    let running = pipeline();
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[("TERM", "dumb")]);
    terminal.wait_for("latencies since the start");
    assert!(!terminal.shown.contains('\x1b'), "{:?}", terminal.shown);
}

#[test]
fn help_shows_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let help = text(&run(dir.path(), &["--help"]));
    assert!(help.contains("ghost-mon --once --json"), "{help}");
    assert!(text(&run(dir.path(), &["--version"])).starts_with("ghost-mon 0."));
}
