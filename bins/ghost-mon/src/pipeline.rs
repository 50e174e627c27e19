//! Which tools are joined, and in what order a person reads them: from source to end.
//!
//! Two tools are joined where one names as output what the other names as input, by the same
//! text. The texts come from pages and prove nothing; a wrong one draws a wrong picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::sample::Stage;

/// Joints drawn at most: pages that all name the same joint would otherwise make a great many.
const JOINTS_MAX: usize = 4_096;

/// One tool hands on to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joint {
    /// What both call it.
    pub(crate) name: String,
    /// Place of the writer in the list of stages.
    pub(crate) from: usize,
    /// Place of the reader in the list of stages.
    pub(crate) to: usize,
}

/// The tools in order, and how they hang together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// In reading order: pipelines by age, within each from source to end.
    pub(crate) stages: Vec<Stage>,
    /// For each stage, the number of its pipeline, from 0.
    pub(crate) pipelines: Vec<usize>,
    /// All joints, by reader.
    pub(crate) joints: Vec<Joint>,
}

impl Plan {
    /// Puts tools in order.
    pub(crate) fn of(mut stages: Vec<Stage>) -> Self {
        stages.sort_by(|a, b| {
            (a.page.start_ns, a.page.pid, &a.page.tool).cmp(&(
                b.page.start_ns,
                b.page.pid,
                &b.page.tool,
            ))
        });
        let joints = joints(&stages);
        let components = components(stages.len(), &joints);
        let order = order(&components, &joints);

        let mut place = vec![0; stages.len()];
        order.iter().enumerate().for_each(|(to, from)| place[*from] = to);
        let mut joints: Vec<_> = joints
            .into_iter()
            .map(|joint| Joint { from: place[joint.from], to: place[joint.to], ..joint })
            .collect();
        joints.sort_by_key(|joint| (joint.to, joint.from));

        let mut numbers = HashMap::new();
        let pipelines = order.iter().map(|stage| {
            let next = numbers.len();
            *numbers.entry(components[*stage]).or_insert(next)
        });
        let pipelines = pipelines.collect();
        let mut unordered: Vec<_> = stages.into_iter().map(Some).collect();
        let mut stages: Vec<Stage> =
            order.iter().filter_map(|from| unordered[*from].take()).collect();
        tell_apart(&mut stages);
        Self { stages, pipelines, joints }
    }

    /// How many pipelines there are.
    pub(crate) fn pipeline_count(&self) -> usize {
        self.pipelines.iter().max().map_or(0, |last| last + 1)
    }

    /// The joints that a stage reads from.
    pub(crate) fn joints_into(&self, stage: usize) -> impl Iterator<Item = &Joint> {
        self.joints.iter().filter(move |joint| joint.to == stage)
    }

    /// The joints that a stage writes to.
    pub(crate) fn joints_out_of(&self, stage: usize) -> impl Iterator<Item = &Joint> {
        self.joints.iter().filter(move |joint| joint.from == stage)
    }
}

/// Gives stages of one name numbers, so that each has a label of its own.
fn tell_apart(stages: &mut [Stage]) {
    let mut taken = BTreeSet::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for stage in stages {
        let name = stage.page.label().to_owned();
        let number = numbers.entry(name.clone()).or_insert(0);
        loop {
            *number += 1;
            stage.label = if *number == 1 { name.clone() } else { format!("{name}-{number}") };
            if taken.insert(stage.label.clone()) {
                break;
            }
        }
    }
}

/// Whether this is something that one tool writes and another reads. Terminals and
/// `/dev/null` are shared by tools that have nothing to do with each other.
fn is_joint(end: &str) -> bool {
    !end.is_empty() && end != "closed" && !end.starts_with("/dev/")
}

fn joints(stages: &[Stage]) -> Vec<Joint> {
    let mut writers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (from, stage) in stages.iter().enumerate() {
        let outputs: BTreeSet<_> = stage.page.outputs.iter().collect();
        for name in outputs.into_iter().filter(|name| is_joint(name)) {
            writers.entry(name).or_default().push(from);
        }
    }
    let readers = stages.iter().enumerate().flat_map(|(to, stage)| {
        let inputs: BTreeSet<_> = stage.page.inputs.iter().collect();
        inputs.into_iter().map(move |name| (to, name))
    });
    let joined = readers.flat_map(|(to, name)| {
        let from = writers.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let from = from.iter().filter(move |from| **from != to);
        from.map(move |from| Joint { name: name.clone(), from: *from, to })
    });
    joined.take(JOINTS_MAX).collect()
}

/// For each stage the first stage that it hangs together with.
fn components(count: usize, joints: &[Joint]) -> Vec<usize> {
    let mut first: Vec<usize> = (0..count).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for joint in joints {
            let least = first[joint.from].min(first[joint.to]);
            changed |= first[joint.from] != least || first[joint.to] != least;
            first[joint.from] = least;
            first[joint.to] = least;
        }
    }
    first
}

