//! How a tool ends: which error is which exit code.

/// The reader of the output went away. Nobody wants more, which is not a failure: exit 0, quietly.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output is gone")]
pub struct OutputClosed;

/// A signal asked the tool to stop before it had begun: exit 0, quietly.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal")]
pub(crate) struct Stopped;

/// The tool was called in a way that cannot work: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

/// An error that ends with exit code 2. The message says what to do instead.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// The exit code for an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<OutputClosed>() || error.is::<Stopped>() {
        0
    } else if error.is::<Usage>() {
        2
    } else {
        1
    }
}
