//! Who waits for whom, in words.
//!
//! A stage that spends much of its time waiting for output has a reader that is too slow; one
//! that waits for input has a writer with too little to give. Following the waits leads to the
//! stage that sets the pace, and what that one does says why.

use std::collections::BTreeMap;

use stats::State;

use crate::figures::{and, percent};
use crate::pipeline::Plan;
use crate::sample::Stage;

/// Share of its time from which on a stage is said to wait.
const WAITS: f64 = 0.3;

/// Share of its work that a stage has to compute for it to be the processor that bounds it; a
/// stage that computes less waits for something that it calls work, such as a sync.
const COMPUTES: f64 = 0.6;

/// Tools whose input is the network.
const NETWORK_TOOLS: [&str; 2] = ["pds-tap", "plc-fetch"];

/// Joints that are followed to find who is waited for.
const STEPS_MAX: usize = 64;

/// Those who wait for one stage.
#[derive(Default)]
struct Waiting {
    /// To hand on to it.
    to_hand_on: Vec<String>,
    /// For what it hands on.
    for_more: Vec<String>,
}

/// One or more sentences on each pipeline, in order.
pub(crate) fn sentences(plan: &Plan) -> Vec<String> {
    let mut sentences = vec![];
    for pipeline in 0..plan.pipeline_count() {
        let members: Vec<usize> =
            (0..plan.stages.len()).filter(|stage| plan.pipelines[*stage] == pipeline).collect();
        sentences.extend(of_pipeline(plan, &members));
    }
    sentences
}

/// Whether a stage has said what it does; one that has not seems to work all the time.
fn has_said(stage: &Stage) -> bool {
    let counts = &stage.page.counts;
    stage.page.state != State::Starting || counts.input_wait_ns > 0 || counts.output_wait_ns > 0
}

fn of_pipeline(plan: &Plan, members: &[usize]) -> Vec<String> {
    let mut waiting: BTreeMap<usize, Waiting> = BTreeMap::new();
    for stage in members.iter().copied() {
        let label = || plan.stages[stage].label.clone();
        let recent = &plan.stages[stage].recent;
        if recent.output_wait >= WAITS && recent.output_wait >= recent.input_wait {
            let pace = follow(plan, stage, forward);
            if pace != stage {
                waiting.entry(pace).or_default().to_hand_on.push(label());
                continue;
            }
        }
        if recent.input_wait >= WAITS {
            let pace = follow(plan, stage, backward);
            if pace != stage {
                waiting.entry(pace).or_default().for_more.push(label());
            }
        }
    }
    if waiting.is_empty() {
        return alone(plan, members);
    }
    waiting.iter().map(|(pace, waiting)| sentence(&plan.stages[*pace], waiting)).collect()
}

/// Where a stage waits to hand on to: the reader that takes least.
fn forward(plan: &Plan, stage: usize) -> Option<usize> {
    if plan.stages[stage].recent.output_wait < WAITS {
        return None;
    }
    let readers = plan.joints_out_of(stage).map(|joint| joint.to);
    readers.min_by(|a, b| by_share(plan, *a, *b, |stage| stage.recent.input_wait))
}

/// Where a stage waits for more from: the writer that gives least.
fn backward(plan: &Plan, stage: usize) -> Option<usize> {
    if plan.stages[stage].recent.input_wait < WAITS {
        return None;
    }
    let writers = plan.joints_into(stage).map(|joint| joint.from);
    writers.min_by(|a, b| by_share(plan, *a, *b, |stage| stage.recent.output_wait))
}

fn by_share(plan: &Plan, a: usize, b: usize, share: fn(&Stage) -> f64) -> std::cmp::Ordering {
    share(&plan.stages[a]).total_cmp(&share(&plan.stages[b]))
}

/// Follows waits to their end. A circle of waits ends where it has been once around.
fn follow(plan: &Plan, from: usize, step: fn(&Plan, usize) -> Option<usize>) -> usize {
    let mut stage = from;
    for _ in 0..STEPS_MAX {
        match step(plan, stage) {
            Some(next) => stage = next,
            None => break,
        }
    }
    stage
}

fn sentence(pace: &Stage, waiting: &Waiting) -> String {
    let mut parts = vec![];
    let verb = |names: &[String]| if names.len() == 1 { "waits" } else { "wait" };
    let Waiting { to_hand_on, for_more } = waiting;
    if !to_hand_on.is_empty() {
        parts.push(format!("{} {} to hand on to it", and(to_hand_on), verb(to_hand_on)));
    }
    if !for_more.is_empty() {
        parts.push(format!("{} {} for more", and(for_more), verb(for_more)));
    }
    format!("{} sets the pace{}: {}.", pace.label, doing(pace), parts.join(", "))
}

