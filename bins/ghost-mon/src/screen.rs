//! The terminal: taken over for the picture, and given back as it was.
//!
//! The picture is drawn over the last one in a single write, so that it does not flicker. Keys
//! are read if standard input is the terminal too. Signals end the loop through the stop
//! descriptor, so the terminal is restored on that way as on any other.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::style::{Line, Style};

/// The other screen, no cursor, no line that goes on in the next.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Undoes `ENTER`.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_TO_END_OF_SCREEN: &str = "\x1b[J";

const CONTROL_C: u8 = 0x03;
const CONTROL_Z: u8 = 0x1a;
const CONTROL_BACKSLASH: u8 = 0x1c;

/// How long a change of the window's size goes unnoticed.
const SIZE_CHECK: Duration = Duration::from_millis(200);
const SIZE_USUAL: Size = Size { rows: 24, cells: 80 };

/// Size of the window in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) cells: usize,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The time is up.
    Due,
    /// The window has another size.
    Resized,
    /// A key or a signal asked for the end, or nobody looks any more.
    Quit,
}

/// The terminal while it shows the picture.
pub(crate) struct Screen {
    out: File,
    /// The keyboard and how it was found.
    keys: Option<(File, Termios)>,
    size: Size,
}

impl Screen {
    /// Takes the terminal over.
    pub(crate) fn take() -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let size = size_of(&out);
        let mut screen = Self { out, keys: None, size };
        if io::stdin().is_terminal() {
            let keyboard = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let found = tcgetattr(&keyboard)?;
            screen.keys = Some((keyboard, found));
        }
        screen.enter()?;
        Ok(screen)
    }

    /// The window's size at present.
    pub(crate) fn size(&mut self) -> Size {
        self.size = size_of(&self.out);
        self.size
    }

    /// Draws lines over the last picture.
    pub(crate) fn draw(&mut self, lines: &[Line], style: Style) -> io::Result<()> {
        let mut frame = String::from(HOME);
        for (row, line) in lines.iter().enumerate() {
            if row > 0 {
                frame.push_str("\r\n");
            }
            line.write(style, &mut frame);
            frame.push_str(CLEAR_TO_END_OF_LINE);
        }
        frame.push_str(CLEAR_TO_END_OF_SCREEN);
        self.out.write_all(frame.as_bytes())
    }

    /// Waits until something is to be done.
    pub(crate) fn wait(&mut self, until: Instant, stop: BorrowedFd<'_>) -> io::Result<Woken> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Woken::Due);
            }
            let keyboard = self.keys.as_ref().map(|(keyboard, _)| keyboard.as_fd());
            match wait(left.min(SIZE_CHECK), stop, keyboard, self.out.as_fd())? {
                Ready::Stop => return Ok(Woken::Quit),
                Ready::Keys => {
                    if self.obey_keys()? {
                        return Ok(Woken::Quit);
                    }
                }
                Ready::Nothing if size_of(&self.out) != self.size => return Ok(Woken::Resized),
                Ready::Nothing => {}
            }
        }
    }

    /// Reads what was typed; whether it was to quit.
    fn obey_keys(&mut self) -> io::Result<bool> {
        let Some((keyboard, _)) = &mut self.keys else { return Ok(false) };
        let mut typed = [0; 64];
        let count = keyboard.read(&mut typed)?;
        let typed = typed.get(..count).unwrap_or_default();
        let quits = |key: &u8| matches!(*key, b'q' | b'Q' | CONTROL_C | CONTROL_BACKSLASH);
        if typed.is_empty() || typed.iter().any(quits) {
            return Ok(true);
        }
        if typed.contains(&CONTROL_Z) {
            self.leave();
            kill_current_process_group(Signal::TSTP)?;
            self.enter()?;
            // Whatever was typed at the shell meanwhile may have changed it.
            self.size = Size { rows: 0, cells: 0 };
        }
        Ok(false)
    }

    fn enter(&mut self) -> io::Result<()> {
        if let Some((keyboard, found)) = &self.keys {
            let mut wanted = found.clone();
            wanted.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // These would end or stop us with the terminal taken, so they come as keys.
            wanted.local_modes.remove(LocalModes::ISIG);
            wanted.special_codes[SpecialCodeIndex::VMIN] = 1;
            wanted.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(keyboard, OptionalActions::Flush, &wanted)?;
        }
        self.out.write_all(ENTER.as_bytes())
    }

    fn leave(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = self.out.write_all(LEAVE.as_bytes());
        if let Some((keyboard, found)) = &self.keys {
            let _ = tcsetattr(keyboard, OptionalActions::Flush, found);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn size_of(terminal: impl AsFd) -> Size {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            Size { rows: size.ws_row.into(), cells: size.ws_col.into() }
        }
        _ => SIZE_USUAL,
    }
}

enum Ready {
    Nothing,
    Keys,
    Stop,
}

/// Waits for a key, a signal, or the reader of the output to go away, up to a time.
fn wait(
    time: Duration,
    stop: BorrowedFd<'_>,
    keyboard: Option<BorrowedFd<'_>>,
    out: BorrowedFd<'_>,
) -> io::Result<Ready> {
    let watched = PollFd::from_borrowed_fd;
    let mut fds = [
        watched(stop, PollFlags::IN),
        watched(out, PollFlags::empty()),
        watched(keyboard.unwrap_or(stop), PollFlags::IN),
    ];
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&time)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Ready::Nothing),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let [stop, out, keys] = fds.map(|fd| !fd.revents().is_empty());
    Ok(if stop || out {
        Ready::Stop
    } else if keys {
        Ready::Keys
    } else {
        Ready::Nothing
    })
}

/// Waits without a screen; whether it was cut short by a signal, or by the reader of the output
/// going away.
pub(crate) fn pause(time: Duration, stop: BorrowedFd<'_>) -> io::Result<bool> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        if let Ready::Stop = wait(left, stop, None, io::stdout().as_fd())? {
            return Ok(true);
        }
    }
}
