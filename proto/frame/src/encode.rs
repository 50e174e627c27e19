//! Writing: frames are appended to a buffer that the caller keeps and empties.

use crate::header::{Frame, HEADER_BYTES, Header, HostId};
use crate::section::{self, SECTION_HEADER_BYTES, Section, Tag};
use crate::{Error, MAGIC, PAYLOAD_BYTES_MAX};

/// Appends the magic.
pub fn put_magic(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
}

/// Appends a frame without sections.
///
/// # Errors
/// [`Error::TooLong`]; nothing was appended then.
pub fn put(out: &mut Vec<u8>, header: &Header, body: &[u8]) -> Result<(), Error> {
    put_sections(out, header, body, std::iter::empty())
}

/// Appends `frame` with this section behind its others, in place of an earlier one of this tag.
///
/// # Errors
/// [`Error::TooLong`]; nothing was appended then.
pub fn put_with(out: &mut Vec<u8>, frame: &Frame<'_>, tag: Tag, data: &[u8]) -> Result<(), Error> {
    let others = frame.sections().filter(|section| section.tag != tag);
    let own = std::iter::once(Section { tag, data });
    put_sections(out, &frame.header, frame.body(), others.chain(own))
}

/// Appends `frame` as one of another host id, everything else as it is.
///
/// # Errors
/// None that can happen: the frame is as long as it was.
pub fn put_as(out: &mut Vec<u8>, frame: &Frame<'_>, host: HostId) -> Result<(), Error> {
    let header = Header { host, ..frame.header };
    put_sections(out, &header, frame.body(), frame.sections())
}

/// Appends a frame made of these parts with two sections, which is what a reader of stored
/// events writes. Sections whose data is `None` are left out.
///
/// # Errors
/// [`Error::TooLong`]; nothing was appended then.
pub fn put_with_two(
    out: &mut Vec<u8>,
    header: &Header,
    body: &[u8],
    sections: [(Tag, Option<&[u8]>); 2],
) -> Result<(), Error> {
    let present = sections.into_iter().filter_map(|(tag, data)| Some(Section { tag, data: data? }));
    put_sections(out, header, body, present)
}

/// Appends a frame with these sections, in this order.
///
/// # Errors
/// [`Error::TooLong`]; nothing was appended then.
pub(crate) fn put_sections<'s>(
    out: &mut Vec<u8>,
    header: &Header,
    body: &[u8],
    sections: impl Iterator<Item = Section<'s>> + Clone,
) -> Result<(), Error> {
    let section_bytes: usize =
        sections.clone().map(|section| SECTION_HEADER_BYTES + section.data.len()).sum();
    let payload_len = body.len() + section_bytes;
    if payload_len > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLong {
            offset: 0,
            bytes: payload_len as u64,
            limit: PAYLOAD_BYTES_MAX as u64,
        });
    }
    out.reserve(HEADER_BYTES + payload_len);
    out.extend_from_slice(&head(header, payload_len, body.len()));
    out.extend_from_slice(body);
    sections.for_each(|Section { tag, data }| section::put(out, tag, data));
    Ok(())
}

/// The bytes of a header. Both lengths are under the payload's limit and so fit 32 bits.
fn head(header: &Header, payload_len: usize, body_len: usize) -> [u8; HEADER_BYTES] {
    let mut head = [0; HEADER_BYTES];
    let mut at = 0;
    let mut field = |bytes: &[u8]| {
        if let Some(slot) = head.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    field(&(payload_len as u32).to_le_bytes());
    field(&[header.kind.0, header.flags, 0, 0]);
    field(&header.host.0.to_le_bytes());
    field(&header.epoch.to_le_bytes());
    field(&header.seq.to_le_bytes());
    field(&header.time_ns.to_le_bytes());
    field(&(body_len as u32).to_le_bytes());
    let crc = head.first_chunk::<36>().map_or(0, |covered| crc32c::crc32c(covered));
    if let Some(slot) = head.last_chunk_mut::<4>() {
        *slot = crc.to_le_bytes();
    }
    head
}
