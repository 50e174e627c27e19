//! Files of frames that were refused: what is gone goes from them, too.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use archive::Gone;
use frame::{Decoder, Header, Item, Kind, Tag};

/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// Puts a file without what is gone in the place of this one; how many frames lost something.
pub(crate) fn rewrite(path: &Path, gone: &mut Gone) -> anyhow::Result<u64> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let new = Path::new(&name);
    let changed = copy(path, new, gone).and_then(|changed| {
        if changed > 0 {
            std::fs::rename(new, path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        } else {
            std::fs::remove_file(new)?;
        }
        Ok(changed)
    });
    if changed.is_err() {
        // The old file is as it was.
        let _ = std::fs::remove_file(new);
    }
    changed
}

fn copy(path: &Path, new: &Path, gone: &mut Gone) -> anyhow::Result<u64> {
    let mut input = File::open(path)?;
    let mut output = BufWriter::new(File::create(new)?);
    let (mut decoder, mut changed) = (Decoder::default(), 0);
    let (mut bytes, mut frame_bytes) = (Vec::new(), Vec::new());
    loop {
        let read = (&mut input).take(READ_BYTES as u64).read_to_end(&mut bytes)?;
        let mut at = 0;
        while let Some((item, used)) = decoder.next(bytes.get(at..).unwrap_or_default())? {
            let whole = bytes.get(at..at + used).unwrap_or_default();
            at += used;
            let left = match &item {
                Item::Frame(frame) if frame.header.kind == Kind::EVENT => {
                    gone.left_of_refused(frame.body())?.map(|left| (*frame, left))
                }
                _ => None,
            };
            let Some((frame, left)) = left else {
                output.write_all(whole)?;
                continue;
            };
            changed += 1;
            let flags = frame.header.flags | frame::flags::REDACTED;
            let header = Header { flags, ..frame.header };
            let sections = [(Tag::VERDICT, frame.section(Tag::VERDICT)), (Tag::NUMBER, None)];
            frame_bytes.clear();
            frame::put_with_two(&mut frame_bytes, &header, &left, sections)?;
            output.write_all(&frame_bytes)?;
        }
        bytes.drain(..at);
        if read == 0 {
            // A torn frame at the end is none: it can't be looked into, so it does not stay.
            changed += u64::from(!bytes.is_empty());
            break;
        }
    }
    output.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(changed)
}
