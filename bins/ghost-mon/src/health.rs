//! Whether a chain does its work: for `/healthz`, and for supervisors that ask there.
//!
//! What counts is a chain that begins with `pds-tap`; where there is none, every tool that runs.
//! Each of its stages has to have taken something in of late (marks count: a chain that works
//! passes one on every second); one that has only just begun has as long to do so.

use std::time::Duration;

use crate::figures::span;
use crate::pipeline::Plan;
use crate::sample::Stage;

/// Where events come from.
const SOURCE: &str = "pds-tap";

/// How it is: what works, or what does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Fresh(String),
    Stale(String),
}

impl Health {
    pub(crate) fn of(plan: &Plan, limit: Duration) -> Self {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let is_source =
            |(stage, pipeline): (&Stage, &usize)| (stage.page.tool == SOURCE).then_some(*pipeline);
        let chains: Vec<usize> =
            plan.stages.iter().zip(&plan.pipelines).filter_map(is_source).collect();
        let counts = |pipeline: &usize| chains.is_empty() || chains.contains(pipeline);
        let stages = plan.stages.iter().zip(&plan.pipelines);
        let stages = stages.filter(|(_, pipeline)| counts(pipeline)).map(|(stage, _)| stage);
        let Some((silence_ns, stage)) =
            stages.map(|stage| (silence_ns(stage), stage)).max_by_key(|(silence, _)| *silence)
        else {
            return Self::Stale("no tool of this system is running here".into());
        };
        let (label, silence, limit) = (&stage.label, span(silence_ns), span(limit_ns));
        match silence_ns <= limit_ns {
            true => {
                Self::Fresh(format!("longest silent is {label}, for {silence} (limit {limit})"))
            }
            false => Self::Stale(format!(
                "{label} has taken nothing in for {silence}, longer than {limit}"
            )),
        }
    }

    /// The words alone.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Fresh(reason) | Self::Stale(reason) => reason,
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }
}

/// How long a stage has taken nothing in.
fn silence_ns(stage: &Stage) -> u64 {
    let page = &stage.page;
    page.taken_ns.saturating_sub(page.counts.last_event_ns.max(page.start_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::stage;

    /// A tool that took something in so many seconds ago; `None` for never. All run for 100 s.
    fn silent(tool: &str, ends: [&str; 2], seconds: Option<u64>) -> Stage {
        let mut stage = stage(tool, &[ends[0]], &[ends[1]]);
        stage.page.start_ns = 1_000_000_000;
        stage.page.taken_ns = 101_000_000_000;
        stage.page.counts.last_event_ns = seconds.map_or(0, |s| (101 - s) * 1_000_000_000);
        stage
    }

    fn health(stages: Vec<Stage>) -> Health {
        Health::of(&Plan::of(stages), Duration::from_secs(60))
    }

    #[test]
    fn every_stage_of_a_chain_has_to_be_fresh() {
        let tap = |seconds| silent("pds-tap", ["wss://a", "ring:a"], seconds);
        let pack = |seconds| silent("archive-pack", ["ring:a", "/a"], seconds);
        assert!(health(vec![tap(Some(1)), pack(Some(60))]).is_fresh());
        let stalled = health(vec![tap(Some(1)), pack(Some(61))]);
        assert_eq!(stalled.reason(), "archive-pack has taken nothing in for 61s, longer than 60s");
        assert!(!stalled.is_fresh());
        assert!(!health(vec![tap(None), pack(Some(1))]).is_fresh());
    }

    #[test]
    fn tools_beside_a_chain_do_not_count_and_no_tool_at_all_is_not_well() {
        let cat = || silent("archive-cat", ["/b", "pipe:[1]"], None);
        let tap = silent("pds-tap", ["wss://a", "ring:a"], Some(1));
        assert!(health(vec![cat(), tap]).is_fresh());
        assert!(!health(vec![cat()]).is_fresh());
        assert!(!health(vec![]).is_fresh());
    }
}
