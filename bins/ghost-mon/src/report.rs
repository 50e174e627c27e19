//! The picture that a person sees, as lines of text: the same on a screen and in a report.
//!
//! Lines have a rank. Where the screen is too low for all, the lines of the highest ranks go
//! first, so that the stages themselves stay as long as anything does.

use cli::units::show_bytes;
use stats::{Kind, Named, Skipped};

use crate::detail;
use crate::diagnosis;
use crate::figures::{clock, count, percent, rate, span};
use crate::history::History;
use crate::hosts::{self, Order, Roll};
use crate::pipeline::Plan;
use crate::sample::Stage;
use crate::style::{Line, Paint, Style};
use crate::table::{Columns, Latencies, cores, percentile};
use crate::view::{Place, View};

/// Ranks of lines, the most needed first.
const STAGES: u8 = 0;
const DIAGNOSIS: u8 = 1;
const JOINTS: u8 = 2;
const REFUSALS: u8 = 3;
const BLANKS: u8 = 4;
const HOSTS: u8 = 5;
const NUMBERS: u8 = 6;
/// A list: as much of it as there is room for.
pub(crate) const LIST: u8 = 7;

/// Width of running text where there is no screen to say how wide it is.
const TEXT_CELLS: usize = 80;

/// What there is to show.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) history: &'a History,
    pub(crate) view: &'a View,
    pub(crate) latencies: Latencies,
    /// How many hosts of each tap are listed.
    pub(crate) hosts: usize,
    pub(crate) style: Style,
}

