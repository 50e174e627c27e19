//! What scripts read: one JSON object a line for each tool, in pipeline order.
//!
//! Fields are added in later versions and never change their meaning.
//!
//! | field | meaning |
//! |---|---|
//! | `type` | `stage` |
//! | `tool`, `name`, `release`, `pid` | the program, what the user calls this run (or null), its version, its process |
//! | `start_ns`, `time_ns` | when it started and when this was read, unix ns |
//! | `pipeline`, `position` | which pipeline it belongs to and its place among all lines of this round, from 0 |
//! | `inputs`, `outputs` | `pipe:[INODE]`, `ring:NAME`, paths, URLs |
//! | `state` | `starting`, `working`, `waiting-for-input`, `waiting-for-output` |
//! | `events_in`, `events_out`, `refused`, `dropped`, `held` | events; `dropped` are duplicates, `held` wait inside |
//! | `frames_in`, `frames_out`, `bytes_in`, `bytes_out` | since the start |
//! | `queue_bytes`, `queue_bytes_max` | waiting in the input joints, and what they hold (0: not known) |
//! | `last_event_ns` | when an event was last taken in, unix ns, or null |
//! | `input_wait_ns`, `output_wait_ns` | time spent waiting since the start |
//! | `label` | what tells it from all others: its name, with a number if there are several |
//! | `refusals`, `unproved`, `counts`, `gauges` | the tool's own numbers by name; `refusals` and what was left `unproved` by rule |
//! | `resident_bytes`, `cpu_ns` | memory and processor time of its process, or null |
//! | `archive` | only of archive-pack: `path`, `free_bytes` there, `days_until_full` at the pace of this run (or null), `raw_bytes` of the events stored in this run, `stored_bytes` that they take, `saved_share` (or null) |
//! | `hosts` | only of a tool that listens to many: `connected`, `waiting`, `dead`, `refused` are how many; `loudest`, `slowest` and `lost` (dead), and of dedupe `copiers` (most copies), five hosts each at most, as below |
//! | `latency`, `age` | `count`, `sum_ns`, `p50_ns`, `p99_ns`, `p999_ns` (null if nothing was counted) since the start: time in the tool, and time since receipt off the network |
//! | `recent` | `seconds`, `events_in_per_s`, `events_out_per_s`, `refused_per_s`, `dropped_per_s`, `bytes_in_per_s`, `bytes_out_per_s`, `input_wait_share`, `output_wait_share`, `cores` (processor time, 1 is one core, or null), `latency`, `age`: between this round and the one before |
//!
//! With `--hosts` a line for each host follows the one of its tool:
//!
//! | field | meaning |
//! |---|---|
//! | `type` | `host` |
//! | `tap` | process of the tool that listens to it |
//! | `host`, `state` | its name; `connected`, `waiting`, `dead`, `refused` |
//! | `events`, `bytes`, `events_per_s` | handed on since the start, and as of late |
//! | `seq`, `last_event_ns` | of the last event, and when it was received, unix ns; or null |
//! | `lag_ns` | how old an event was lately when it was received, by its own time, or null |
//! | `failures` | attempts to connect that failed since the last that did not |
//! | `first`, `copies` | of dedupe: signed events that it was the first of all to send, and events of which one had come before; or null |

use std::collections::BTreeMap;

use serde::Serialize;
use stats::{Histogram, Kind, State};

use crate::disk::Disk;
use crate::hosts::{Hosts, One, Order, Roll};
use crate::pipeline::Plan;
use crate::sample::{Recent, Stage};

#[derive(Serialize)]
pub(crate) struct Line<'a> {
    r#type: &'static str,
    tool: &'a str,
    name: Option<&'a str>,
    label: &'a str,
    release: &'a str,
    pid: u64,
    start_ns: u64,
    time_ns: u64,
    pipeline: usize,
    position: usize,
    inputs: &'a [String],
    outputs: &'a [String],
    state: &'static str,
    events_in: u64,
    events_out: u64,
    refused: u64,
    dropped: u64,
    held: u64,
    frames_in: u64,
    frames_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    queue_bytes: u64,
    queue_bytes_max: u64,
    last_event_ns: Option<u64>,
    input_wait_ns: u64,
    output_wait_ns: u64,
    refusals: BTreeMap<&'a str, u64>,
    unproved: BTreeMap<&'a str, u64>,
    counts: BTreeMap<&'a str, u64>,
    gauges: BTreeMap<&'a str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Hosts<'a>>,
    resident_bytes: Option<u64>,
    cpu_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<Archive<'a>>,
    latency: Times,
    age: Times,
    recent: Window,
}

#[derive(Serialize)]
struct Archive<'a> {
    path: &'a str,
    free_bytes: u64,
    days_until_full: Option<f64>,
    raw_bytes: u64,
    stored_bytes: u64,
    saved_share: Option<f64>,
}

