//! The result as a page of HTML that needs nothing else: the figures, and how far apart copies
//! came.

use std::fmt::Write;

use super::score::{Summary, signed};
use super::spread::Spread;

/// Bars of the picture on each side of zero, each a power of two wide, from 0.125 ms on.
const BARS: i32 = 18;
const FIRST_NS: f64 = 125_000.0;
const BAR_WIDTH: usize = 22;
const HEIGHT: f64 = 220.0;

/// The page.
pub(super) fn html(summary: &Summary, theirs: &str) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>The race</title>\n\
         <style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;\
         margin:2rem auto;padding:0 1rem}pre{overflow-x:auto}.win{fill:#2a78d6}.loss{fill:#d03b3b}\
         text{font:11px system-ui,sans-serif;fill:currentColor;text-anchor:middle}svg{max-width:100%}\
         </style>\n<h1>The race</h1>\n",
    );
    // Writing into memory can't fail.
    let _ =
        writeln!(page, "<p>Against {}.</p>\n<pre>{}</pre>", plain(theirs), plain(&summary.text()));
    picture(&mut page, "At the end of our chain", &summary.advantage);
    picture(&mut page, "At our socket", &summary.at_socket);
    page.push_str("</html>\n");
    page
}

fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Which bar a difference belongs to: 0 is the first to the right of the middle.
fn bar_of(ns: i64) -> i32 {
    let times = (ns.unsigned_abs() as f64 / FIRST_NS).max(1.0);
    let bar = (times.log2() as i32).min(BARS - 1);
    if ns < 0 { -1 - bar } else { bar }
}

fn picture(page: &mut String, title: &str, spread: &Spread) {
    let mut bars = vec![0_u64; 2 * BARS as usize];
    for (ns, count) in spread.buckets() {
        if let Some(bar) = bars.get_mut((bar_of(ns) + BARS) as usize) {
            *bar += count;
        }
    }
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    let width = bars.len() * BAR_WIDTH;
    let middle = width / 2;
    let _ = write!(
        page,
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 {width} 270\" role=\"img\" aria-label=\"{title}\">\n"
    );
    for (at, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f64 / most as f64 * HEIGHT).max(1.0);
        let (x, y) = (at * BAR_WIDTH, HEIGHT - height);
        let kind = if x < middle { "loss" } else { "win" };
        let _ = writeln!(
            page,
            "<rect class=\"{kind}\" x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{height:.1}\">\
             <title>{count} events</title></rect>",
            BAR_WIDTH - 2
        );
    }
    for bar in (0..BARS).step_by(3) {
        let ns = FIRST_NS * 2_f64.powi(bar);
        for (ns, place) in [(ns, BARS + bar), (-ns, BARS - bar)] {
            let x = place as usize * BAR_WIDTH;
            let _ = writeln!(page, "<text x=\"{x}\" y=\"240\">{}</text>", signed(ns as i64));
        }
    }
    let _ = write!(
        page,
        "<text x=\"{}\" y=\"262\">theirs first</text><text x=\"{}\" y=\"262\">ours first</text>\n</svg>\n",
        middle / 2,
        middle + middle / 2
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_fall_into_bars_on_both_sides() {
        let found = [0, 125_000, 250_000, -1, -250_000, i64::MAX, i64::MIN].map(bar_of);
        assert_eq!(found, [0, 0, 1, -1, -2, BARS - 1, -BARS]);
    }

    #[test]
    fn names_from_outside_stay_text() {
        let page = html(&Summary::default(), "wss://<b>");
        assert!(page.contains("wss://&lt;b&gt;") && page.ends_with("</html>\n"), "{page}");
    }
}
