//! The ring itself, on the systems that have what it needs.

mod handshake;
mod layout;
mod lock;
mod meet;
mod memory;
mod poll;
mod reader;
mod shared;
mod watch;
mod writer;

pub use reader::Reader;
pub use watch::Waker;
pub use writer::Writer;

#[cfg(test)]
mod tests;
