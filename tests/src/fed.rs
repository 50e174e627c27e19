//! One tool, fed from memory.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a tool over this input to its end. It may end before it has read all.
pub fn fed(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool");
    let mut stdin = child.stdin.take().expect("its input");
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("its output")
    })
}
