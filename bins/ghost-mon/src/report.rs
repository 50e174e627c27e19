//! The picture that a person sees, as lines of text: the same on a screen and in a report.
//!
//! Lines have a rank. Where the screen is too low for all, the lines of the highest ranks go
//! first, so that the stages themselves stay as long as anything does.

use cli::units::show_bytes;
use stats::{Histogram, Kind, Named, Skipped};

use crate::diagnosis;
use crate::figures::{clock, count, percent, rate, short, span};
use crate::hosts::{self, Roll};
use crate::pipeline::Plan;
use crate::sample::Stage;
use crate::style::{Line, Paint, Style};

/// Ranks of lines, the most needed first.
const STAGES: u8 = 0;
const DIAGNOSIS: u8 = 1;
const JOINTS: u8 = 2;
const REFUSALS: u8 = 3;
const BLANKS: u8 = 4;
const HOSTS: u8 = 5;
const NUMBERS: u8 = 6;
/// The list of hosts: as much of it as there is room for.
const LIST: u8 = 7;

const NAME_CELLS: usize = 13;
const BAR_CELLS: usize = 20;
const JOINT_CELLS: usize = 26;
/// Width of running text where there is no screen to say how wide it is.
const TEXT_CELLS: usize = 80;

/// What is said of each histogram of latencies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Latencies {
    /// Since the tools started: for a report.
    Start,
    /// The last seconds: for a screen that is watched.
    Recent,
}

/// All lines on the tools, without a limit on their number or length.
/// `hosts` is how many hosts of each tap are listed.
pub(crate) fn lines(plan: &Plan, latencies: Latencies, hosts: usize, style: Style) -> Vec<Line> {
    if plan.stages.is_empty() {
        return vec![Line::of(STAGES, Paint::Plain, "no tool of this system is running here.")];
    }
    let mut lines = vec![heading(plan)];
    for pipeline in 0..plan.pipeline_count() {
        lines.push(Line::of(BLANKS, Paint::Plain, ""));
        lines.push(columns());
        let members = (0..plan.stages.len()).filter(|stage| plan.pipelines[*stage] == pipeline);
        for stage in members {
            lines.extend(joint(plan, stage, style));
            lines.push(row(&plan.stages[stage], latencies));
            lines.extend(numbers(&plan.stages[stage]));
            lines.extend(hosts_of(&plan.stages[stage], hosts));
        }
    }
    let mut paragraphs = vec![];
    paragraphs.extend(refusals(plan).map(|text| (REFUSALS, Paint::Bad, text)));
    paragraphs.extend(duplicates(plan).map(|text| (REFUSALS, Paint::Plain, text)));
    paragraphs.extend(delays(plan, latencies).map(|text| (REFUSALS, Paint::Plain, text)));
    let sentences = diagnosis::sentences(plan).into_iter();
    paragraphs.extend(sentences.map(|text| (DIAGNOSIS, Paint::Bold, text)));
    if !paragraphs.is_empty() {
        lines.push(Line::of(BLANKS, Paint::Plain, ""));
    }
    let cells = style.cells.unwrap_or(TEXT_CELLS);
    for (rank, paint, text) in paragraphs {
        lines.extend(wrapped(&text, cells).into_iter().map(|text| Line::of(rank, paint, &text)));
    }
    lines.push(footing(plan, latencies));
    lines
}

/// Leaves out the least needed lines until the rest fits, and says so if that is not enough.
pub(crate) fn fit(mut lines: Vec<Line>, rows: usize) -> Vec<Line> {
    while lines.len() > rows {
        let Some(last) = lines.iter().rposition(|line| line.rank == LIST) else { break };
        lines.remove(last);
    }
    for rank in (DIAGNOSIS..=NUMBERS).rev() {
        if lines.len() <= rows {
            break;
        }
        lines.retain(|line| line.rank != rank);
    }
    if lines.len() > rows {
        let hidden = lines.len() - rows.saturating_sub(1);
        lines.truncate(rows.saturating_sub(1));
        let text = format!("{hidden} more lines on a higher screen");
        lines.push(Line::of(STAGES, Paint::Dim, &text));
    }
    lines
}

/// A line on pages that could not be read.
pub(crate) fn unread<'a>(skipped: impl Iterator<Item = &'a Skipped>) -> Option<Line> {
    let mut skipped = skipped.peekable();
    let first = skipped.peek()?;
    let first = format!("{}: {}", first.path.display(), first.error);
    let text = match skipped.count() {
        1 => format!("not read: {first}"),
        count => format!("{count} pages not read, the first {first}"),
    };
    Some(Line::of(DIAGNOSIS, Paint::Warn, &text.replace(char::is_control, "?")))
}

