//! Stats pages: what a running tool counts, kept where another process can read it.
//!
//! A tool that runs for weeks has to be seen at work without being asked, slowed or stopped.
//! So each one keeps its counts in a small file that it maps, and a reader copies that file
//! whenever it likes: no socket, no lock in the writer's way, no system call for an event. The
//! bytes are written down in [`layout`]; where the file lies and how one knows that its writer
//! is alive, in [`place`].
//!
//! This room knows nothing of pipelines, screens or formats of output. It never fails a tool
//! for its statistics: where no page can be made, [`Page::none`] counts in private memory.
//!
//! ```
//! let page = stats::Page::none();
//! let bad_signature = page.refusal("bad-signature");
//! page.events_in(3);
//! page.events_out(2);
//! page.refused(1);
//! bad_signature.add(1);
//! page.latency(1_500);
//! let seen = page.snapshot();
//! assert_eq!(seen.counts.events_in, 3);
//! assert_eq!(seen.latency.count(), 1);
//! assert_eq!(seen.named[0].value, 1);
//! ```

#![warn(clippy::indexing_slicing)]

pub mod histogram;
pub mod hosts;
pub mod layout;
mod memory;
pub mod page;
pub mod place;
pub mod reader;
pub mod snapshot;

mod clock;
mod error;
mod joint;

pub use error::Error;
pub use histogram::Histogram;
pub use hosts::{Host, HostState, HostTable};
pub use joint::endpoint_of;
pub use page::{Counter, Page};
pub use place::dirs;
pub use reader::Reader;
pub use snapshot::{Counts, Kind, Named, Reading, Skipped, Snapshot, State};
