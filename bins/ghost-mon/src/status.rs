//! What the page of `--listen` draws, as one JSON object.
//!
//! | field | meaning |
//! |---|---|
//! | `type`, `time_ns` | `status`; when it was made, unix ns |
//! | `fresh`, `reason` | as `/healthz` says |
//! | `diagnosis` | who waits for whom, in sentences |
//! | `stages` | the objects of `--json`, in order |
//! | `seconds`, `history` | the time between two points; for each stage by its `label` the last points of what it did, oldest first |

use std::time::Duration;

use serde::Serialize;

use crate::diagnosis;
use crate::health::Health;
use crate::history::History;
use crate::json;
use crate::pipeline::Plan;
use crate::prometheus;
use crate::serve::Told;

/// All that is known after a look.
pub(crate) struct Status<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) history: &'a History,
    pub(crate) interval: Duration,
    /// How long a stage may be silent.
    pub(crate) limit: Duration,
    pub(crate) time_ns: u64,
}

#[derive(Serialize)]
struct Object<'a> {
    r#type: &'static str,
    time_ns: u64,
    fresh: bool,
    reason: &'a str,
    diagnosis: Vec<String>,
    stages: Vec<json::Line<'a>>,
    seconds: f64,
    history: &'a History,
}

impl Told for Status<'_> {
    fn metrics(&self) -> String {
        prometheus::text(self.plan, &Health::of(self.plan, self.limit))
    }

    fn status(&self) -> anyhow::Result<Vec<u8>> {
        let health = Health::of(self.plan, self.limit);
        let object = Object {
            r#type: "status",
            time_ns: self.time_ns,
            fresh: health.is_fresh(),
            reason: health.reason(),
            diagnosis: diagnosis::sentences(self.plan),
            stages: json::stages(self.plan).collect(),
            seconds: self.interval.as_secs_f64(),
            history: self.history,
        };
        Ok(serde_json::to_vec(&object)?)
    }

    fn health(&self) -> (bool, String) {
        let health = Health::of(self.plan, self.limit);
        (health.is_fresh(), health.reason().to_owned())
    }
}
