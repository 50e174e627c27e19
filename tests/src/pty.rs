//! A terminal, for the manners of tools at one.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};

/// What a tool said and how it ended when its standard streams were a terminal.
#[derive(Debug)]
pub struct Pty {
    /// All that it wrote to the terminal.
    pub screen: String,
    /// Its exit code.
    pub code: Option<i32>,
}

impl Pty {
    /// Runs a command with a terminal of 80 by 24 on all three streams that are not set yet.
    pub fn run(command: &mut Command, stdin: bool, stdout: bool) -> Pty {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let slave = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(if stdin { slave() } else { Stdio::null() });
        command.stdout(if stdout { slave() } else { Stdio::null() });
        let mut child = command.stderr(slave()).spawn().expect("it starts");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(pty.slave);
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("fcntl");
        let (mut master, mut screen) = (File::from(pty.master), Vec::new());
        let begun = Instant::now();
        let code = loop {
            let _ = master.read_to_end(&mut screen);
            if let Some(status) = child.try_wait().expect("wait") {
                break status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = master.read_to_end(&mut screen);
        Pty { screen: String::from_utf8_lossy(&screen).into_owned(), code }
    }
}