/// A line on what can be typed.
pub(crate) fn keys() -> Line {
    Line::of(NUMBERS, Paint::Dim, "q quits")
}

fn heading(plan: &Plan) -> Line {
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let ages = plan.stages.iter().map(|stage| &stage.page);
    let age_ns = ages.map(|page| page.taken_ns.saturating_sub(page.start_ns)).max().unwrap_or(0);
    let mut line = Line::of(STAGES, Paint::Bold, "ghost-mon");
    let stages = plural(plan.stages.len(), "tool");
    let pipelines = plural(plan.pipeline_count(), "pipeline");
    line.push(Paint::Plain, &format!("  {stages} in {pipelines}, running {}", clock(age_ns)));
    line
}

/// The last line: what the numbers are of.
fn footing(plan: &Plan, latencies: Latencies) -> Line {
    let seconds = plan.stages.iter().map(|stage| stage.recent.seconds).fold(0.0, f64::max);
    let text = match latencies {
        Latencies::Start => format!("rates over {seconds:.2} s, latencies since the start"),
        Latencies::Recent => format!("rates and latencies over {seconds:.2} s"),
    };
    Line::of(NUMBERS, Paint::Dim, &text)
}

fn columns() -> Line {
    let text = format!(
        "{:<NAME_CELLS$}{:>8}{:>8}{:>10}{:>7}{:>7}{:>7}{:>7} {}",
        "stage", "in/s", "out/s", "refused/s", "held", "p50", "p99", "p99.9", "time"
    );
    Line::of(STAGES, Paint::Dim, &text)
}

fn row(stage: &Stage, latencies: Latencies) -> Line {
    let (page, recent) = (&stage.page, &stage.recent);
    let latency = match latencies {
        Latencies::Start => &page.latency,
        Latencies::Recent => &recent.latency,
    };
    let mut line = Line::of(STAGES, Paint::Bold, &format!("{:<NAME_CELLS$}", name(&stage.label)));
    let (came, went) = (rate(recent.events_in_per_s), rate(recent.events_out_per_s));
    line.push(Paint::Plain, &format!("{came:>8}{went:>8}"));
    let paint = if recent.refused_per_s > 0.0 { Paint::Bad } else { Paint::Plain };
    line.push(paint, &format!("{:>10}", rate(recent.refused_per_s)));
    line.push(Paint::Plain, &format!("{:>7}", short(page.counts.held)));
    for share in [0.5, 0.99, 0.999] {
        line.push(Paint::Plain, &format!("{:>7}", percentile(latency, share)));
    }
    let (paint, text) = time(stage);
    line.push(paint, &format!(" {text}"));
    line
}

/// A stage's name, cut so that the columns stay in line.
fn name(label: &str) -> String {
    match label.chars().count() {
        0..NAME_CELLS => label.into(),
        _ => label.chars().take(NAME_CELLS - 2).chain(['~']).collect(),
    }
}

fn percentile(histogram: &Histogram, share: f64) -> String {
    histogram.percentile(share).map_or("-".into(), span)
}

/// What a stage did with most of its time.
fn time(stage: &Stage) -> (Paint, String) {
    let recent = &stage.recent;
    let (input, output, work) = (recent.input_wait, recent.output_wait, recent.work());
    if stage.page.state == stats::State::Starting && input + output == 0.0 {
        (Paint::Dim, "-".into())
    } else if output >= input && output > work {
        (Paint::Warn, format!("{} blocked", percent(output)))
    } else if input > work {
        (Paint::Dim, format!("{} idle", percent(input)))
    } else {
        (Paint::Good, format!("{} busy", percent(work)))
    }
}

/// The line above a stage: where its input comes from and how full that is.
fn joint(plan: &Plan, stage: usize, style: Style) -> Option<Line> {
    let counts = &plan.stages[stage].page.counts;
    let joints: Vec<_> = plan.joints_into(stage).collect();
    if joints.is_empty() && counts.queue_capacity == 0 {
        return None;
    }
    let mut names: Vec<_> = joints.iter().map(|joint| joint.name.as_str()).collect();
    names.dedup();
    if names.is_empty() {
        names.extend(plan.stages[stage].page.inputs.iter().map(String::as_str));
    }
    let cells = JOINT_CELLS - 4;
    let mut text: String = names.join(" ");
    if text.chars().count() > cells {
        text = text.chars().take(cells - 1).chain(['~']).collect();
    }
    let mut line = Line::of(JOINTS, Paint::Dim, &format!("  | {text:<cells$}"));
    if counts.queue_capacity > 0 {
        let share = (counts.queue_depth as f64 / counts.queue_capacity as f64).min(1.0);
        let paint = match share {
            s if s < 0.5 => Paint::Good,
            s if s < 0.9 => Paint::Warn,
            _ => Paint::Bad,
        };
        line.push(Paint::Dim, " [");
        line.push(paint, &bar(share, style));
        let capacity = show_bytes(counts.queue_capacity);
        line.push(Paint::Dim, &format!("] {:>4} of {capacity},", percent(share)));
    }
    let flow = plan.stages[stage].recent.bytes_in_per_s.max(0.0) as u64;
    line.push(Paint::Dim, &format!(" {}/s", show_bytes(flow)));
    // A branch is drawn under another stage than the one it comes from.
    let strangers = joints.iter().filter(|joint| joint.from + 1 != stage);
    let strangers: Vec<_> = strangers.map(|joint| plan.stages[joint.from].label.as_str()).collect();
    if !strangers.is_empty() {
        line.push(Paint::Dim, &format!(", from {}", strangers.join(" ")));
    }
    Some(line)
}

