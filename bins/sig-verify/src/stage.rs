//! The stage: events in, verdicts out, and order kept while look-ups are under way.
//!
//! What is promised to the stages behind: the events of one account keep their order; a mark, or
//! a `hole`, goes on only when every event before it has been sent or dropped for good; a new
//! beginning of the stream (a magic), a host id that changes its meaning, a `repo` frame, and frames
//! of kinds that are not known here go on only when nothing is held.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use cli::{Cli, Input, Item, Output, OutputClosed};
use frame::verdict::{Rule, Status, Verdict};
use frame::{Frame, Kind, Tag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::batch::{Batch, Outline, Proved};
use crate::counts::Counts;
use crate::hold::{Held, Hold, reread};
use crate::identity::Decision;
use crate::judge::Judge;
use crate::rejects::Rejects;
use crate::state::State;
use crate::verify;
use crate::waiting::Waiting;

/// How long input is waited for before answers are looked for again, while events are held.
const GLANCE: Duration = Duration::from_millis(10);

/// How often somebody is asked about the account of a `repo` frame: for its key, and for former ones.
const REPO_QUESTIONS_MAX: usize = 3;

/// Everything between input and output.
pub(crate) struct Stage<'c> {
    pub(crate) cli: &'c Cli,
    pub(crate) output: Output<'c>,
    pub(crate) rejects: Option<Rejects>,
    pub(crate) pass_all: bool,
    pub(crate) judge: Judge,
    pub(crate) counts: Counts,
    /// Away only while it is judged.
    pub(crate) batch: Option<Batch>,
    pub(crate) hold: Hold,
    pub(crate) waiting: Waiting,
}

