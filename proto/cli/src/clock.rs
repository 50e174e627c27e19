//! Time: when the last bytes came in, and so how long an event took in this tool and since it
//! was received off the network. The clock is read once for many events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// When bytes were last read.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    read_ns: AtomicU64,
}

impl Clock {
    /// Bytes were read just now.
    pub(crate) fn read(&self, stats: &stats::Page) {
        let now_ns = now_ns();
        self.read_ns.store(now_ns, Ordering::Relaxed);
        stats.last_event(now_ns);
    }

    /// Events that were received at these times were handed on just now.
    pub(crate) fn handed_on(&self, stats: &stats::Page, received_ns: &mut Vec<u64>) {
        if received_ns.is_empty() {
            return;
        }
        let now_ns = now_ns();
        // A source reads no frames: for it, the event came in when it was received.
        let read_ns = self.read_ns.load(Ordering::Relaxed);
        for received_ns in received_ns.drain(..) {
            let since_ns = if read_ns == 0 { received_ns } else { read_ns };
            stats.latency(now_ns.saturating_sub(since_ns));
            stats.age(now_ns.saturating_sub(received_ns));
        }
        if read_ns == 0 {
            stats.last_event(now_ns);
        }
    }
}
