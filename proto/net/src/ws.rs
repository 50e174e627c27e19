//! A WebSocket client connection that never blocks.
//!
//! Ten thousand of these are held by one thread, so a quiet one must cost next to nothing:
//! tungstenite brings the handshake and the frame header, but its socket keeps a read buffer and
//! a message of its own for each connection, and gives up at a message over its limit, which
//! would come again after every reconnect. Here all connections read into one [`Scratch`], a
//! message that arrived whole is handed out where it lies, one in pieces is gathered by itself
//! ([`Connection::unfinished_bytes`] says how much of it is held), and one over the limit is read
//! past without being kept.
//!
//! ```no_run
//! # fn wait(_: &net::ws::Connection) {}
//! # fn main() -> Result<(), net::Error> {
//! use net::ws::{Connection, Limits, Message, Progress, Scratch};
//! let endpoint: net::Endpoint = "wss://pds.example.com".parse()?;
//! let address = net::dns::resolve(&endpoint, net::Policy::default())?[0];
//! let tls = net::tls::client_config(None)?;
//! let mut connection = Connection::start(&endpoint, address, "/path", &tls, Limits::default())?;
//! let mut scratch = Scratch::new();
//! loop {
//!     wait(&connection); // epoll, for connection.interest(), unless connection.holds_data()
//!     let count = match connection.on_ready(&mut scratch)? {
//!         Progress::Waiting => continue,
//!         Progress::Opened(count) | Progress::Read(count) => count,
//!     };
//!     let mut input = scratch.bytes(count);
//!     while let Some(message) = connection.next(&mut input)? {
//!         if let Message::Binary(bytes) = message { /* ... */ }
//!     }
//! }
//! # }
//! ```

mod connection;
mod decoder;
mod stream;
mod upgrade;

pub use connection::{Connection, Interest, Limits, Progress, Scratch};
pub use decoder::{Breach, Message, fuzz_decoder};
