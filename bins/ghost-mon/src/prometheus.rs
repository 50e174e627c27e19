//! What Prometheus reads: the text format, version 0.0.4.
//!
//! Every series of a stage has the labels `stage` (unique here) and `tool`. Names of pages and of
//! hosts come from outside: they appear in label values alone, escaped, and never twice in one
//! family, which would make the whole page invalid.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use stats::{Histogram, Host, HostState, Kind};

use crate::disk::Disk;
use crate::health::Health;
use crate::hosts::{is_told_of_copies, word};
use crate::pipeline::Plan;
use crate::sample::Stage;

/// Upper bounds of the buckets: each second power of two from 16 us to 69 s, in ns. A page's own
/// buckets end there too, so the counts are exact.
const BOUNDS_LOG2: std::ops::RangeInclusive<u32> = 14..=36;

const NS: f64 = 1e9;

/// A page, as text.
pub(crate) fn text(plan: &Plan, health: &Health) -> String {
    let mut page = Page(String::with_capacity(64 << 10));
    page.family("sovereign_stages", "gauge", "Tools that run.");
    page.sample("sovereign_stages", &[], plan.stages.len() as f64);
    page.family("sovereign_fresh", "gauge", "1 if /healthz says 200.");
    page.sample("sovereign_fresh", &[], f64::from(u8::from(health.is_fresh())));
    infos(&mut page, plan);
    for (name, kind, help, of) in FIGURES {
        page.family(name, kind, help);
        for stage in &plan.stages {
            if let Some(value) = of(stage) {
                page.sample(name, &labels(stage), value);
            }
        }
    }
    for (name, label, help, kind) in NAMED {
        named(&mut page, plan, (name, label, help), *kind);
    }
    histogram(&mut page, plan, "sovereign_latency_seconds", LATENCY_HELP, |stage| {
        &stage.page.latency
    });
    histogram(&mut page, plan, "sovereign_age_seconds", AGE_HELP, |stage| &stage.page.age);
    archives(&mut page, plan);
    hosts(&mut page, plan);
    page.0
}

const LATENCY_HELP: &str = "Time that events took in the stage.";
const AGE_HELP: &str = "Time since events were received off the network when they left the stage.";

