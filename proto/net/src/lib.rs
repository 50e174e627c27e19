//! The only room that opens sockets.
//!
//! Everything that comes over the network enters Sovereign through here, so that the rules about it
//! stand in one place: which addresses may be reached ([`address`]), what a host is called
//! ([`host`]), whose certificates are believed ([`tls`]), how long and how much one listens
//! ([`http`], [`ws`]). The room knows nothing of the AT Protocol, of frames or of arguments.
//!
//! - [`Endpoint`]: where a host is and its canonical name, the one it is compared by.
//! - [`Policy`]: public addresses only, unless told otherwise; checked after DNS, on the address
//!   that is used.
//! - [`http::Client`]: blocking `GET` with limits on time, size and redirects.
//! - [`TxtResolver`]: TXT records from a name server.
//! - [`ws::Connection`]: a WebSocket client that never blocks, driven by readiness.

#![warn(clippy::indexing_slicing)]

pub mod address;
#[cfg(test)]
mod authority;
pub mod dns;
mod domain;
mod error;
pub mod host;
pub mod http;
pub mod tls;
mod txt;
pub mod ws;

pub use address::Policy;
pub use domain::registrable;
pub use error::Error;
pub use host::{Endpoint, canonical_host};
pub use txt::TxtResolver;