impl<'a> From<&'a Disk> for Archive<'a> {
    fn from(disk: &'a Disk) -> Self {
        Self {
            path: &disk.path,
            free_bytes: disk.free_bytes,
            days_until_full: Some(disk.days_until_full())
                .filter(|days| days.is_finite())
                .map(rounded),
            raw_bytes: disk.raw_bytes,
            stored_bytes: disk.stored_bytes,
            saved_share: disk.saved().map(rounded),
        }
    }
}

#[derive(Serialize)]
struct Times {
    count: u64,
    sum_ns: u64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
}

#[derive(Serialize)]
struct Window {
    seconds: f64,
    events_in_per_s: f64,
    events_out_per_s: f64,
    refused_per_s: f64,
    dropped_per_s: f64,
    bytes_in_per_s: f64,
    bytes_out_per_s: f64,
    input_wait_share: f64,
    output_wait_share: f64,
    cores: Option<f64>,
    latency: Times,
    age: Times,
}

impl From<&Histogram> for Times {
    fn from(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            sum_ns: histogram.sum_ns(),
            p50_ns: histogram.percentile(0.5),
            p99_ns: histogram.percentile(0.99),
            p999_ns: histogram.percentile(0.999),
        }
    }
}

impl From<&Recent> for Window {
    fn from(recent: &Recent) -> Self {
        Self {
            seconds: rounded(recent.seconds),
            events_in_per_s: rounded(recent.events_in_per_s),
            events_out_per_s: rounded(recent.events_out_per_s),
            refused_per_s: rounded(recent.refused_per_s),
            dropped_per_s: rounded(recent.dropped_per_s),
            bytes_in_per_s: rounded(recent.bytes_in_per_s),
            bytes_out_per_s: rounded(recent.bytes_out_per_s),
            input_wait_share: rounded(recent.input_wait),
            output_wait_share: rounded(recent.output_wait),
            cores: recent.cores.map(rounded),
            latency: (&recent.latency).into(),
            age: (&recent.age).into(),
        }
    }
}

/// Three digits behind the point: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Working => "working",
        State::Input => "waiting-for-input",
        State::Output => "waiting-for-output",
    }
}

impl<'a> Line<'a> {
    fn of(stage: &'a Stage, pipeline: usize, position: usize) -> Self {
        let (page, counts) = (&stage.page, &stage.page.counts);
        let named = |kind: Kind| {
            let named = page.named.iter().filter(move |named| named.kind == kind);
            named.map(|named| (named.name.as_str(), named.value)).collect()
        };
        Self {
            r#type: "stage",
            tool: &page.tool,
            name: page.name.as_deref(),
            label: &stage.label,
            release: &page.release,
            pid: page.pid,
            start_ns: page.start_ns,
            time_ns: page.taken_ns,
            pipeline,
            position,
            inputs: &page.inputs,
            outputs: &page.outputs,
            state: state_word(page.state),
            events_in: counts.events_in,
            events_out: counts.events_out,
            refused: counts.refused,
            dropped: counts.dropped,
            held: counts.held,
            frames_in: counts.frames_in,
            frames_out: counts.frames_out,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            queue_bytes: counts.queue_depth,
            queue_bytes_max: counts.queue_capacity,
            last_event_ns: (counts.last_event_ns > 0).then_some(counts.last_event_ns),
            input_wait_ns: counts.input_wait_ns,
            output_wait_ns: counts.output_wait_ns,
            refusals: named(Kind::Refusal),
            unproved: named(Kind::Unproved),
            counts: named(Kind::Count),
            gauges: named(Kind::Gauge),
            hosts: Roll::of(&page.hosts).map(Hosts::from),
            resident_bytes: stage.vitals.map(|vitals| vitals.resident_bytes),
            cpu_ns: stage.vitals.map(|vitals| vitals.cpu_ns),
            archive: stage.disk.as_ref().map(Archive::from),
            latency: (&page.latency).into(),
            age: (&page.age).into(),
            recent: (&stage.recent).into(),
        }
    }
}

#[derive(Serialize)]
struct HostLine<'a> {
    r#type: &'static str,
    tap: u64,
    #[serde(flatten)]
    host: One<'a>,
}

/// All tools, in order.
pub(crate) fn stages(plan: &Plan) -> impl Iterator<Item = Line<'_>> {
    let stages = plan.stages.iter().zip(&plan.pipelines).enumerate();
    stages.map(|(position, (stage, pipeline))| Line::of(stage, *pipeline, position))
}

/// The lines of one round, with so many hosts of each tap.
pub(crate) fn lines(plan: &Plan, hosts: usize) -> anyhow::Result<Vec<u8>> {
    let mut text = vec![];
    for (line, stage) in stages(plan).zip(&plan.stages) {
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
        for host in Order::Loudest.first(stage.page.hosts.iter(), hosts) {
            let line = HostLine { r#type: "host", tap: stage.page.pid, host: host.into() };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
    }
    Ok(text)
}
