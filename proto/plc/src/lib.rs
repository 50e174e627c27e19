//! The PLC directory's operations: the JSON in which a directory gives them, which of an account's
//! operations count, and whether they prove each other.
//!
//! Every key that proves a commit comes from a chain of these. The room reads bytes and answers;
//! it does not know where they come from (`plc-fetch`) or what is made of them (`didindex`).
//!
//! * [`Operation`] is what a line says about an account, read quickly and believed: the directory
//!   has checked it.
//! * [`chain`] says which of an account's operations count.
//! * [`proof`] believes nothing: it checks all that the directory had to.
#![warn(clippy::indexing_slicing)]

pub mod chain;
pub mod proof;

mod operation;
mod quick;
mod time;

pub use operation::{Error, Operation, fuzz_operation};