/// Name, type, help and value of a metric. What is not known has no sample.
type Figure<T> = (&'static str, &'static str, &'static str, fn(&T) -> Option<f64>);

/// What each stage has one of.
const FIGURES: &[Figure<Stage>] = &[
    ("sovereign_start_time_seconds", "gauge", "When the stage was started, unix time.", |stage| {
        Some(stage.page.start_ns as f64 / NS)
    }),
    ("sovereign_events_in_total", "counter", "Events taken in.", |stage| {
        Some(stage.page.counts.events_in as f64)
    }),
    ("sovereign_events_out_total", "counter", "Events handed on.", |stage| {
        Some(stage.page.counts.events_out as f64)
    }),
    ("sovereign_refused_total", "counter", "Events refused for good.", |stage| {
        Some(stage.page.counts.refused as f64)
    }),
    ("sovereign_dropped_total", "counter", "Duplicates dropped.", |stage| {
        Some(stage.page.counts.dropped as f64)
    }),
    ("sovereign_frames_in_total", "counter", "Frames of any kind taken in.", |stage| {
        Some(stage.page.counts.frames_in as f64)
    }),
    ("sovereign_frames_out_total", "counter", "Frames of any kind handed on.", |stage| {
        Some(stage.page.counts.frames_out as f64)
    }),
    ("sovereign_bytes_in_total", "counter", "Bytes taken in.", |stage| {
        Some(stage.page.counts.bytes_in as f64)
    }),
    ("sovereign_bytes_out_total", "counter", "Bytes handed on.", |stage| {
        Some(stage.page.counts.bytes_out as f64)
    }),
    ("sovereign_held_events", "gauge", "Events that wait inside the stage.", |stage| {
        Some(stage.page.counts.held as f64)
    }),
    ("sovereign_queue_bytes", "gauge", "Bytes that wait in the joint before the stage.", |stage| {
        known_queue(stage).then_some(stage.page.counts.queue_depth as f64)
    }),
    ("sovereign_queue_capacity_bytes", "gauge", "Bytes that this joint holds.", |stage| {
        known_queue(stage).then_some(stage.page.counts.queue_capacity as f64)
    }),
    ("sovereign_input_wait_seconds_total", "counter", "Time spent waiting for input.", |stage| {
        Some(stage.page.counts.input_wait_ns as f64 / NS)
    }),
    ("sovereign_output_wait_seconds_total", "counter", "Time spent waiting for output.", |stage| {
        Some(stage.page.counts.output_wait_ns as f64 / NS)
    }),
    ("sovereign_last_event_age_seconds", "gauge", "Time since the last event came.", |stage| {
        let last_ns = stage.page.counts.last_event_ns;
        (last_ns > 0).then(|| stage.page.taken_ns.saturating_sub(last_ns) as f64 / NS)
    }),
    ("sovereign_resident_bytes", "gauge", "Memory of the stage's process.", |stage| {
        Some(stage.vitals?.resident_bytes as f64)
    }),
    ("sovereign_cpu_seconds_total", "counter", "Processor time of the stage's process.", |stage| {
        Some(stage.vitals?.cpu_ns as f64 / NS)
    }),
];

fn known_queue(stage: &Stage) -> bool {
    stage.page.counts.queue_capacity > 0
}

/// Families of the numbers that a tool has beyond those: name, label, help, kind.
const NAMED: &[(&str, &str, &str, Kind)] = &[
    ("sovereign_refusals_total", "rule", "Events refused, by rule.", Kind::Refusal),
    (
        "sovereign_unproved_total",
        "rule",
        "Events neither proved nor refused, by rule.",
        Kind::Unproved,
    ),
    ("sovereign_count_total", "count", "What the stage counts besides.", Kind::Count),
    ("sovereign_level", "level", "What goes up and down in the stage.", Kind::Gauge),
];

fn labels(stage: &Stage) -> [(&str, &str); 2] {
    [("stage", &stage.label), ("tool", &stage.page.tool)]
}

fn infos(page: &mut Page, plan: &Plan) {
    let name = "sovereign_stage_info";
    page.family(name, "gauge", "1; the labels say what the stage is.");
    for (stage, pipeline) in plan.stages.iter().zip(&plan.pipelines) {
        let (pid, pipeline) = (stage.page.pid.to_string(), pipeline.to_string());
        let [label, tool] = labels(stage);
        let more =
            [("version", stage.page.release.as_str()), ("pid", &pid), ("pipeline", &pipeline)];
        page.sample(name, &[label, tool, more[0], more[1], more[2]], 1.0);
    }
}

fn named(page: &mut Page, plan: &Plan, (name, label, help): (&str, &str, &str), kind: Kind) {
    page.family(name, if kind == Kind::Gauge { "gauge" } else { "counter" }, help);
    for stage in &plan.stages {
        let rows = stage.page.named.iter().filter(|row| row.kind == kind);
        let rows: BTreeMap<&str, u64> = rows.map(|row| (row.name.as_str(), row.value)).collect();
        for (row, value) in rows {
            let [stage, tool] = labels(stage);
            page.sample(name, &[stage, tool, (label, row)], value as f64);
        }
    }
}

fn histogram(page: &mut Page, plan: &Plan, name: &str, help: &str, of: fn(&Stage) -> &Histogram) {
    page.family(name, "histogram", help);
    let (bucket, sum, count) =
        (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
    for stage in plan.stages.iter().filter(|stage| of(stage).count() > 0) {
        let histogram = of(stage);
        let mut buckets = histogram.buckets().peekable();
        let [label, tool] = labels(stage);
        let mut below = 0_u64;
        for bound in BOUNDS_LOG2.step_by(2).map(|log2| 1_u64 << log2) {
            while let Some((_, count)) = buckets.next_if(|(most, _)| *most < bound) {
                below = below.saturating_add(count);
            }
            let bound = (bound as f64 / NS).to_string();
            page.sample(&bucket, &[label, tool, ("le", &bound)], below as f64);
        }
        page.sample(&bucket, &[label, tool, ("le", "+Inf")], histogram.count() as f64);
        page.sample(&sum, &[label, tool], histogram.sum_ns() as f64 / NS);
        page.sample(&count, &[label, tool], histogram.count() as f64);
    }
}

fn archives(page: &mut Page, plan: &Plan) {
    for (name, kind, help, of) in ARCHIVES {
        page.family(name, kind, help);
        for stage in &plan.stages {
            if let Some((disk, value)) =
                stage.disk.as_ref().and_then(|disk| Some((disk, of(disk)?)))
            {
                let [label, tool] = labels(stage);
                page.sample(name, &[label, tool, ("path", &disk.path)], value);
            }
        }
    }
}

const ARCHIVES: &[Figure<Disk>] = &[
    ("sovereign_free_bytes", "gauge", "Room left where the archive lies.", |disk| {
        Some(disk.free_bytes as f64)
    }),
    ("sovereign_disk_bytes", "gauge", "Room in all where the archive lies.", |disk| {
        Some(disk.total_bytes as f64)
    }),
    ("sovereign_days_until_full", "gauge", "How long it lasts at the pace of this run.", |disk| {
        Some(disk.days_until_full())
    }),
];

const HOSTS: &[Figure<Host>] = &[
    (
        "sovereign_host_lag_seconds",
        "gauge",
        "How old a host's events were lately when they were received.",
        |host| Some(host.lag_ns? as f64 / NS),
    ),
    ("sovereign_host_events_total", "counter", "Events of a host handed on.", |host| {
        Some(host.events as f64)
    }),
    (
        "sovereign_host_first_total",
        "counter",
        "Signed events that a host was the first to send, as dedupe saw them.",
        |host| is_told_of_copies(host).then_some(host.first as f64),
    ),
    (
        "sovereign_host_copies_total",
        "counter",
        "Events of a host of which one had come before, as dedupe saw them.",
        |host| is_told_of_copies(host).then_some(host.copies as f64),
    ),
];

/// How many hosts stand how, and of each how late its events came, how many there were, and how
/// many of them others had sent before.
fn hosts(page: &mut Page, plan: &Plan) {
    let taps = || plan.stages.iter().filter(|stage| !stage.page.hosts.is_empty());
    page.family("sovereign_hosts", "gauge", "Hosts of pds-tap, by state.");
    for stage in taps() {
        use HostState::{Connected, Dead, Refused, Waiting};
        for state in [Connected, Waiting, Dead, Refused] {
            let hosts = stage.page.hosts.iter().filter(|host| host.state == state).count();
            let [label, tool] = labels(stage);
            page.sample("sovereign_hosts", &[label, tool, ("state", word(state))], hosts as f64);
        }
    }
    for (name, kind, help, of) in HOSTS {
        page.family(name, kind, help);
        for stage in taps() {
            let mut seen = BTreeSet::new();
            let [label, tool] = labels(stage);
            for host in stage.page.hosts.iter().filter(|host| seen.insert(host.name.as_str())) {
                if let Some(value) = of(host) {
                    page.sample(name, &[label, tool, ("host", &host.name)], value);
                }
            }
        }
    }
}

/// The text so far.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into memory can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            self.0.push(if n == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for letter in text.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    letter => self.0.push(letter),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = match value.is_infinite() {
            true => writeln!(self.0, " +Inf"),
            false => writeln!(self.0, " {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::stage;

    fn lines(plan: &Plan) -> Vec<String> {
        text(plan, &Health::Fresh(String::new())).lines().map(str::to_owned).collect()
    }

    #[test]
    fn counts_at_or_below_each_bound_are_exact() {
        let mut one = stage("a", &[], &[]);
        for ns in [1, (1 << 14) - 1, 1 << 14, (1 << 16) - 1, 1 << 40] {
            one.page.latency.record(ns);
        }
        let lines = lines(&Plan::of(vec![one]));
        let bucket = |le: &str| {
            let start =
                format!("sovereign_latency_seconds_bucket{{stage=\"a\",tool=\"a\",le=\"{le}\"}} ");
            let found = lines.iter().find_map(|line| line.strip_prefix(&start));
            found.unwrap_or_else(|| panic!("{start} in {lines:#?}")).to_owned()
        };
        let counts = ["0.000016384", "0.000065536", "68.719476736", "+Inf"].map(bucket);
        assert_eq!(counts, ["2", "4", "4", "5"]);
        assert!(
            lines.contains(&"sovereign_latency_seconds_count{stage=\"a\",tool=\"a\"} 5".into())
        );
    }

    #[test]
    fn names_from_outside_are_escaped_and_never_make_a_series_twice() {
        let mut one = stage("a\"b\\c", &[], &[]);
        let host = |lag_ns| stats::Host { name: "h".into(), lag_ns, ..stats::Host::default() };
        one.page.hosts = vec![host(Some(1_500_000_000)), host(None)].into();
        let lines = lines(&Plan::of(vec![one.clone(), one]));
        let lag =
            "sovereign_host_lag_seconds{stage=\"a\\\"b\\\\c\",tool=\"a\\\"b\\\\c\",host=\"h\"} 1.5";
        assert_eq!(lines.iter().filter(|line| *line == lag).count(), 1, "{lines:#?}");
        let mut series: Vec<_> =
            lines.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all);
    }
}