/// What a stage does with its time and what bounds it, as it stands in a sentence.
fn doing(stage: &Stage) -> String {
    let recent = &stage.recent;
    if !has_said(stage) {
        String::new()
    } else if recent.output_wait >= WAITS && recent.output_wait >= recent.input_wait {
        let outputs = &stage.page.outputs;
        let output = if outputs.is_empty() { "its output".into() } else { and(outputs) };
        let bound = if outputs.iter().any(|end| is_on_disk(end)) { "disk-bound, " } else { "" };
        let share = percent(recent.output_wait);
        format!(", {bound}waiting {share} of the time for {output} to take more")
    } else if recent.input_wait >= WAITS {
        let bound = match stage.page.inputs.as_slice() {
            ends if NETWORK_TOOLS.contains(&stage.page.tool.as_str())
                || ends.iter().any(|end| end.contains("://")) =>
            {
                "network-bound, "
            }
            ends if ends.iter().any(|end| is_on_disk(end)) => "disk-bound, ",
            _ => "",
        };
        let share = percent(recent.input_wait);
        format!(", {bound}itself waiting {share} of the time for its own input")
    } else {
        let share = percent(recent.work());
        match recent.cores {
            Some(cores) if cores >= COMPUTES * recent.work() => {
                format!(", CPU-bound, at work {share} of the time")
            }
            Some(cores) if stage.page.outputs.iter().any(|end| is_on_disk(end)) => {
                let computing = percent(cores / recent.work().max(0.01));
                format!(
                    ", disk-bound, at work {share} of the time and computing {computing} of that"
                )
            }
            _ => format!(", at work {share} of the time"),
        }
    }
}

/// Whether this is a file or a folder.
fn is_on_disk(end: &str) -> bool {
    end.starts_with('/') && !end.starts_with("/dev/")
}

/// What there is to say where nobody waits for another.
fn alone(plan: &Plan, members: &[usize]) -> Vec<String> {
    let said: Vec<_> =
        members.iter().map(|stage| &plan.stages[*stage]).filter(|stage| has_said(stage)).collect();
    match said.as_slice() {
        [] => vec![],
        [only] if members.len() == 1 => {
            vec![format!("{}: {}.", only.label, doing(only).trim_start_matches(", "))]
        }
        _ => vec!["no stage waits for another.".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::stage;

    /// A chain of stages with the shares of their time spent waiting for input and output.
    fn chain(shares: &[(&str, f64, f64)]) -> Vec<String> {
        let stages = shares.iter().enumerate().map(|(n, (tool, input_wait, output_wait))| {
            let mut stage = stage(tool, &[&format!("ring:{n}")], &[&format!("ring:{}", n + 1)]);
            stage.page.state = State::Working;
            stage.recent.input_wait = *input_wait;
            stage.recent.output_wait = *output_wait;
            stage
        });
        sentences(&Plan::of(stages.collect()))
    }

    #[test]
    fn the_slow_stage_is_named_with_all_who_wait_for_it() {
        let found = chain(&[
            ("tap", 0.0, 0.9),
            ("dedupe", 0.1, 0.8),
            ("verify", 0.01, 0.01),
            ("pack", 0.7, 0.0),
        ]);
        let expected = "verify sets the pace, at work 98% of the time: \
                        tap and dedupe wait to hand on to it, pack waits for more.";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_slow_network_is_told_from_a_slow_stage() {
        let found = chain(&[("pds-tap", 0.95, 0.0), ("verify", 0.9, 0.0), ("pack", 0.97, 0.0)]);
        let expected = "pds-tap sets the pace, network-bound, itself waiting 95% of the time for \
                        its own input: verify and pack wait for more.";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_slow_processor_is_told_from_a_slow_disk() {
        let pack = |cores: Option<f64>| {
            let mut tap = stage("tap", &["wss://a"], &["ring:a"]);
            tap.page.state = State::Output;
            tap.recent.output_wait = 0.9;
            let mut pack = stage("pack", &["ring:a"], &["/data/archive"]);
            pack.page.state = State::Working;
            pack.recent.cores = cores;
            sentences(&Plan::of(vec![tap, pack])).remove(0)
        };
        let end = ": tap waits to hand on to it.";
        let start = "pack sets the pace";
        assert_eq!(pack(Some(0.95)), format!("{start}, CPU-bound, at work 100% of the time{end}"));
        let disk = "disk-bound, at work 100% of the time and computing 20% of that";
        assert_eq!(pack(Some(0.2)), format!("{start}, {disk}{end}"));
        assert_eq!(pack(None), format!("{start}, at work 100% of the time{end}"));
    }

    #[test]
    fn a_slow_reader_that_is_no_tool_of_ours_is_named() {
        let found = chain(&[("tap", 0.0, 0.9), ("pack", 0.0, 0.85)]);
        let expected = "pack sets the pace, waiting 85% of the time for ring:2 to take more: \
                        tap waits to hand on to it.";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn nobody_waiting_is_said_too() {
        assert_eq!(chain(&[("a", 0.1, 0.0), ("b", 0.2, 0.1)]), ["no stage waits for another."]);
        assert_eq!(chain(&[("a", 0.1, 0.0)]), ["a: at work 90% of the time."]);
        assert_eq!(sentences(&Plan::of(vec![stage("a", &[], &[])])), Vec::<String>::new());
    }

    #[test]
    fn stages_that_all_wait_for_each_other_in_a_circle_end_the_search() {
        let mut a = stage("a", &["ring:x"], &["ring:y"]);
        let mut b = stage("b", &["ring:y"], &["ring:x"]);
        a.recent.output_wait = 1.0;
        b.recent.output_wait = 1.0;
        assert!(sentences(&Plan::of(vec![a, b])).len() <= 2);
    }
}
