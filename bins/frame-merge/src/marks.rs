//! Which marks may go on.
//!
//! A mark says that everything up to a seq of a host has been handed on. Of several inputs it is
//! true when it is true of each that has events of that host: so the least of what they say goes
//! on. An input that has said nothing of a host yet may be none of its sources, or a branch that
//! is slow. It is a branch that is not, once it has passed on a mark as late as the one in
//! question: a split copies names and marks to every branch, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use frame::HostId;
use frame::mark::Mark;

/// Epoch and seq.
type Place = (u32, u64);

/// What one input has said.
#[derive(Debug, Default)]
struct Said {
    named: HashSet<HostId>,
    last: HashMap<HostId, Place>,
    /// When its last mark was made.
    time_ns: u64,
    ended: bool,
}

/// The marks of all inputs.
#[derive(Debug)]
pub(crate) struct Marks {
    said: Vec<Said>,
    /// Whether inputs that have not named a host have nothing of it.
    apart: bool,
    /// Hosts of which an input has said more than was passed on, and when that was made.
    waiting: BTreeMap<HostId, u64>,
    sent: HashMap<HostId, Place>,
}

impl Marks {
    pub(crate) fn new(inputs: usize, apart: bool) -> Marks {
        let said = std::iter::repeat_with(Said::default).take(inputs).collect();
        Marks { said, apart, waiting: BTreeMap::new(), sent: HashMap::new() }
    }

    /// An input has named a host.
    pub(crate) fn name(&mut self, input: usize, host: HostId) {
        if let Some(said) = self.said.get_mut(input) {
            said.named.insert(host);
        }
    }

    /// A mark has come; what may go on now.
    pub(crate) fn take(
        &mut self,
        input: usize,
        time_ns: u64,
        marks: impl Iterator<Item = Mark>,
    ) -> Vec<Mark> {
        if let Some(said) = self.said.get_mut(input) {
            said.time_ns = said.time_ns.max(time_ns);
            for mark in marks {
                said.last.insert(mark.host, (mark.epoch, mark.seq));
                let waiting = self.waiting.entry(mark.host).or_insert(time_ns);
                *waiting = time_ns.max(*waiting);
            }
        }
        self.due()
    }

    /// An input has ended in order, and holds nothing back any more; what may go on now.
    pub(crate) fn end(&mut self, input: usize) -> Vec<Mark> {
        if let Some(said) = self.said.get_mut(input) {
            said.ended = true;
        }
        self.due()
    }

    fn due(&mut self) -> Vec<Mark> {
        let mut due = Vec::new();
        let mut settled = BTreeSet::new();
        for (host, time_ns) in &self.waiting {
            let Some(place) = self.reached(*host, *time_ns) else { continue };
            // A host that began anew has a later epoch, so a place never goes back.
            if self.sent.get(host).is_none_or(|sent| *sent < place) {
                self.sent.insert(*host, place);
                due.push(Mark { host: *host, epoch: place.0, seq: place.1 });
            }
            if self.said.iter().all(|said| said.last.get(host).is_none_or(|last| *last <= place)) {
                settled.insert(*host);
            }
        }
        self.waiting.retain(|host, _| !settled.contains(host));
        due
    }

    /// Up to where all inputs have handed on what they have of a host.
    fn reached(&self, host: HostId, time_ns: u64) -> Option<Place> {
        let (mut least, mut most): (Option<Place>, Option<Place>) = (None, None);
        for said in &self.said {
            match said.last.get(&host) {
                Some(place) if said.ended => most = most.max(Some(*place)),
                Some(place) => least = Some(least.map_or(*place, |least| least.min(*place))),
                None if said.ended => {}
                None if said.named.contains(&host) => return None,
                None if self.apart || said.time_ns >= time_ns => {}
                None => return None,
            }
        }
        least.or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HostId = HostId(1);
    const B: HostId = HostId(2);

    fn mark(host: HostId, seq: u64) -> Mark {
        Mark { host, epoch: 0, seq }
    }

    fn seqs(due: Vec<Mark>) -> Vec<(u32, u64)> {
        due.into_iter().map(|mark| (mark.host.0, mark.seq)).collect()
    }

    #[test]
    fn the_least_of_all_branches_goes_on() {
        let mut marks = Marks::new(2, false);
        marks.name(0, A);
        marks.name(1, A);
        assert_eq!(seqs(marks.take(0, 10, [mark(A, 5)].into_iter())), []);
        assert_eq!(seqs(marks.take(1, 10, [mark(A, 3)].into_iter())), [(1, 3)]);
        assert_eq!(seqs(marks.take(1, 11, [mark(A, 8)].into_iter())), [(1, 5)]);
        assert_eq!(seqs(marks.take(0, 12, [mark(A, 9)].into_iter())), [(1, 8)]);
        assert_eq!(seqs(marks.end(1)), [(1, 9)]);
    }

    #[test]
    fn a_branch_that_has_said_nothing_holds_marks_until_it_is_as_far() {
        let mut marks = Marks::new(2, false);
        marks.name(0, A);
        assert_eq!(seqs(marks.take(0, 10, [mark(A, 5)].into_iter())), []);
        marks.name(1, B);
        // The first has passed a mark as late as this one without a word of that host.
        assert_eq!(seqs(marks.take(1, 9, [mark(B, 1)].into_iter())), [(2, 1)]);
        // And now the second has, too: it has nothing of the first's host.
        assert_eq!(seqs(marks.take(1, 10, [mark(B, 2)].into_iter())), [(1, 5), (2, 2)]);
        assert_eq!(seqs(marks.take(0, 11, [].into_iter())), []);
    }

    #[test]
    fn a_host_that_is_named_is_waited_for() {
        for apart in [false, true] {
            let mut marks = Marks::new(2, apart);
            marks.name(0, A);
            marks.name(1, A);
            assert_eq!(seqs(marks.take(0, 10, [mark(A, 5)].into_iter())), []);
            assert_eq!(seqs(marks.take(1, 99, [].into_iter())), []);
            assert_eq!(seqs(marks.end(1)), [(1, 5)]);
        }
    }

    #[test]
    fn taps_apart_wait_for_nobody_else() {
        let mut marks = Marks::new(2, true);
        marks.name(0, A);
        marks.name(1, B);
        assert_eq!(seqs(marks.take(0, 10, [mark(A, 5)].into_iter())), [(1, 5)]);
        assert_eq!(seqs(marks.take(1, 2, [mark(B, 7)].into_iter())), [(2, 7)]);
    }

    #[test]
    fn a_host_that_begins_anew_goes_on_in_its_next_epoch() {
        let mut marks = Marks::new(1, false);
        assert_eq!(seqs(marks.take(0, 1, [mark(A, 900)].into_iter())), [(1, 900)]);
        let anew = Mark { epoch: 1, ..mark(A, 3) };
        assert_eq!(marks.take(0, 2, [anew].into_iter()), [anew]);
        assert_eq!(seqs(marks.take(0, 3, [mark(A, 901)].into_iter())), []);
    }
}
