//! The newest events of an archive, as if they had just come.

use std::path::Path;

use archive::Found;
use frame::host::Host;

use crate::copies::Copies;

/// So many are made known at most: some minutes of the whole network. What comes again after a restart
/// lies behind the last mark, which is seconds; and a start takes no longer with a larger archive.
const EVENTS_MAX: usize = 1 << 17;

/// Makes at most `most` events known; how many it were. Where there is no archive yet there is
/// nothing to know.
pub(crate) fn prime(copies: &mut Copies, archive: &Path, most: usize) -> anyhow::Result<u64> {
    let Some((mut reader, query)) = archive::newest(archive, most.min(EVENTS_MAX) as u64)? else {
        return Ok(0);
    };
    let mut scan = reader.scan(query);
    let mut known = 0;
    while let Some(found) = scan.next()? {
        // What cannot be read is archive-check's to say: it comes again, and is stored once.
        if let Found::Event(event) = found {
            let from = Host { role: event.from.role, name: &event.from.name };
            copies.known(from, &event.header(), event.body);
            known += 1;
        }
    }
    Ok(known)
}
