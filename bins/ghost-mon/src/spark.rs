//! Small pictures made of letters: curves and bars.

use crate::style::Style;

/// Heights of a letter from nothing to full, where the terminal has them and where not.
const BLOCKS: [&str; 8] = [
    "\u{2581}", "\u{2582}", "\u{2583}", "\u{2584}", "\u{2585}", "\u{2586}", "\u{2587}", "\u{2588}",
];
const ASCII: [&str; 8] = ["_", ".", ":", "-", "=", "+", "*", "#"];

/// A curve of so many letters, the newest point on the right. Where there are more points than
/// letters the last ones are shown; where there are fewer, the rest is empty.
pub(crate) fn curve(
    points: impl DoubleEndedIterator<Item = f32>,
    cells: usize,
    style: Style,
) -> String {
    let mut last: Vec<f32> = points.rev().take(cells).collect();
    last.reverse();
    let most = last.iter().copied().fold(0.0, f32::max);
    let heights = if style.unicode { BLOCKS } else { ASCII };
    let letter = |point: &f32| {
        let share = if most > 0.0 { (point / most).clamp(0.0, 1.0) } else { 0.0 };
        // Something is shown as something.
        let least = usize::from(*point > 0.0);
        let height = (share * 7.0).round() as usize;
        heights.get(height.max(least)).copied().unwrap_or_default()
    };
    let empty = " ".repeat(cells.saturating_sub(last.len()));
    empty + &last.iter().map(letter).collect::<String>()
}

/// A bar of so many letters, as full as a share of 0 to 1.
pub(crate) fn bar(share: f64, cells: usize, style: Style) -> String {
    let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    let full = if share > 0.0 { full.max(1) } else { 0 };
    let (on, off) = if style.unicode { ("\u{2588}", "\u{2591}") } else { ("#", "-") };
    on.repeat(full) + &off.repeat(cells.saturating_sub(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { paint: false, unicode: false, cells: None };

    #[test]
    fn curves_are_as_high_as_their_highest_point_and_end_at_the_right() {
        let points = [100.0, 0.0, 0.001, 5.0, 10.0];
        assert_eq!(curve(points.into_iter(), 4, STYLE), "_.=#");
        assert_eq!(curve(points.into_iter(), 7, STYLE), "  #_...");
        assert_eq!(curve([0.0, 0.0].into_iter(), 3, STYLE), " __");
        let style = Style { unicode: true, ..STYLE };
        assert_eq!(curve([0.0, 7.0].into_iter(), 2, style), "\u{2581}\u{2588}");
    }

    #[test]
    fn something_is_shown_as_something() {
        assert_eq!(bar(0.0, 4, STYLE), "----");
        assert_eq!(bar(0.001, 4, STYLE), "#---");
        assert_eq!(bar(0.5, 4, STYLE), "##--");
        assert_eq!(bar(7.0, 4, STYLE), "####");
    }
}