impl Scene<'_> {
    /// All lines on what is looked at, without a limit on their number or length.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let plan = self.plan;
        if plan.stages.is_empty() {
            return vec![Line::of(STAGES, Paint::Plain, "no tool of this system is running here.")];
        }
        let mut lines = vec![heading(plan)];
        match self.view.place {
            Place::All => self.all(&mut lines),
            Place::Stage => {
                let picked = |stage: &&Stage| Some(&stage.label) == self.view.stage.as_ref();
                match plan.stages.iter().find(picked) {
                    Some(stage) => lines.extend(detail::lines(stage, self.history, self.style)),
                    None => lines.push(gone(self.view.stage.as_deref())),
                }
            }
            Place::Hosts => self.list_of_hosts(&mut lines),
            Place::Host => {
                let hosts = plan.stages.iter().flat_map(|stage| {
                    stage.page.hosts.iter().map(|host| (host, stage.page.taken_ns))
                });
                let mut picked =
                    hosts.filter(|(host, _)| Some(&host.name) == self.view.host.as_ref());
                match picked.next() {
                    Some((host, now_ns)) => lines.extend(detail::pairs(hosts::about(host, now_ns))),
                    None => lines.push(gone(self.view.host.as_deref())),
                }
            }
        }
        lines
    }

    fn all(&self, lines: &mut Vec<Line>) {
        let Self { plan, style, .. } = *self;
        let columns = Columns::of(style.cells, self.latencies);
        for pipeline in 0..plan.pipeline_count() {
            lines.push(Line::of(BLANKS, Paint::Plain, ""));
            lines.push(columns.head(STAGES));
            let stages = plan.stages.iter().zip(&plan.pipelines).enumerate();
            for (at, (stage, _)) in stages.filter(|(_, (_, of))| **of == pipeline) {
                lines.extend(columns.joint(plan, at, style, JOINTS));
                let picked = self.view.stage.as_ref() == Some(&stage.label);
                let curves = self.history.of(&stage.label);
                lines.push(columns.row(stage, curves, picked, style, STAGES));
                lines.extend(numbers(stage, columns));
                lines.extend(hosts_of(stage, self.hosts));
            }
        }
        let mut paragraphs = vec![];
        paragraphs.extend(by_rule(plan, Kind::Refusal, "refused").map(|text| (Paint::Bad, text)));
        paragraphs
            .extend(by_rule(plan, Kind::Unproved, "unproved").map(|text| (Paint::Warn, text)));
        paragraphs.extend(duplicates(plan).map(|text| (Paint::Plain, text)));
        paragraphs.extend(delays(plan, self.latencies).map(|text| (Paint::Plain, text)));
        paragraphs.extend(archives(plan).map(|text| (Paint::Plain, text)));
        let paragraphs = paragraphs.into_iter().map(|(paint, text)| (REFUSALS, paint, text));
        let sentences = diagnosis::sentences(plan).into_iter();
        let sentences = sentences.map(|text| (DIAGNOSIS, Paint::Bold, text));
        let paragraphs: Vec<_> = paragraphs.chain(sentences).collect();
        if !paragraphs.is_empty() {
            lines.push(Line::of(BLANKS, Paint::Plain, ""));
        }
        let cells = style.cells.unwrap_or(TEXT_CELLS);
        for (rank, paint, text) in paragraphs {
            lines.extend(wrapped(&text, cells).iter().map(|text| Line::of(rank, paint, text)));
        }
        lines.push(footing(plan, self.latencies));
    }

    /// The hosts of all taps, from a little before the picked one on.
    fn list_of_hosts(&self, lines: &mut Vec<Line>) {
        /// Rows above the picked one.
        const ABOVE: usize = 5;
        /// More than any screen has.
        const ROWS_MAX: usize = 500;
        for stage in &self.plan.stages {
            lines.extend(Roll::of(&stage.page.hosts).iter().flat_map(|roll| roll.lines(HOSTS)));
        }
        let picked = self.view.host.as_deref();
        let most = if picked.is_some() { usize::MAX } else { ROWS_MAX };
        let hosts = self.view.hosts(self.plan, most);
        let at = hosts.iter().position(|host| Some(host.name.as_str()) == picked);
        let rest = hosts.get(at.unwrap_or(0).saturating_sub(ABOVE)..).unwrap_or_default();
        let rest = rest.get(..ROWS_MAX.min(rest.len())).unwrap_or_default();
        let now_ns = self.plan.stages.first().map_or(0, |stage| stage.page.taken_ns);
        let order = self.view.order.word();
        let text = format!("{} hosts, {order} first", count(hosts_in(self.plan) as u64));
        lines.push(Line::of(STAGES, Paint::Plain, &text));
        lines.extend(hosts::table(rest, picked, now_ns, LIST));
    }

    /// A line on what can be typed.
    pub(crate) fn keys(&self) -> Line {
        let text = match self.view.place {
            Place::All => "q quits, up and down pick a stage, enter shows it, h the hosts",
            Place::Stage => "q quits, up and down pick another stage, esc goes back, h the hosts",
            Place::Hosts => {
                "q quits, up and down pick a host, enter shows it, o orders, esc goes back"
            }
            Place::Host => "q quits, up and down pick another host, esc goes back",
        };
        Line::of(DIAGNOSIS, Paint::Dim, text)
    }
}

/// Leaves out the least needed lines until the rest fits, and says so if that is not enough. The
/// last line stays.
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

fn gone(picked: Option<&str>) -> Line {
    let text = format!("{} is not there any more.", picked.unwrap_or("what was picked"));
    Line::of(STAGES, Paint::Plain, &text)
}

fn hosts_in(plan: &Plan) -> usize {
    plan.stages.iter().map(|stage| stage.page.hosts.len()).sum()
}

