//! Questions that wait to be asked: when each is due, and when it is given up.
//!
//! A question that was asked without an answer comes back with a longer pause each time, until
//! its patience is over. One that was not asked yet waits for its turn as long as the upstream
//! gives answers at all: much to do is no reason to leave an event unchecked.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::resolve::Question;

/// The pause before a question is asked for the second time; it doubles from there on.
const PAUSE: Duration = Duration::from_millis(500);

/// A question on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) question: Question,
    due: Instant,
    /// Tells jobs of the same moment apart, so that they go in their order.
    number: u64,
    since: Instant,
    pause: Duration,
    tried: bool,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// To be asked.
    Ask(Job),
    /// Nobody waits for it any longer.
    GiveUp(Job),
    /// Nothing for so long, or until something is put in.
    Nothing(Option<Duration>),
}

/// The questions to one kind of upstream.
#[derive(Debug)]
pub(crate) struct Queue {
    jobs: BinaryHeap<Reverse<Job>>,
    count: u64,
    patience: Duration,
    /// Whether all questions go to one server: then its wishes hold for all of them.
    one_server: bool,
    not_before: Option<Instant>,
    answered: Option<Instant>,
}

impl Queue {
    pub(crate) fn new(patience: Duration, one_server: bool) -> Queue {
        Queue {
            jobs: BinaryHeap::new(),
            count: 0,
            patience,
            one_server,
            not_before: None,
            answered: None,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn put(&mut self, question: Question, now: Instant) {
        self.count += 1;
        let (number, pause) = (self.count, PAUSE);
        let job = Job { question, due: now, number, since: now, pause, tried: false };
        self.jobs.push(Reverse(job));
    }

    /// What is to be done first.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        let Some(Reverse(first)) = self.jobs.peek() else { return Next::Nothing(None) };
        let ready = self.not_before.map_or(first.due, |not_before| first.due.max(not_before));
        let over = self.over(first);
        if now < ready.min(over) {
            return Next::Nothing(Some(ready.min(over) - now));
        }
        match self.jobs.pop() {
            Some(Reverse(job)) if now >= over => Next::GiveUp(job),
            Some(Reverse(mut job)) => {
                if !job.tried {
                    (job.tried, job.since) = (true, now);
                }
                Next::Ask(job)
            }
            None => Next::Nothing(None),
        }
    }

    /// Notes that the upstream answers.
    pub(crate) fn answers(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Takes a job back that had no answer, to be asked again after a pause, at least that of
    /// `least`. The job comes back if that would be too late.
    pub(crate) fn again(&mut self, mut job: Job, least: Duration, now: Instant) -> Option<Job> {
        let wait = job.pause.max(least).min(self.patience);
        if self.one_server && !least.is_zero() {
            self.not_before = Some(now + wait);
        }
        job.pause = job.pause.saturating_mul(2);
        job.due = now + wait;
        if job.due >= self.over(&job) {
            return Some(job);
        }
        self.jobs.push(Reverse(job));
        None
    }

    /// When it is given up.
    fn over(&self, job: &Job) -> Instant {
        let since = match self.answered {
            Some(answered) if self.one_server && !job.tried => job.since.max(answered),
            _ => job.since,
        };
        since + self.patience
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Job) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Job) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Job) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Job {}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn question(did: &str) -> Question {
        Question { did: did.into(), history: false }
    }

    fn asked(next: Next) -> Job {
        match next {
            Next::Ask(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn questions_are_asked_in_their_order_and_again_with_growing_pauses() {
        let mut queue = Queue::new(PATIENCE, true);
        let mut now = Instant::now();
        queue.put(question("a"), now);
        queue.put(question("b"), now);
        let mut job = asked(queue.next(now));
        assert_eq!(&*job.question.did, "a");
        assert_eq!(&*asked(queue.next(now)).question.did, "b");
        let mut waits = Vec::new();
        while queue.again(job, Duration::ZERO, now).is_none() {
            let Next::Nothing(Some(wait)) = queue.next(now) else { panic!("too soon") };
            waits.push(wait.as_millis());
            now += wait;
            job = asked(queue.next(now));
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000], "16 s more would be over 30 s");
    }

    #[test]
    fn a_server_that_says_later_is_left_alone_by_all_questions() {
        let mut queue = Queue::new(PATIENCE, true);
        let now = Instant::now();
        queue.put(question("a"), now);
        queue.put(question("b"), now);
        let job = asked(queue.next(now));
        assert!(queue.again(job, Duration::from_secs(7), now).is_none());
        let Next::Nothing(Some(wait)) = queue.next(now) else { panic!("b goes nevertheless") };
        assert_eq!(wait, Duration::from_secs(7));
        assert_eq!(&*asked(queue.next(now + wait)).question.did, "b");
    }

    #[test]
    fn a_silent_server_is_given_up_and_a_busy_one_is_not() {
        let mut queue = Queue::new(PATIENCE, true);
        let start = Instant::now();
        queue.put(question("a"), start);
        assert!(matches!(queue.next(start + PATIENCE), Next::GiveUp(_)));
        queue.put(question("b"), start);
        queue.answers(start + PATIENCE);
        assert!(matches!(queue.next(start + PATIENCE), Next::Ask(_)));
        // Servers of strangers are not waited for, however much there is to do.
        let mut queue = Queue::new(PATIENCE, false);
        queue.put(question("c"), start);
        queue.answers(start + PATIENCE);
        assert!(matches!(queue.next(start + PATIENCE), Next::GiveUp(_)));
    }
}
