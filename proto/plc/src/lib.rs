//! The PLC directory's operations: the JSON in which a directory gives them, and which of an
//! account's operations count.
//!
//! Every key that proves a commit comes from a chain of these. The room reads bytes and answers;
//! it does not know where they come from (`plc-fetch`) or what is made of them (`didindex`).
#![warn(clippy::indexing_slicing)]

pub mod chain;

mod operation;
mod quick;
mod time;

pub use operation::{Error, Operation, fuzz_operation};