fn heading(plan: &Plan) -> Line {
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let ages = plan.stages.iter().map(|stage| &stage.page);
    let age_ns = ages.map(|page| page.taken_ns.saturating_sub(page.start_ns)).max().unwrap_or(0);
    let mut line = Line::of(STAGES, Paint::Bold, "ghost-mon");
    let stages = plural(plan.stages.len(), "tool");
    let pipelines = plural(plan.pipeline_count(), "pipeline");
    let mut text = format!("  {stages} in {pipelines}, running {}", clock(age_ns));
    let vitals = plan.stages.iter().filter_map(|stage| stage.vitals);
    let memory = vitals.fold(0_u64, |sum, vitals| sum.saturating_add(vitals.resident_bytes));
    if memory > 0 {
        let used: f64 = plan.stages.iter().filter_map(|stage| stage.recent.cores).sum();
        text += &format!(", memory {}, cpu {}", show_bytes(memory), cores(used));
    }
    line.push(Paint::Plain, &text);
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

/// The line under a stage: what its process takes, where there is no column for it, and the numbers that only this tool has.
fn numbers(stage: &Stage, columns: Columns) -> Option<Line> {
    let own = |named: &&Named| !matches!(named.kind, Kind::Refusal | Kind::Unproved);
    let mut parts = vec![];
    if let Some(vitals) = stage.vitals.filter(|_| !columns.have_vitals()) {
        parts.push(format!("memory {}", show_bytes(vitals.resident_bytes)));
        parts.extend(stage.recent.cores.map(|used| format!("cpu {}", cores(used))));
    }
    parts.extend(stage.page.named.iter().filter(own).map(number));
    let text = format!("    {}", parts.join(", "));
    (!parts.is_empty()).then(|| Line::of(NUMBERS, Paint::Dim, &text))
}

/// The lines under a stage that listens to hosts.
fn hosts_of(stage: &Stage, most: usize) -> Vec<Line> {
    let page = &stage.page;
    let Some(roll) = Roll::of(&page.hosts) else { return vec![] };
    let mut lines = roll.lines(HOSTS);
    if most > 0 {
        let listed = Order::Loudest.first(page.hosts.iter(), most);
        lines.extend(hosts::table(&listed, None, page.taken_ns, LIST));
    }
    lines
}

/// A named number as it stands in running text.
pub(crate) fn number(named: &Named) -> String {
    let Named { name, value, .. } = named;
    if let Some(name) = name.strip_suffix("-bytes") {
        format!("{name} {}", show_bytes(*value))
    } else if let Some(name) = name.strip_suffix("-ns") {
        format!("{name} {}", span(*value))
    } else {
        format!("{name} {}", count(*value))
    }
}

/// All refusals, or all that was left unproved, since the start and by rule.
fn by_rule(plan: &Plan, kind: Kind, word: &str) -> Option<String> {
    let mut parts = vec![];
    for stage in &plan.stages {
        let rules = stage.page.named.iter().filter(|named| named.kind == kind && named.value > 0);
        let mut rules: Vec<_> = rules.collect();
        rules.sort_by_key(|named| std::cmp::Reverse(named.value));
        let total = match kind {
            Kind::Refusal => stage.page.counts.refused,
            _ => rules.iter().fold(0_u64, |sum, named| sum.saturating_add(named.value)),
        };
        let rules: Vec<_> = rules.into_iter().map(number).collect();
        if total > 0 || !rules.is_empty() {
            let rules =
                if rules.is_empty() { String::new() } else { format!(" ({})", rules.join(", ")) };
            parts.push(format!("{} {}{rules}", stage.label, count(total)));
        }
    }
    (!parts.is_empty()).then(|| format!("{word} so far: {}", parts.join("; ")))
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

/// How archives grow, what they save, and how long there is room for them.
fn archives(plan: &Plan) -> impl Iterator<Item = String> {
    plan.stages.iter().filter_map(|stage| stage.disk.as_ref()).map(|disk| {
        let (raw, stored) = (show_bytes(disk.raw_bytes), show_bytes(disk.stored_bytes));
        let mut text = format!("archive {}: {raw} of events in {stored}", disk.path);
        text += &disk.saved().map_or(String::new(), |share| format!(" ({} saved)", percent(share)));
        text += &format!(", {} free", show_bytes(disk.free_bytes));
        let days = disk.days_until_full();
        if days.is_finite() {
            let growth = show_bytes(disk.bytes_per_day as u64);
            text += &format!(", {growth} a day: full in {} days", rate(days));
        }
        text
    })
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
