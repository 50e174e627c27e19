//! Lines of JSON, in and out.

use std::io;

use crate::source::Packed;

/// Longest line that is read. Operations have at most 4,000 bytes since 2023 and had some tens of
/// thousands before.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// What a look for the next line came to.
pub(crate) enum Next {
    /// There is one.
    Line,
    /// There is one that is too long; it was passed over.
    TooLong,
    /// The input is at its end.
    End,
    /// The input broke off in the middle of its packing; what came before is good.
    Torn,
}

/// Reads the next line into `line`, without its end.
pub(crate) fn next(source: &mut Packed, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let mut bytes = 0;
    loop {
        let buffer = match source.fill() {
            Ok(buffer) => buffer,
            // What was begun is no line.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Next::Torn),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() && bytes == 0 {
            return Ok(Next::End);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        if line.len() + part.len() <= LINE_BYTES_MAX {
            line.extend_from_slice(part);
        }
        bytes += part.len();
        let last = end.is_some() || buffer.is_empty();
        let used = part.len() + usize::from(end.is_some());
        source.consume(used);
        if last {
            return Ok(if bytes > LINE_BYTES_MAX { Next::TooLong } else { Next::Line });
        }
    }
}
