//! The terminal: taken over for the picture, and given back as it was.
//!
//! The picture is drawn over the last one in a single write, so that it does not flicker. Keys
//! are read if standard input is the terminal too. Signals end the loop through the stop
//! descriptor, so the terminal is restored on that way as on any other; a panic restores it too.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use cli::Wakes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::style::{Line, Style};
use crate::view::Key;

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

/// How long a change of the window's size goes unnoticed where no signal tells of it.
const SIZE_CHECK: Duration = Duration::from_millis(200);
const SIZE_USUAL: Size = Size { rows: 24, cells: 80 };

/// Size of the window in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) cells: usize,
}

/// Why a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The time is up.
    Due,
    /// The window has another size.
    Resized,
    /// Something was typed.
    Typed(Vec<Key>),
    /// A key or a signal asked for the end, or nobody looks any more.
    Quit,
}

/// The terminal while it shows the picture.
pub(crate) struct Screen {
    out: File,
    /// The keyboard and how it was found.
    keys: Option<(File, Termios)>,
    size: Size,
    resizes: Wakes,
}

impl Screen {
    /// Takes the terminal of standard output over, with its keyboard if standard input is one.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let keyboard = match io::stdin().is_terminal() {
            true => Some(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
            false => None,
        };
        Self::over(out, keyboard)
    }

    fn over(out: File, keyboard: Option<File>) -> anyhow::Result<Self> {
        let size = size_of(&out);
        let found = |keyboard: File| tcgetattr(&keyboard).map(|found| (keyboard, found));
        let keys = keyboard.map(found).transpose()?;
        let resizes = Wakes::resizes().context("signal handlers")?;
        let mut screen = Self { out, keys, size, resizes };
        screen.restore_on_panic()?;
        screen.enter()?;
        Ok(screen)
    }

    /// A panic ends the process at once in a release build, so what gives the terminal back then is
    /// its hook. It comes before the message, which would go to the other screen.
    fn restore_on_panic(&self) -> io::Result<()> {
        let out = self.out.try_clone()?;
        let keys = match &self.keys {
            Some((keyboard, found)) => Some((keyboard.try_clone()?, found.clone())),
            None => None,
        };
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&out, keys.as_ref());
            usual(panic);
        }));
        Ok(())
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
            // Before the text: behind one that is as wide as the window it would take the last letter.
            frame.push_str(CLEAR_TO_END_OF_LINE);
            line.write(style, &mut frame);
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
            let resizes = Some(self.resizes.fd());
            match wait(left.min(SIZE_CHECK), stop, keyboard, resizes, self.out.as_fd())? {
                Ready::Stop => return Ok(Woken::Quit),
                Ready::Keys => match self.read_keys()? {
                    None => return Ok(Woken::Quit),
                    Some(keys) if !keys.is_empty() => return Ok(Woken::Typed(keys)),
                    Some(_) => {}
                },
                Ready::Resized => {
                    self.resizes.take();
                    return Ok(Woken::Resized);
                }
                Ready::Nothing if size_of(&self.out) != self.size => return Ok(Woken::Resized),
                Ready::Nothing => {}
            }
        }
    }

    /// Reads what was typed; `None` if that was to quit.
    fn read_keys(&mut self) -> io::Result<Option<Vec<Key>>> {
        let Some((keyboard, _)) = &mut self.keys else { return Ok(Some(vec![])) };
        let mut typed = [0; 64];
        let count = keyboard.read(&mut typed)?;
        let typed = typed.get(..count).unwrap_or_default();
        let quits = |key: &u8| matches!(*key, b'q' | b'Q' | CONTROL_C | CONTROL_BACKSLASH);
        if typed.is_empty() || typed.iter().any(quits) {
            return Ok(None);
        }
        if typed.contains(&CONTROL_Z) {
            self.leave();
            kill_current_process_group(Signal::TSTP)?;
            self.enter()?;
            // Whatever was typed at the shell meanwhile may have changed it.
            self.size = Size { rows: 0, cells: 0 };
        }
        Ok(Some(Key::read(typed)))
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
        give_back(&self.out, self.keys.as_ref());
    }
}

/// Leaves a terminal as it was found. One that is gone needs no restoring.
fn give_back(mut out: &File, keys: Option<&(File, Termios)>) {
    let _ = out.write_all(LEAVE.as_bytes());
    if let Some((keyboard, found)) = keys {
        let _ = tcsetattr(keyboard, OptionalActions::Flush, found);
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
    Resized,
    Stop,
}

/// Waits for a key, a signal, or the reader of the output to go away, up to a time.
fn wait(
    time: Duration,
    stop: BorrowedFd<'_>,
    keyboard: Option<BorrowedFd<'_>>,
    resizes: Option<BorrowedFd<'_>>,
    out: BorrowedFd<'_>,
) -> io::Result<Ready> {
    let watched = PollFd::from_borrowed_fd;
    let mut fds = [
        watched(stop, PollFlags::IN),
        watched(out, PollFlags::empty()),
        watched(keyboard.unwrap_or(stop), PollFlags::IN),
        watched(resizes.unwrap_or(stop), PollFlags::IN),
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
    let [stop, out, keys, resizes] = fds.map(|fd| !fd.revents().is_empty());
    Ok(if stop || out {
        Ready::Stop
    } else if resizes {
        Ready::Resized
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
        if let Ready::Stop = wait(left, stop, None, None, io::stdout().as_fd())? {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::*;

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_says_anything() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (mut master, terminal) = (File::from(pty.master), File::from(pty.slave));
        let clone = || terminal.try_clone().unwrap();
        let panicked = std::thread::spawn({
            let (out, keyboard) = (clone(), clone());
            move || {
                // Never dropped, as in a release build, which aborts.
                let _screen = std::mem::ManuallyDrop::new(Screen::over(out, Some(keyboard)));
                panic!("on purpose");
            }
        });
        assert!(panicked.join().is_err());
        let mut shown = vec![0; ENTER.len() + LEAVE.len()];
        master.read_exact(&mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), format!("{ENTER}{LEAVE}"));
        let modes = tcgetattr(&terminal).unwrap().local_flags;
        assert!(modes.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG));
    }
}
