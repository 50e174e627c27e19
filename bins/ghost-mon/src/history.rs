//! What was seen of each stage in the last looks: for curves.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::pipeline::Plan;
use crate::sample::Stage;

/// Looks that are remembered.
const POINTS_MAX: usize = 300;

/// Stages that are remembered: pages can be made up.
const STAGES_MAX: usize = 64;

/// The curves of one stage, oldest point first.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Curves {
    pub(crate) events_in_per_s: VecDeque<f32>,
    pub(crate) events_out_per_s: VecDeque<f32>,
    pub(crate) refused_per_s: VecDeque<f32>,
    /// Time in the tool, and time since receipt off the network, that one event in a hundred
    /// exceeded.
    pub(crate) latency_p99_ms: VecDeque<Option<f32>>,
    pub(crate) age_p99_ms: VecDeque<Option<f32>>,
}

/// The curves of all stages, by label.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct History {
    stages: BTreeMap<String, Curves>,
}

impl History {
    /// Takes what was seen just now; stages that are gone are forgotten.
    pub(crate) fn take(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.stages);
        for stage in plan.stages.iter().take(STAGES_MAX) {
            let mut curves = before.remove(&stage.label).unwrap_or_default();
            curves.take(stage);
            self.stages.insert(stage.label.clone(), curves);
        }
    }

    /// The curves of one stage.
    pub(crate) fn of(&self, label: &str) -> Option<&Curves> {
        self.stages.get(label)
    }
}

impl Curves {
    fn take(&mut self, stage: &Stage) {
        let recent = &stage.recent;
        let p99 = |histogram: &stats::Histogram| Some(histogram.percentile(0.99)? as f32 / 1e6);
        push(&mut self.events_in_per_s, recent.events_in_per_s as f32);
        push(&mut self.events_out_per_s, recent.events_out_per_s as f32);
        push(&mut self.refused_per_s, recent.refused_per_s as f32);
        push(&mut self.latency_p99_ms, p99(&recent.latency));
        push(&mut self.age_p99_ms, p99(&recent.age));
    }

    /// What a stage does in a second, as it was: what a source hands on, what others take in.
    pub(crate) fn flow(&self) -> impl DoubleEndedIterator<Item = f32> + '_ {
        let both = self.events_in_per_s.iter().zip(&self.events_out_per_s);
        both.map(|(came, went)| came.max(*went))
    }
}

fn push<T>(points: &mut VecDeque<T>, point: T) {
    if points.len() == POINTS_MAX {
        points.pop_front();
    }
    points.push_back(point);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::stage;

    #[test]
    fn the_last_points_are_kept_and_stages_that_are_gone_are_not() {
        let mut history = History::default();
        for n in 0..=POINTS_MAX {
            let mut a = stage("a", &[], &[]);
            a.recent.events_out_per_s = n as f64;
            history.take(&Plan::of(vec![a, stage("b", &[], &[])]));
        }
        let points = &history.stages["a"].events_out_per_s;
        assert_eq!((points.len(), points[0], points[POINTS_MAX - 1]), (POINTS_MAX, 1.0, 300.0));
        history.take(&Plan::of(vec![stage("a", &[], &[])]));
        assert_eq!(history.stages.len(), 1);
    }
}
