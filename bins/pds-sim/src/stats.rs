//! Counts of what was served.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// A count that many tasks raise.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Raises it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts.
#[derive(Default)]
pub struct Stats {
    /// TCP connections accepted by hosts.
    pub connections: Count,
    /// TLS handshakes that came to nothing.
    pub handshakes_failed: Count,
    /// Subscriptions begun.
    pub subscriptions: Count,
    /// Events handed to sockets.
    pub events_sent: Count,
    /// Their bytes.
    pub bytes_sent: Count,
    /// Connections reset on purpose.
    pub resets: Count,
    /// Requests to the directory.
    pub plc_requests: Count,
    /// Of them refused with 429.
    pub plc_limited: Count,
    /// Of them refused with 503 in an outage.
    pub plc_outages: Count,
    /// Streams of the directory begun.
    pub plc_streams: Count,
    /// Operations sent over them.
    pub plc_streamed: Count,
}

impl Stats {
    /// The counts as one object; `made` is the number of events that there are.
    pub fn json(&self, made: u64) -> Value {
        json!({
            "type": "counts",
            "events_made": made,
            "connections": self.connections.get(),
            "handshakes_failed": self.handshakes_failed.get(),
            "subscriptions": self.subscriptions.get(),
            "events_sent": self.events_sent.get(),
            "bytes_sent": self.bytes_sent.get(),
            "resets": self.resets.get(),
            "plc_requests": self.plc_requests.get(),
            "plc_limited": self.plc_limited.get(),
            "plc_outages": self.plc_outages.get(),
            "plc_streams": self.plc_streams.get(),
            "plc_streamed": self.plc_streamed.get(),
        })
    }
}