impl Stage<'_> {
    /// Goes through the input to its end.
    ///
    /// # Errors
    /// What input and output say. If the input is at fault, everything whole before it is judged
    /// and passed on first.
    pub(crate) fn run(mut self, mut input: Input<'_>) -> anyhow::Result<()> {
        let torn = self.read(&mut input)?;
        self.drain()?;
        while self.judge.is_healing() {
            self.wait()?;
        }
        self.judge.save()?;
        if let Some(rejects) = self.rejects.take() {
            rejects.finish()?;
        }
        self.counts.say(self.cli);
        match torn {
            None => {
                self.output.finish()?;
                self.judge.state.take().map_or(Ok(()), State::finish)
            }
            Some(error) => {
                self.output.flush()?;
                Err(error)
            }
        }
    }

    /// Reads to the end of the input; gives what is wrong with it, if something is.
    fn read(&mut self, input: &mut Input<'_>) -> anyhow::Result<Option<anyhow::Error>> {
        loop {
            self.take_answers(Duration::ZERO)?;
            if self.hold.is_full() {
                self.waiting.say_pressing(self.cli, &self.hold, &self.judge.identities);
                self.wait()?;
                continue;
            }
            if input.idle()? {
                self.judge_batch()?;
                self.flush()?;
                while self.is_waiting() && !input.wait_up_to(Some(GLANCE))? {
                    self.take_answers(Duration::ZERO)?;
                    self.flush()?;
                }
            }
            match input.next() {
                Err(error) if error.is::<OutputClosed>() => return Err(error),
                Err(error) => {
                    self.judge_batch()?;
                    return Ok(Some(error));
                }
                Ok(None) => {
                    self.judge_batch()?;
                    return Ok(None);
                }
                Ok(Some(Item::Start)) => {
                    self.judge_batch()?;
                    self.drain()?;
                    self.judge.hosts.clear();
                    self.rejects.iter_mut().for_each(Rejects::start);
                    self.output.start()?;
                }
                Ok(Some(Item::Frame(frame))) => self.frame(&frame)?,
            }
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        if frame.header.kind == Kind::EVENT
            && let Some(batch) = &mut self.batch
        {
            batch.push(frame, &mut self.judge, &self.hold);
            return if batch.is_full() { self.judge_batch() } else { Ok(()) };
        }
        self.judge_batch()?;
        match frame.header.kind {
            Kind::HOST => {
                let host = frame::host::read(frame)?;
                if self.judge.hosts.get(frame.header.host).is_some_and(|known| known != host) {
                    self.drain()?;
                    self.rejects.iter_mut().for_each(|file| file.forget(frame.header.host));
                }
                self.judge.hosts.apply(frame)?;
                self.output.put(frame)
            }
            Kind::MARK | Kind::HOLE if !self.hold.is_empty() => {
                self.hold.gate(frame);
                Ok(())
            }
            Kind::MARK | Kind::HOLE => self.pass_gate(frame),
            Kind::REPO => self.repo(frame),
            _ => {
                self.drain()?;
                self.output.put(frame)
            }
        }
    }

    /// Proves a repository that came in. It is one of few, so nothing goes by meanwhile.
    fn repo(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        self.drain()?;
        self.judge.hurries = true;
        let there_ns = cli::now_ns();
        let mut verdict = Verdict::unchecked(Rule::NO_ANSWER);
        for _ in 0..REPO_QUESTIONS_MAX {
            match self.judge.decide_repo(frame, there_ns) {
                (_, Decision::Settled(settled)) => {
                    verdict = settled;
                    break;
                }
                (did, Decision::Later(_, whom)) => self.judge.ask(did, Decision::Ask(whom)),
                (did, other) => self.judge.ask(did, other),
            }
            while self.judge.identities.is_asked() {
                self.wait()?;
            }
        }
        self.judge.hurries = false;
        self.judge.check()?;
        self.settle(frame, &verdict)
    }

    /// Lets a mark go on, or a hole: what came before it is known by then, so its host's list can be
    /// compared with that.
    fn pass_gate(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        if frame.header.kind == Kind::HOLE {
            self.judge.look_for_moved(frame.header.host);
        }
        self.judge.save()?;
        // What comes before a mark does not come again.
        if let Some(rejects) = &mut self.rejects {
            rejects.flush()?;
        }
        self.output.put(frame)
    }

    /// Decides about all events that were read, in their order.
    fn judge_batch(&mut self) -> anyhow::Result<()> {
        let Some(mut batch) = self.batch.take_if(|batch| !batch.is_empty()) else { return Ok(()) };
        batch.prove(&mut self.judge)?;
        for (frame, proved) in batch.events() {
            self.event(&frame, proved)?;
        }
        batch.clear();
        self.batch = Some(batch);
        Ok(())
    }

    fn event(
        &mut self,
        frame: &Frame<'_>,
        proved: Option<(&Outline, &Proved)>,
    ) -> anyhow::Result<()> {
        if !self.hold.is_empty()
            && let Ok(event) = verify::open(frame.body())
            && let Some(did) = event.did()
            && self.hold.waits_for(did)
        {
            return self.keep(did, frame);
        }
        let decided =
            proved.and_then(|(outline, proved)| self.judge.decide_proved(frame, outline, proved));
        let (did, decision) = decided.unwrap_or_else(|| self.judge.decide(frame, None));
        self.judge.check()?;
        match decision {
            Decision::Settled(verdict) => self.settle(frame, &verdict),
            Decision::Later(due, _) => {
                let held = self.hold.admit(frame);
                self.put_off(did, held, due)
            }
            other => {
                // In this order: what is asked from here on knows of what came before.
                self.keep(did, frame)?;
                self.judge.ask(did, other);
                Ok(())
            }
        }
    }

    /// Holds an event until there is an answer about its account.
    fn keep(&mut self, did: &str, frame: &Frame<'_>) -> anyhow::Result<()> {
        let held = self.hold.admit(frame);
        self.hold.push(did, held);
        self.cli.stats().held(self.hold.events() as u64);
        Ok(())
    }

    /// Lets an event stand aside until somebody may be asked again; without room for it nobody
    /// knows.
    fn put_off(&mut self, did: &str, held: Held, due: Instant) -> anyhow::Result<()> {
        match self.hold.put_off(did, held, due) {
            Ok(()) => {
                self.cli.stats().held(self.hold.events() as u64);
                Ok(())
            }
            Err(held) => self.release(&held, &Verdict::unchecked(Rule::NO_ANSWER)),
        }
    }

    /// Sends an event on or drops it, as its verdict says.
    fn settle(&mut self, frame: &Frame<'_>, verdict: &Verdict) -> anyhow::Result<()> {
        let passes = self.pass_all
            || verdict.status == Status::Ok
            || verdict.rule == Some(Rule::UNKNOWN_TYPE);
        if !passes && verdict.rule == Some(Rule::REPEAT) {
            self.cli.stats().dropped(1);
            return Ok(());
        }
        self.counts.count(self.cli, verdict, passes);
        if passes {
            put_judged(self.output.buffer(), frame, verdict)?;
            return self.output.commit(&frame.header);
        }
        match &mut self.rejects {
            Some(rejects) => rejects.put(frame, verdict, &self.judge.hosts),
            None => Ok(()),
        }
    }

    /// Takes in the answers that have come, waiting for the first so long, and settles what they
    /// settle.
    fn take_answers(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut wait = wait;
        while let Some((did, answered)) = self.judge.answer(wait) {
            wait = Duration::ZERO;
            self.counts.answer(answered);
            if !answered {
                self.waiting.say_silence(self.cli, &self.judge.identities);
            }
            while let Some(bytes) = self.judge.heal.pop_frame() {
                if let Some(frame) = reread(&bytes) {
                    self.output.put(&frame)?;
                }
            }
            self.go_on(&did)?;
        }
        while !self.hold.is_empty()
            && let Some(did) = self.hold.due(Some(Instant::now()))
        {
            self.go_on(&did)?;
        }
        while let Some(bytes) = self.hold.pop_gate() {
            if let Some(frame) = reread(&bytes) {
                self.pass_gate(&frame)?;
            }
        }
        Ok(())
    }

    /// Judges the events of an account that wait, up to one that has to wait on.
    fn go_on(&mut self, did: &str) -> anyhow::Result<()> {
        let mut queue = self.hold.take(did);
        while let Some(held) = queue.pop_front() {
            let decision = held.frame().map(|it| self.judge.decide(&it, Some(held.since_ns)).1);
            self.judge.check()?;
            match decision {
                None => self.hold.settle(&held),
                Some(Decision::Settled(verdict)) => self.release(&held, &verdict)?,
                Some(Decision::Later(due, _)) => self.put_off(did, held, due)?,
                Some(other) => {
                    queue.push_front(held);
                    self.judge.ask(did, other);
                    break;
                }
            }
        }
        if !queue.is_empty() {
            self.hold.restore(did, queue);
        }
        self.cli.stats().held(self.hold.events() as u64);
        Ok(())
    }

    fn release(&mut self, held: &Held, verdict: &Verdict) -> anyhow::Result<()> {
        self.hold.settle(held);
        held.frame().map_or(Ok(()), |frame| self.settle(&frame, verdict))
    }

    /// Whether answers are to be looked for although nothing comes in.
    fn is_waiting(&self) -> bool {
        !self.hold.is_empty() || self.judge.is_healing()
    }

    /// Waits until nothing is held. What was put off is asked about at once: this comes once in a
    /// stream, mostly at its end.
    fn drain(&mut self) -> anyhow::Result<()> {
        self.judge.hurries = true;
        while let Some(did) = self.hold.due(None) {
            self.go_on(&did)?;
        }
        while !self.hold.is_empty() {
            self.wait()?;
        }
        self.judge.hurries = false;
        Ok(())
    }

    /// Waits a moment for an answer, with nothing read meanwhile.
    fn wait(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.take_answers(Duration::from_millis(100))?;
        match self.output.watched() {
            Some(fd) if has_hung_up(fd) => Err(OutputClosed.into()),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if let Some(rejects) = &mut self.rejects {
            rejects.flush()?;
        }
        self.output.flush()
    }
}

/// Appends a frame with its verdict. One that has no room for it loses its other sections, and if
/// need be goes without the verdict too: never with one that came in with it.
pub(crate) fn put_judged(
    out: &mut Vec<u8>,
    frame: &Frame<'_>,
    verdict: &Verdict,
) -> Result<(), frame::Error> {
    let bytes = verdict.to_bytes();
    let (header, body) = (&frame.header, frame.body());
    let alone = [(Tag::VERDICT, Some(&bytes[..])), (Tag::NUMBER, None)];
    frame::put_with(out, frame, Tag::VERDICT, &bytes)
        .or_else(|_| frame::put_with_two(out, header, body, alone))
        .or_else(|_| frame::put(out, header, body))
}

fn has_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    ready && fds.iter().any(|fd| fd.revents().is_some_and(|events| !events.is_empty()))
}
