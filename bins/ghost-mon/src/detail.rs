//! One stage, with all that is known of it.

use cli::units::show_bytes;
use stats::{Histogram, Kind, Named};

use crate::figures::{and, count, percent, rate, span};
use crate::history::History;
use crate::report::{LIST, number};
use crate::sample::Stage;
use crate::spark::{bar, curve};
use crate::style::{Line, Paint, Style};
use crate::table::{cores, percentile};

/// Letters of what stands before each text.
const WORD_CELLS: usize = 12;
/// Letters of a curve where there is no screen to say how many there may be.
const CURVE_CELLS: usize = 60;
const BAR_CELLS: usize = 30;

/// Pairs of a word and a text, one a line.
pub(crate) fn pairs(pairs: Vec<(&str, String)>) -> impl Iterator<Item = Line> {
    pairs.into_iter().map(|(word, text)| {
        let mut line = Line::of(LIST, Paint::Dim, &format!("{word:<WORD_CELLS$}"));
        line.push(Paint::Plain, &text);
        line
    })
}

/// All that is known of a stage.
pub(crate) fn lines(stage: &Stage, history: &History, style: Style) -> Vec<Line> {
    let cells = style.cells.map_or(CURVE_CELLS, |cells| cells.saturating_sub(WORD_CELLS));
    let flow = history.of(&stage.label).map(|curves| curve(curves.flow(), cells, style));
    let mut all =
        vec![("stage", format!("{} ({} {})", stage.label, stage.page.tool, stage.page.release))];
    all.push(("events/s", flow.unwrap_or_default()));
    all.extend(figures(stage));
    let mut lines: Vec<Line> = pairs(all).collect();
    for (word, recent, start) in [
        ("latency", &stage.recent.latency, &stage.page.latency),
        ("age", &stage.recent.age, &stage.page.age),
    ] {
        if start.count() > 0 {
            lines.extend(pairs(vec![(word, times(recent)), ("  in all", times(start))]));
        }
    }
    lines.extend(bars(&stage.recent.latency, style));
    lines
}

fn figures(stage: &Stage) -> Vec<(&'static str, String)> {
    let (page, recent, counts) = (&stage.page, &stage.recent, &stage.page.counts);
    let named = |kinds: &[Kind]| {
        let named = page.named.iter().filter(|named: &&Named| kinds.contains(&named.kind));
        named.map(number).collect::<Vec<_>>().join(", ")
    };
    let ends = |ends: &[String]| if ends.is_empty() { "-".into() } else { and(ends) };
    let mut all = vec![
        (
            "process",
            format!("{}, up {}", page.pid, span(page.taken_ns.saturating_sub(page.start_ns))),
        ),
        ("reads", ends(&page.inputs)),
        ("writes", ends(&page.outputs)),
        (
            "in",
            format!(
                "{} events, {}/s; {}",
                count(counts.events_in),
                rate(recent.events_in_per_s),
                show_bytes(counts.bytes_in)
            ),
        ),
        (
            "out",
            format!(
                "{} events, {}/s; {}",
                count(counts.events_out),
                rate(recent.events_out_per_s),
                show_bytes(counts.bytes_out)
            ),
        ),
        (
            "not on",
            format!(
                "{} refused, {} duplicates, {} held",
                count(counts.refused),
                count(counts.dropped),
                count(counts.held)
            ),
        ),
        (
            "time",
            format!(
                "{} at work, {} waiting for input, {} for output",
                percent(recent.work()),
                percent(recent.input_wait),
                percent(recent.output_wait)
            ),
        ),
        (
            "last event",
            match counts.last_event_ns {
                0 => "never".into(),
                last => format!("{} ago", span(page.taken_ns.saturating_sub(last))),
            },
        ),
    ];
    if let Some(vitals) = stage.vitals {
        let used = recent.cores.map_or("-".into(), cores);
        all.push(("takes", format!("memory {}, cpu {used}", show_bytes(vitals.resident_bytes))));
    }
    let texts = [
        ("refused", named(&[Kind::Refusal])),
        ("unproved", named(&[Kind::Unproved])),
        ("counts", named(&[Kind::Count, Kind::Gauge])),
    ];
    all.extend(texts.into_iter().filter(|(_, text)| !text.is_empty()));
    all
}

fn times(histogram: &Histogram) -> String {
    let shares = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    let shown = shares.map(|(name, share)| format!("{name} {}", percentile(histogram, share)));
    format!("{}, of {} events", shown.join(", "), count(histogram.count()))
}

/// How many took how long: a bar for each power of four.
fn bars(histogram: &Histogram, style: Style) -> impl Iterator<Item = Line> {
    let mut rows: Vec<(u64, u64)> = vec![];
    for (most, count) in histogram.buckets() {
        let bound = 4_u64.saturating_pow(most.checked_ilog(4).unwrap_or(0) + 1);
        match rows.last_mut() {
            Some((last, sum)) if *last == bound => *sum = sum.saturating_add(count),
            _ => rows.push((bound, count)),
        }
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1);
    rows.into_iter().map(move |(bound, times)| {
        let mut line =
            Line::of(LIST, Paint::Dim, &format!("{:>11} ", format!("< {}", span(bound))));
        line.push(Paint::Good, &bar(times as f64 / most as f64, BAR_CELLS, style));
        line.push(Paint::Plain, &format!(" {}", count(times)));
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_the_longest_and_have_a_row_for_each_power_of_four() {
        let mut histogram = Histogram::default();
        (0..30).for_each(|_| histogram.record(5));
        (0..15).for_each(|_| histogram.record(70));
        histogram.record(16);
        let style = Style { paint: false, unicode: false, cells: None };
        let text = |line: Line| {
            let mut text = String::new();
            line.write(style, &mut text);
            text
        };
        let rows: Vec<String> = bars(&histogram, style).map(text).collect();
        let row = |bound: &str, full: usize, times: u32| {
            let bar = "#".repeat(full) + &"-".repeat(BAR_CELLS - full);
            format!("{bound:>11} {bar} {times}")
        };
        assert_eq!(rows, [row("< 16ns", 30, 30), row("< 64ns", 1, 1), row("< 256ns", 15, 15)]);
    }
}
