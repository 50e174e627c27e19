//! Lines of painted text: what a terminal can show of them, and how wide they may be.

use std::io::IsTerminal;

/// Escape that ends all paint.
const RESET: &str = "\x1b[0m";

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Colour and weight.
    pub(crate) paint: bool,
    /// Characters beyond ASCII.
    pub(crate) unicode: bool,
    /// Characters on a line; `None` for as many as there are.
    pub(crate) cells: Option<usize>,
}

impl Style {
    /// The style of standard output.
    pub(crate) fn of_stdout(color: Color) -> Self {
        let paint = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb(),
        };
        Self { paint, unicode: is_utf8(), cells: None }
    }
}

/// When to paint.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Whatever the output is.
    Always,
    /// Not at all.
    Never,
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether the terminal understands no escapes.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Whether the locale is one of UTF-8, by the variable that decides.
fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).unwrap_or_default());
    let deciding = set.iter().find(|value| !value.is_empty());
    deciding.is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.ends_with("utf-8") || value.ends_with("utf8")
    })
}

/// How a piece of text is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Bold,
    /// The one that keys have picked.
    Picked,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Paint {
    fn escape(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("\x1b[1m"),
            Self::Picked => Some("\x1b[1;7m"),
            Self::Dim => Some("\x1b[2m"),
            Self::Good => Some("\x1b[32m"),
            Self::Warn => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[31m"),
        }
    }
}

/// A line of painted pieces.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// How soon it is left out where there is no room; 0 last.
    pub(crate) rank: u8,
    pieces: Vec<(Paint, String)>,
}

impl Line {
    /// A line of one piece.
    pub(crate) fn of(rank: u8, paint: Paint, text: &str) -> Self {
        Self { rank, pieces: vec![(paint, text.into())] }
    }

    /// Adds a piece at its end.
    pub(crate) fn push(&mut self, paint: Paint, text: &str) {
        self.pieces.push((paint, text.into()));
    }

    /// Writes the line as far as there is room for it, without an end of line.
    pub(crate) fn write(&self, style: Style, out: &mut String) {
        let mut room = style.cells.unwrap_or(usize::MAX);
        let last = self.pieces.len().saturating_sub(1);
        for (n, (paint, text)) in self.pieces.iter().enumerate() {
            let text = if n == last { text.trim_end() } else { text };
            let escape = paint.escape().filter(|_| style.paint && !text.is_empty());
            out.push_str(escape.unwrap_or_default());
            for letter in text.chars().take(room) {
                let is_shown = letter.is_ascii() || (style.unicode && !is_invisible(letter));
                out.push(if is_shown { letter } else { '?' });
            }
            out.push_str(escape.map_or("", |_| RESET));
            room = room.saturating_sub(text.chars().count());
        }
    }
}

/// Whether a letter takes no place or turns the direction of others: it would let one name
/// look like another.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(style: Style) -> String {
        let mut line = Line::of(0, Paint::Bold, "caf\u{e9} ");
        line.push(Paint::Plain, "is open  ");
        let mut text = String::new();
        line.write(style, &mut text);
        text
    }

    #[test]
    fn a_line_shows_no_more_than_the_terminal_can() {
        let plain = Style { paint: false, unicode: false, cells: None };
        assert_eq!(written(plain), "caf? is open");
        assert_eq!(written(Style { unicode: true, ..plain }), "caf\u{e9} is open");
        let mut turned = String::new();
        Line::of(0, Paint::Plain, "a\u{202e}b")
            .write(Style { unicode: true, ..plain }, &mut turned);
        assert_eq!(turned, "a?b");
        assert_eq!(written(Style { cells: Some(7), ..plain }), "caf? is");
        let painted = "\x1b[1mcaf? \x1b[0mis open";
        assert_eq!(written(Style { paint: true, ..plain }), painted);
    }
}
