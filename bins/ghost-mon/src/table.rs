//! The rows of the stages, and of the joints between them.

use cli::units::show_bytes;
use stats::Histogram;

use crate::figures::{percent, rate, short, span};
use crate::history::Curves;
use crate::pipeline::Plan;
use crate::sample::Stage;
use crate::spark::{bar, curve};
use crate::style::{Line, Paint, Style};

const NAME_CELLS: usize = 13;
/// From here on a stage or a reader waits so much that it is worth a word.
const WAITS: f64 = 0.3;

/// What is said of each histogram of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latencies {
    /// Since the tools started: for a report.
    Start,
    /// The last seconds: for a screen that is watched.
    Recent,
}

/// Which columns there is room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    latencies: Latencies,
    /// Letters of the curve.
    spark: usize,
    /// Letters of a bar, and of the name of a joint.
    bar: usize,
    joint: usize,
    /// The highest percentile, and memory and processor time.
    p999: bool,
    vitals: bool,
}

/// Letters of the columns that are always there, with what they did of their time; and of the
/// others.
const FIXED_CELLS: usize = NAME_CELLS + 7 + 8 + 10 + 7 + 7 + 7 + 13;
const P999_CELLS: usize = 7;
const VITALS_CELLS: usize = 9 + 6;
const SPARK_CELLS_MAX: usize = 60;

impl Columns {
    /// Those of a screen so many letters wide, or of a report.
    pub(crate) fn of(cells: Option<usize>, latencies: Latencies) -> Self {
        let Some(cells) = cells else {
            return Self { latencies, spark: 0, bar: 20, joint: 22, p999: true, vitals: false };
        };
        let mut left = cells.saturating_sub(FIXED_CELLS);
        let mut fits = |needed: usize| {
            let fits = left >= needed;
            left -= if fits { needed } else { 0 };
            fits
        };
        // At 80 letters a curve of seven is what there is room for.
        let spark = if fits(8) { 7 } else { 0 };
        let p999 = fits(P999_CELLS);
        let vitals = fits(VITALS_CELLS);
        let spark = (spark + if vitals { left } else { 0 }).min(SPARK_CELLS_MAX);
        let wide = cells >= 100;
        let (bar, joint) = if wide { (20, 28) } else { (8, 16) };
        Self { latencies, spark, bar, joint, p999, vitals }
    }

    /// Whether memory and processor time have columns.
    pub(crate) fn have_vitals(self) -> bool {
        self.vitals
    }

    /// The line above the rows.
    pub(crate) fn head(self, rank: u8) -> Line {
        let mut text = format!("{:<NAME_CELLS$}", "stage");
        if self.spark > 0 {
            text += &" ".repeat(self.spark + 1);
        }
        text += &format!(
            "{:>7}{:>8}{:>10}{:>7}{:>7}{:>7}",
            "in/s", "out/s", "refused/s", "held", "p50", "p99"
        );
        if self.p999 {
            text += &format!("{:>P999_CELLS$}", "p99.9");
        }
        if self.vitals {
            text += &format!("{:>9}{:>6}", "memory", "cpu");
        }
        Line::of(rank, Paint::Dim, &(text + " time"))
    }