fn bar(share: f64, style: Style) -> String {
    let full = (share * BAR_CELLS as f64).round() as usize;
    // Something is shown as something.
    let full = if share > 0.0 { full.max(1) } else { 0 };
    let (on, off) = if style.unicode { ("\u{2588}", "\u{2591}") } else { ("#", "-") };
    on.repeat(full) + &off.repeat(BAR_CELLS - full)
}

/// The line under a stage: the numbers that only this tool has.
fn numbers(stage: &Stage) -> Option<Line> {
    let named = stage.page.named.iter().filter(|named| named.kind != Kind::Refusal);
    let named: Vec<_> = named.map(number).collect();
    let text = format!("    {}", named.join(", "));
    (!named.is_empty()).then(|| Line::of(NUMBERS, Paint::Dim, &text))
}

/// The lines under a stage that listens to hosts.
fn hosts_of(stage: &Stage, most: usize) -> Vec<Line> {
    let page = &stage.page;
    let Some(roll) = Roll::of(&page.hosts) else { return vec![] };
    let mut lines = roll.lines(HOSTS);
    if most > 0 {
        lines.extend(hosts::table(&hosts::listed(&page.hosts, most), page.taken_ns, LIST));
    }
    lines
}

fn number(named: &Named) -> String {
    let Named { name, value, .. } = named;
    if let Some(name) = name.strip_suffix("-bytes") {
        format!("{name} {}", show_bytes(*value))
    } else if let Some(name) = name.strip_suffix("-ns") {
        format!("{name} {}", span(*value))
    } else {
        format!("{name} {}", count(*value))
    }
}

/// All refusals since the start, by rule.
fn refusals(plan: &Plan) -> Option<String> {
    let mut parts = vec![];
    for stage in &plan.stages {
        let mut rules = stage.page.named.iter().filter(|n| n.kind == Kind::Refusal && n.value > 0);
        let mut by_rule: Vec<_> = rules.by_ref().collect();
        by_rule.sort_by_key(|named| std::cmp::Reverse(named.value));
        let by_rule: Vec<_> = by_rule.into_iter().map(number).collect();
        let total = stage.page.counts.refused;
        if total > 0 || !by_rule.is_empty() {
            let rules = if by_rule.is_empty() {
                String::new()
            } else {
                format!(" ({})", by_rule.join(", "))
            };
            parts.push(format!("{} {}{rules}", stage.label, count(total)));
        }
    }
    (!parts.is_empty()).then(|| format!("refused so far: {}", parts.join("; ")))
}

/// All duplicates dropped since the start.
fn duplicates(plan: &Plan) -> Option<String> {
    let stages = plan.stages.iter().filter(|stage| stage.page.counts.dropped > 0);
    let parts: Vec<_> = stages
        .map(|stage| format!("{} {}", stage.label, count(stage.page.counts.dropped)))
        .collect();
    (!parts.is_empty()).then(|| format!("duplicates dropped so far: {}", parts.join("; ")))
}

/// How old events are when they leave each pipeline, at the last stage that says so.
fn delays(plan: &Plan, latencies: Latencies) -> impl Iterator<Item = String> {
    let of_pipeline = move |pipeline| {
        let stages = plan.stages.iter().zip(&plan.pipelines).rev();
        let mut stages = stages.filter(|(_, of)| **of == pipeline).map(|(stage, _)| stage);
        let stage = stages.find(|stage| stage.page.age.count() > 0)?;
        let age = match latencies {
            Latencies::Start => &stage.page.age,
            Latencies::Recent => &stage.recent.age,
        };
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(age, share));
        let label = &stage.label;
        Some(format!("receipt to {label}: p50 {p50}, p99 {p99}, p99.9 {p999}"))
    };
    (0..plan.pipeline_count()).filter_map(of_pipeline)
}

/// Breaks a text between words into lines of at most so many characters.
fn wrapped(text: &str, cells: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > cells {
            lines.push(format!("  {word}"));
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}
