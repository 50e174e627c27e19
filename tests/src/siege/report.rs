//! What a siege came to: as text for people, as JSON for scripts.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::Siege;
use super::reader::Latency;
use crate::machine;

/// The goal for the resident memory of a quiet connection.
const GOAL_KIB: f64 = 48.0;

/// Memory that has grown by more than this share did not end where it began.
const GROWTH_MAX: f64 = 0.03;

/// What was seen.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was laid.
    pub siege: Siege,
    /// How long it took to join all hosts.
    pub join: Duration,
    /// Events that came to be at the hosts, and that came out of the tap.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Events that never came.
    pub lost: u64,
    /// Events that came again.
    pub duplicates: u64,
    /// Events that no host has.
    pub foreign: u64,
    /// Events that came behind a later one of their host.
    pub backward: u64,
    /// Connections that hosts broke.
    pub resets: u64,
    /// How late an event came to be at the most: what `pds-sim` could not do in time.
    pub behind: Duration,
    /// Resident memory of the tap with one host, with all before any has spoken, and silent again
    /// at the end.
    pub alone_bytes: u64,
    /// See `alone_bytes`.
    pub quiet_bytes: u64,
    /// See `alone_bytes`.
    pub end_bytes: u64,
    /// The same at work: in the minute after the first, in the last one, and at the most.
    pub first_minute_bytes: u64,
    /// See `first_minute_bytes`.
    pub last_minute_bytes: u64,
    /// See `first_minute_bytes`.
    pub most_bytes: u64,
    /// The same over time: seconds and bytes.
    pub series: Vec<(u64, u64)>,
    /// Hosts that `ghost-mon` lists at the end, their events, and how long that takes it.
    pub listed: usize,
    /// See `listed`.
    pub listed_events: u64,
    /// See `listed`.
    pub listing: Duration,
    /// Processor time for 1,000 events, in ms.
    pub tap_cpu_ms: f64,
    /// See `tap_cpu_ms`.
    pub sim_cpu_ms: f64,
    /// Bytes of frames.
    pub bytes: u64,
    pub(super) whole: Latency,
    pub(super) inside: Latency,
}

impl Report {
    /// Whether all events came to be, and every one of them came once, and nothing else.
    pub fn is_exact(&self) -> bool {
        self.lost + self.duplicates + self.foreign + self.backward == 0
            && self.sent == self.received
            && self.sent == self.siege.rate * self.siege.seconds
    }

    /// How much more memory the work takes at the end than at the beginning, as a share.
    pub fn growth(&self) -> f64 {
        self.last_minute_bytes as f64 / self.first_minute_bytes.max(1) as f64 - 1.0
    }

    /// Whether memory ends where it began.
    pub fn is_flat(&self) -> bool {
        self.growth() <= GROWTH_MAX
    }

    /// Resident memory of a quiet connection, in KiB: at the end, after all have spoken.
    pub fn connection_kib(&self) -> f64 {
        let more = self.end_bytes.saturating_sub(self.alone_bytes) as f64;
        more / 1024.0 / self.siege.hosts.saturating_sub(1).max(1) as f64
    }

    /// The report as one object.
    pub fn json(&self) -> Value {
        let times = |latency: &Latency| {
            json!({
                "p50": latency.percentile(0.5),
                "p99": latency.percentile(0.99),
                "p999": latency.percentile(0.999),
                "max": latency.percentile(1.0),
            })
        };
        json!({
            "type": "siege",
            "machine": machine(),
            "hosts": self.siege.hosts,
            "rate": self.siege.rate,
            "seconds": self.siege.seconds,
            "churn_per_s": self.siege.churn,
            "connected": self.siege.hosts,
            "connect_s": self.join.as_secs_f64(),
            "events_sent": self.sent,
            "events_received": self.received,
            "bytes_received": self.bytes,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "foreign": self.foreign,
            "backward": self.backward,
            "resets": self.resets,
            "sim_behind_ms_max": self.behind.as_secs_f64() * 1e3,
            "connection_kib": self.connection_kib(),
            "memory_bytes": {
                "one_host": self.alone_bytes,
                "all_silent": self.quiet_bytes,
                "all_silent_at_the_end": self.end_bytes,
                "start": self.first_minute_bytes,
                "end": self.last_minute_bytes,
                "growth": self.growth(),
                "max": self.most_bytes,
                "series": self.series,
            },
            "hosts_listed": self.listed,
            "listing_ms": self.listing.as_secs_f64() * 1e3,
            "cpu_ms_per_1000_events": { "pds-tap": self.tap_cpu_ms, "pds-sim": self.sim_cpu_ms },
            "latency_ms": times(&self.whole),
            "latency_in_tap_ms": times(&self.inside),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Siege { hosts, rate, seconds, churn, .. } = &self.siege;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let times = |latency: &Latency| {
            let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|q| latency.percentile(q));
            format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, at most {max:.1} ms")
        };
        writeln!(f, "siege: {hosts} hosts, {rate} events/s, {seconds} s, on {}", machine())?;
        writeln!(f, "  connected   {hosts} of {hosts} within {:.1} s", self.join.as_secs_f64())?;
        writeln!(
            f,
            "  events      {} sent, {} received, {} MiB of frames",
            self.sent,
            self.received,
            self.bytes >> 20
        )?;
        writeln!(
            f,
            "  exactness   {} lost, {} duplicates, {} foreign, {} out of order",
            self.lost, self.duplicates, self.foreign, self.backward
        )?;
        if self.resets > 0 {
            writeln!(f, "  churn       {churn} hosts/s, {} connections reset", self.resets)?;
        }
        writeln!(
            f,
            "  memory      {:.1} KiB a quiet connection (goal: {GOAL_KIB} KiB)",
            self.connection_kib()
        )?;
        writeln!(
            f,
            "              {:.1} MiB with one host, {:.1} MiB before any spoke, {:.1} MiB silent at the end",
            mib(self.alone_bytes),
            mib(self.quiet_bytes),
            mib(self.end_bytes),
        )?;
        writeln!(
            f,
            "              at work: {:.1} MiB at the start, {:.1} MiB at the end ({:+.1} %), {:.1} MiB at \
             the most",
            mib(self.first_minute_bytes),
            mib(self.last_minute_bytes),
            self.growth() * 100.0,
            mib(self.most_bytes)
        )?;
        writeln!(
            f,
            "  CPU         {:.1} ms for 1,000 events in pds-tap, {:.1} ms in pds-sim",
            self.tap_cpu_ms, self.sim_cpu_ms
        )?;
        writeln!(f, "  latency     {}: from the host's send to the pipe", times(&self.whole))?;
        if self.resets > 0 {
            writeln!(
                f,
                "              (what came to be while a host was away is sent on its return)"
            )?;
        }
        writeln!(f, "  in the tap  {}: from its receipt to the pipe", times(&self.inside))?;
        write!(f, "  pds-sim     at most {:.1} ms behind its rate", self.behind.as_secs_f64() * 1e3)
    }
}
