//! What a chain did, summed up from the pages that its tools kept: for the end of a run.

use std::path::PathBuf;

use anyhow::{Context, bail};
use cli::units::show_bytes;
use stats::{Kind, Snapshot};

use crate::figures::{count, rate, span};

/// Prints the summary of these pages.
pub(crate) fn print(files: &[PathBuf]) -> anyhow::Result<()> {
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        Snapshot::decode(&bytes).with_context(|| path.display().to_string())
    };
    let pages: Vec<Snapshot> = files.iter().map(read).collect::<anyhow::Result<_>>()?;
    let lines = lines(&pages);
    if lines.is_empty() {
        bail!("none of these tools handles events; name the pages of a chain's stages");
    }
    let text: String = lines.iter().map(|(what, said)| format!("  {what:<10} {said}\n")).collect();
    cli::print(&text)
}

/// What is summed up, and what was counted. A stage that was not part of the chain has no line.
fn lines(pages: &[Snapshot]) -> Vec<(&'static str, String)> {
    let of = |tool: &str| pages.iter().find(|page| page.tool == tool);
    let mut lines = Vec::new();
    if let Some(tap) = of("pds-tap") {
        lines.push(("received", received(tap)));
    }
    if let Some(dedupe) = of("dedupe") {
        lines.push(("copies", format!("{} dropped", count(dedupe.counts.dropped))));
    }
    if let Some(verify) = of("sig-verify") {
        lines.push(("proved", format!("{} events", count(named(verify, "proved")))));
        lines.push(("refused", refused(verify)));
        lines.push(("unchecked", format!("{} events", count(named(verify, "unchecked")))));
    }
    if let Some(pack) = of("archive-pack") {
        lines.push(("kept", kept(pack)));
    }
    if let Some((tap, last)) = of("pds-tap").zip(pages.last()) {
        lines.push(("speed", speed(tap, last)));
    }
    if let Some(verify) = of("sig-verify") {
        lines.push(("latency", latency(verify)));
    }
    lines
}

fn received(tap: &Snapshot) -> String {
    let (events, bytes) = (count(tap.counts.events_out), show_bytes(tap.counts.bytes_out));
    format!("{events} events, {bytes} of frames")
}

/// How many, and under which rules.
fn refused(verify: &Snapshot) -> String {
    let rules = verify.named.iter().filter(|named| named.kind == Kind::Refusal && named.value > 0);
    let mut rules: Vec<_> = rules.map(|named| (named.value, &named.name)).collect();
    rules.sort_unstable_by_key(|(value, name)| (std::cmp::Reverse(*value), *name));
    let rules: Vec<String> =
        rules.iter().map(|(value, name)| format!("{name} {}", count(*value))).collect();
    match rules.is_empty() {
        true => format!("{} events", count(verify.counts.refused)),
        false => format!("{} events: {}", count(verify.counts.refused), rules.join(", ")),
    }
}

/// What went into the archive, and what it takes there.
fn kept(pack: &Snapshot) -> String {
    let (raw, stored) = (named(pack, "raw-bytes"), named(pack, "stored-bytes"));
    let mut text = format!("{} events", count(named(pack, "stored")));
    if raw > 0 {
        text += &format!(": {} in {}", show_bytes(raw), show_bytes(stored));
        text += &match stored < raw {
            true => format!(", {:.1} % saved", 100.0 * (1.0 - stored as f64 / raw as f64)),
            false => ", in a log that is compressed when it is sealed".into(),
        };
    }
    text
}

/// From the start of the source to the last event at the end of the chain.
fn speed(tap: &Snapshot, last: &Snapshot) -> String {
    let end_ns = tap.counts.last_event_ns.max(last.counts.last_event_ns);
    let ns = end_ns.saturating_sub(tap.start_ns);
    let per_second = if ns == 0 { 0.0 } else { tap.counts.events_out as f64 * 1e9 / ns as f64 };
    format!("{} events/s over {}", rate(per_second), span(ns))
}

fn latency(verify: &Snapshot) -> String {
    let at = |share| verify.age.percentile(share).map_or_else(|| "-".into(), span);
    let (half, most, nearly_all) = (at(0.5), at(0.99), at(0.999));
    format!("socket to verdict p50 {half}, p99 {most}, p99.9 {nearly_all}")
}

fn named(page: &Snapshot, name: &str) -> u64 {
    page.named.iter().find(|named| named.name == name).map_or(0, |named| named.value)
}