    /// The row of a stage.
    pub(crate) fn row(
        self,
        stage: &Stage,
        curves: Option<&Curves>,
        picked: bool,
        style: Style,
        rank: u8,
    ) -> Line {
        let (page, recent) = (&stage.page, &stage.recent);
        let latency = match self.latencies {
            Latencies::Start => &page.latency,
            Latencies::Recent => &recent.latency,
        };
        // Where there is no paint, the mark alone shows what is picked.
        let label = if picked { &format!(">{}", stage.label) } else { &stage.label };
        let (name, paint) = (name(label), if picked { Paint::Picked } else { Paint::Bold });
        let mut line = Line::of(rank, paint, &format!("{name:<NAME_CELLS$}"));
        if self.spark > 0 {
            let flow = curves.map(|curves| curve(curves.flow(), self.spark, style));
            let flow = flow.unwrap_or_default();
            line.push(Paint::Good, &format!("{flow:>width$} ", width = self.spark));
        }
        let (came, went) = (rate(recent.events_in_per_s), rate(recent.events_out_per_s));
        line.push(Paint::Plain, &format!("{came:>7}{went:>8}"));
        let paint = if recent.refused_per_s > 0.0 { Paint::Bad } else { Paint::Plain };
        line.push(paint, &format!("{:>10}", rate(recent.refused_per_s)));
        line.push(Paint::Plain, &format!("{:>7}", short(page.counts.held)));
        for share in [0.5, 0.99, 0.999].iter().take(if self.p999 { 3 } else { 2 }) {
            line.push(Paint::Plain, &format!("{:>7}", percentile(latency, *share)));
        }
        if self.vitals {
            let memory =
                stage.vitals.map_or("-".into(), |vitals| show_bytes(vitals.resident_bytes));
            line.push(
                Paint::Plain,
                &format!("{memory:>9}{:>6}", recent.cores.map_or("-".into(), cores)),
            );
        }
        let (paint, text) = time(stage);
        line.push(paint, &format!(" {text}"));
        line
    }

    /// The line above a stage: where its input comes from, how full that is, who waits there.
    pub(crate) fn joint(self, plan: &Plan, at: usize, style: Style, rank: u8) -> Option<Line> {
        let stage = plan.stages.get(at)?;
        let counts = &stage.page.counts;
        let joints: Vec<_> = plan.joints_into(at).collect();
        if joints.is_empty() && counts.queue_capacity == 0 {
            return None;
        }
        let mut names: Vec<_> = joints.iter().map(|joint| joint.name.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            names.extend(stage.page.inputs.iter().map(String::as_str));
        }
        let cells = self.joint;
        let mut text: String = names.join(" ");
        if text.chars().count() > cells {
            text = text.chars().take(cells - 1).chain(['~']).collect();
        }
        let mut line = Line::of(rank, Paint::Dim, &format!("  | {text:<cells$}"));
        if counts.queue_capacity > 0 {
            let share = (counts.queue_depth as f64 / counts.queue_capacity as f64).min(1.0);
            let paint = match share {
                s if s < 0.5 => Paint::Good,
                s if s < 0.9 => Paint::Warn,
                _ => Paint::Bad,
            };
            line.push(Paint::Dim, " [");
            line.push(paint, &bar(share, self.bar, style));
            let capacity = show_bytes(counts.queue_capacity);
            line.push(Paint::Dim, &format!("] {:>4} of {capacity},", percent(share)));
        }
        let flow = stage.recent.bytes_in_per_s.max(0.0) as u64;
        line.push(Paint::Dim, &format!(" {}/s", show_bytes(flow)));
        // A branch is drawn under another stage than the one it comes from.
        let writers =
            joints.iter().filter_map(|joint| Some((joint.from, plan.stages.get(joint.from)?)));
        let strangers = writers.clone().filter(|(from, _)| from + 1 != at);
        let strangers: Vec<_> = strangers.map(|(_, writer)| writer.label.as_str()).collect();
        if !strangers.is_empty() {
            line.push(Paint::Dim, &format!(", from {}", strangers.join(" ")));
        }
        let mut full = writers.filter(|(_, writer)| writer.recent.output_wait >= WAITS);
        if let Some((_, writer)) = full.next() {
            line.push(Paint::Warn, &format!(", {} waits", writer.label));
        } else if stage.recent.input_wait >= WAITS && !joints.is_empty() {
            line.push(Paint::Dim, &format!(", {} waits", stage.label));
        }
        Some(line)
    }
}

/// A stage's name, cut so that the columns stay in line.
fn name(label: &str) -> String {
    match label.chars().count() {
        0..NAME_CELLS => label.into(),
        _ => label.chars().take(NAME_CELLS - 2).chain(['~']).collect(),
    }
}

/// A percentile as it stands in a column.
pub(crate) fn percentile(histogram: &Histogram, share: f64) -> String {
    histogram.percentile(share).map_or("-".into(), span)
}

/// Processor time as it stands in a column: 100% is one core.
pub(crate) fn cores(cores: f64) -> String {
    format!("{:.0}%", (cores * 100.0).clamp(0.0, 99_999.0))
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
