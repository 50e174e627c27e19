//! What a terminal shows: every frame goes through a terminal's own parser.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use support::{DEADLINE, Running, ghost_mon, pipeline, write_hosts};

/// A terminal with ghost-mon on it.
struct Terminal {
    child: Child,
    master: File,
    parser: vt100::Parser,
    /// All that was ever sent to it.
    sent: Vec<u8>,
}

impl Terminal {
    fn of(dir: &Path, rows: u16, cells: u16, environment: &[(&str, &str)]) -> Terminal {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: cells, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let slave = File::from(pty.slave);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = ghost_mon(dir);
        command.args(["--interval", "50ms"]).envs(environment.iter().copied()).process_group(0);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let parser = vt100::Parser::new(letters(rows), letters(cells), 0);
        Terminal { child, master: File::from(pty.master), parser, sent: Vec::new() }
    }

    fn rows(&self) -> Vec<String> {
        let (_, cells) = self.parser.screen().size();
        self.parser.screen().rows(0, cells.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Reads on until the picture is as it should be.
    fn wait_until(&mut self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !is_so(&self.rows()) {
            assert!(Instant::now() < until, "{what}: {:#?}", self.rows());
            let mut bytes = [0; 65_536];
            let count = self.master.read(&mut bytes).unwrap();
            self.sent.extend_from_slice(&bytes[..count]);
            self.parser.process(&bytes[..count]);
        }
    }

    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |rows| rows.iter().any(|row| row.contains(text)));
    }

    fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&mut self, rows: u16, cells: u16) {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: cells, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
        self.parser.screen_mut().set_size(letters(rows), letters(cells));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn letters(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn chain() -> (Running, stats::HostTable) {
    let running = pipeline();
    let table = write_hosts(&running.pages[0]);
    (running, table)
}

#[test]
fn all_that_matters_fits_into_80_by_24_and_more_is_shown_where_there_is_room() {
    let (running, _table) = chain();
    running.pages[3].set_output(running.dir.path().to_str().unwrap());
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
    for text in [
        "ghost-mon  4 tools in 1 pipeline, running 0:00:0",
        "stage                   in/s   out/s refused/s   held    p50    p99 time",
        "pds-tap ",
        "  | ring:verify      [\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}] 100% of 1.0 MiB, 0 B/s",
        "west ",
        "archive-pack ",
        "refused so far: west 9 (bad-signature 7, no-key 2)",
        "receipt to archive-pack: p50 ",
        "hosts 9 connected, 1 waiting, 1 dead",
        "dead dead.example (7 tries)",
        " free",
        "q quits, up and down pick a stage",
    ] {
        terminal.wait_for(text);
    }
    assert!(!terminal.rows().iter().any(|row| row.contains("p99.9  ")), "{:#?}", terminal.rows());
    terminal.resize(50, 140);
    terminal.wait_for("p99.9   memory   cpu time");
    terminal.wait_for("    hosts-connected 12");
    terminal.resize(24, 80);
    terminal.wait_until("less again", |rows| rows[1..].iter().all(|row| !row.contains("memory")));
}

#[test]
fn keys_pick_stages_and_hosts_and_go_back() {
    let (running, _table) = chain();
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
    terminal.wait_for("q quits");
    terminal.keys("\x1b[Bjj");
    terminal.wait_for(">west");
    terminal.keys("\r");
    terminal.wait_for("stage       west (sig-verify 0.1.0)");
    terminal.wait_for("reads       ring:verify");
    terminal.wait_for("refused     bad-signature 7, no-key 2");
    terminal.wait_for("  in all    p50 ");
    terminal.keys("\x1b[A");
    terminal.wait_for("stage       dedupe (");
    terminal.keys("\x1b");
    terminal.wait_for(">dedupe");
    terminal.keys("h");
    terminal.wait_for("11 hosts, loudest first");
    terminal.keys("j");
    terminal.wait_for("  > h8.example");
    terminal.keys("o");
    terminal.wait_for("11 hosts, slowest first");
    terminal.keys("o");
    terminal.wait_for("11 hosts, dead first");
    terminal.keys("kkkkkkkkkk");
    terminal.wait_for("  > dead.example");
    terminal.keys("\r");
    terminal.wait_for("failures    7 attempts in a row");
    terminal.keys("q");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_was_picked_and_has_gone_is_said_to_have_gone() {
    let (mut running, _table) = chain();
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
    terminal.wait_for("q quits");
    terminal.keys("jjjj\r");
    terminal.wait_for("stage       archive-pack (");
    running.pages.pop();
    terminal.wait_for("archive-pack is not there any more.");
}

#[test]
fn curves_move_with_what_is_handed_on() {
    let (running, _table) = chain();
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &[]);
    terminal.wait_for("pds-tap      \u{2581}");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                running.pages[0].events_out(100);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let full = |rows: &[String]| {
            rows.iter().any(|row| row.starts_with("pds-tap ") && row.contains('\u{2588}'))
        };
        terminal.wait_until("a full letter", full);
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn neither_colour_nor_letters_beyond_ascii_where_they_are_not_wanted() {
    let (running, _table) = chain();
    let environment = [("NO_COLOR", "1"), ("LC_ALL", "C")];
    let mut terminal = Terminal::of(running.dir.path(), 24, 80, &environment);
    terminal.wait_for("q quits");
    terminal.keys("j");
    terminal.wait_for(">pds-tap");
    terminal.wait_for("[##------]  25% of 1.0 MiB");
    assert!(terminal.sent.is_ascii());
    let screen = terminal.parser.screen();
    for (row, cell) in (0..24).flat_map(|row| (0..80).map(move |cell| (row, cell))) {
        let cell = screen.cell(row, cell).unwrap();
        let plain = cell.fgcolor() == vt100::Color::Default && !cell.bold() && !cell.inverse();
        assert!(plain, "row {row}: {cell:?}");
    }
}

#[test]
fn the_last_letter_of_a_full_line_stays() {
    let (running, _table) = chain();
    running.pages[1]
        .set_inputs(&["/a/path/that/is/longer/than/the/whole/of/the/window/that/it/is/shown/in"]);
    let mut terminal = Terminal::of(running.dir.path(), 24, 40, &[]);
    // As wide as the window: the letters of a joint go up to its edge.
    terminal.wait_until("a full line", |rows| rows.iter().any(|row| row.chars().count() == 40));
}