/// The stages component by component, writers before readers. In a circle, which a pipeline
/// should not have, the oldest stage comes first.
fn order(components: &[usize], joints: &[Joint]) -> Vec<usize> {
    let mut readers = vec![vec![]; components.len()];
    let mut unread_writers = vec![0_usize; components.len()];
    for joint in joints {
        readers[joint.from].push(joint.to);
        unread_writers[joint.to] += 1;
    }
    let mut waiting: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (stage, component) in components.iter().enumerate() {
        waiting.entry(*component).or_default().insert(stage);
    }
    let mut order: Vec<usize> = vec![];
    for mut waiting in waiting.into_values() {
        let is_ready = |stage: &&usize| unread_writers[**stage] == 0;
        let mut ready: BTreeSet<usize> = waiting.iter().filter(is_ready).copied().collect();
        while let Some(oldest) = waiting.first().copied() {
            // Along the chain if that can go on, so that branches stay together.
            let last = order.last().map(|last| readers[*last].as_slice()).unwrap_or_default();
            let next = last.iter().find(|reader| ready.contains(reader)).or(ready.first());
            let next = next.copied().unwrap_or(oldest);
            ready.remove(&next);
            waiting.remove(&next);
            order.push(next);
            for reader in &readers[next] {
                unread_writers[*reader] -= 1;
                if unread_writers[*reader] == 0 && waiting.contains(reader) {
                    ready.insert(*reader);
                }
            }
        }
    }
    order
}

#[cfg(test)]
pub(crate) mod tests {
    use stats::Snapshot;

    use super::*;

    pub(crate) fn stage(tool: &str, inputs: &[&str], outputs: &[&str]) -> Stage {
        let texts = |ends: &[&str]| ends.iter().map(|end| (*end).into()).collect();
        let page = Snapshot {
            tool: tool.into(),
            inputs: texts(inputs),
            outputs: texts(outputs),
            ..Snapshot::default()
        };
        let label = tool.into();
        Stage { label, page, recent: Default::default(), vitals: None, disk: None }
    }

    fn plan(stages: Vec<Stage>) -> (String, Vec<usize>, Vec<(usize, usize)>) {
        let mut stages = stages;
        // The last named is the oldest, so that age alone gives the wrong order.
        for (age, stage) in stages.iter_mut().rev().enumerate() {
            stage.page.start_ns = age as u64;
        }
        let plan = Plan::of(stages);
        let tools: Vec<_> = plan.stages.iter().map(|stage| stage.page.tool.as_str()).collect();
        let joints = plan.joints.iter().map(|joint| (joint.from, joint.to)).collect();
        (tools.join(" "), plan.pipelines, joints)
    }

    #[test]
    fn a_chain_is_read_from_its_source_whatever_was_started_first() {
        let found = plan(vec![
            stage("verify", &["ring:b"], &["pipe:[2]"]),
            stage("pack", &["pipe:[2]"], &["/archive"]),
            stage("dedupe", &["pipe:[1]"], &["ring:b"]),
            stage("tap", &["wss://relay"], &["pipe:[1]"]),
        ]);
        assert_eq!(found.0, "tap dedupe verify pack");
        assert_eq!((found.1, found.2), (vec![0; 4], vec![(0, 1), (1, 2), (2, 3)]));
    }

    #[test]
    fn tools_that_are_not_joined_are_pipelines_of_their_own() {
        let found = plan(vec![
            stage("b", &["ring:x"], &["/dev/null"]),
            stage("alone", &["/dev/null"], &["/dev/pts/1"]),
            stage("a", &["/dev/pts/1"], &["ring:x"]),
        ]);
        assert_eq!((found.0.as_str(), found.1), ("a b alone", vec![0, 0, 1]));
    }

    #[test]
    fn branches_of_a_split_stay_together_up_to_the_merge() {
        let found = plan(vec![
            stage("merge", &["ring:c", "ring:d"], &["pipe:[9]"]),
            stage("two", &["ring:b"], &["ring:d"]),
            stage("one", &["ring:a"], &["ring:c"]),
            stage("split", &["-"], &["ring:a", "ring:b"]),
        ]);
        assert_eq!(found.0, "split one two merge");
        assert_eq!(found.2, [(0, 1), (0, 2), (1, 3), (2, 3)]);
    }

    #[test]
    fn circles_and_tools_joined_to_themselves_are_drawn_once() {
        let found = plan(vec![
            stage("a", &["ring:x"], &["ring:y"]),
            stage("b", &["ring:y"], &["ring:x"]),
            stage("self", &["/f"], &["/f"]),
        ]);
        assert_eq!((found.0.split(' ').count(), found.2.len()), (3, 2));
    }

    #[test]
    fn pages_that_all_claim_one_joint_make_a_bounded_picture() {
        let stages = (0..300).map(|_| stage("x", &["ring:a"], &["ring:a"])).collect();
        let plan = Plan::of(stages);
        assert_eq!((plan.stages.len(), plan.joints.len()), (300, JOINTS_MAX));
    }

    #[test]
    fn tools_of_one_name_are_told_apart() {
        let stages = ["a", "a-2", "a", "a"].map(|tool| stage(tool, &[], &[]));
        let labels: BTreeSet<String> =
            Plan::of(stages.into()).stages.into_iter().map(|stage| stage.label).collect();
        assert_eq!(labels.into_iter().collect::<Vec<_>>().join(" "), "a a-2 a-2-2 a-3");
    }
}
