//! When things happen: the pace at which a world makes events, or a capture gives its own out.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;

use crate::capture::Capture;
use crate::host::{Host, lock};
use crate::world::World;

/// How long the maker sleeps when it is ahead of its pace.
const NAP: Duration = Duration::from_millis(1);
/// Most things that happen between two looks at the clock.
const STEPS_MAX: u64 = 64;
/// The world waits for a subscriber that is so many events behind, and looks so often.
const LAG_MAX: u64 = 50_000;
const LOOK: Duration = Duration::from_millis(50);

/// Waits until so many hosts have had a subscriber.
pub async fn wait_for_hosts(mut met: watch::Receiver<usize>, hosts: usize) {
    // An error is the end of the program.
    let _ = met.wait_for(|met| *met >= hosts).await;
}

/// Makes events at `rate` a second (0 is as fast as they are read) until the world is over. This
/// takes the thread it runs on.
pub fn live(world: &Mutex<World>, hosts: &[Arc<Host>], rate: f64) -> Result<()> {
    let before = {
        let mut world = lock(world);
        world.go_live();
        world.made()
    };
    let start = Instant::now();
    let mut looked = start;
    loop {
        if looked.elapsed() > LOOK {
            while is_behind(hosts) {
                std::thread::sleep(NAP);
            }
            looked = Instant::now();
        }
        let mut world = lock(world);
        let target = match rate > 0.0 {
            true => before + (start.elapsed().as_secs_f64() * rate) as u64,
            false => u64::MAX,
        };
        for _ in 0..STEPS_MAX {
            if world.is_over() {
                return Ok(());
            }
            if world.made() >= target {
                break;
            }
            world.step()?;
        }
        let ahead = world.made() >= target;
        drop(world);
        if ahead {
            std::thread::sleep(NAP);
        }
    }
}

fn is_behind(hosts: &[Arc<Host>]) -> bool {
    hosts.iter().any(|host| {
        let slowest = host.slowest();
        slowest != u64::MAX && host.log.end().borrow().saturating_sub(slowest) > LAG_MAX
    })
}

/// The pace of a capture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Everything at once: as fast as it is read.
    AtOnce,
    /// So many events a second.
    Speed(f64),
    /// As it was, this many times faster.
    Realtime(f64),
}

/// A capture on its hosts.
pub struct Playback {
    /// When each event is due, in order, counted from the beginning.
    due: Vec<Duration>,
    /// The host of each event, when every account is on one; otherwise every host has all.
    host_of: Option<Vec<usize>>,
    hosts: Vec<Arc<Host>>,
}

impl Playback {
    /// Lays a capture out. Events behind the first `before` are due at the pace.
    pub fn new(
        capture: &Capture,
        hosts: Vec<Arc<Host>>,
        split: bool,
        pace: Pace,
        before: usize,
    ) -> Self {
        let events = &capture.events;
        let begin_us = events.get(before).map_or(0, |event| event.sent_us);
        let mut last = Duration::ZERO;
        let due = events.iter().enumerate().map(|(number, event)| {
            let at = match pace {
                _ if number < before => Duration::ZERO,
                Pace::AtOnce => Duration::ZERO,
                Pace::Speed(speed) => Duration::from_secs_f64((number - before) as f64 / speed),
                Pace::Realtime(factor) => {
                    Duration::from_micros(event.sent_us.saturating_sub(begin_us)).div_f64(factor)
                }
            };
            // Clocks of hosts go back now and then; events do not.
            last = last.max(at);
            last
        });
        let due = due.collect();
        let count = hosts.len();
        let host_of = split.then(|| events.iter().map(|event| event.account % count).collect());
        Self { due, host_of, hosts }
    }

    /// Number of events that the hosts have in all.
    pub fn events(&self) -> u64 {
        let copies = if self.host_of.is_some() { 1 } else { self.hosts.len() as u64 };
        self.due.len() as u64 * copies
    }

    /// Lets the first `before` events have come.
    pub fn begin(&self, before: usize) {
        self.come(&mut vec![0; self.hosts.len()], 0, before.min(self.due.len()));
    }

    /// Lets the rest come as it is due, from now on.
    pub async fn run(&self, before: usize) {
        let start = Instant::now();
        let mut come = vec![0; self.hosts.len()];
        let mut at = 0;
        let mut next = before.min(self.due.len());
        loop {
            self.come(&mut come, at, next);
            at = next;
            let Some(due) = self.due.get(at) else { return };
            tokio::time::sleep_until((start + (*due).max(start.elapsed() + NAP)).into()).await;
            let now = start.elapsed();
            next = self.due.partition_point(|due| *due <= now).max(at);
        }
    }

    /// Lets the events from `at` to `next` come; `come` counts those of each host.
    fn come(&self, come: &mut [u64], at: usize, next: usize) {
        match &self.host_of {
            None => {
                for host in &self.hosts {
                    host.log.let_come(next as u64);
                }
            }
            Some(host_of) => {
                for host in host_of.iter().skip(at).take(next.saturating_sub(at)) {
                    if let Some(come) = come.get_mut(*host) {
                        *come += 1;
                    }
                }
                for (host, come) in self.hosts.iter().zip(come.iter()) {
                    host.log.let_come(*come);
                }
            }
        }
    }
}
