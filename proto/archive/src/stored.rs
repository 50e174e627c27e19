//! What is kept of an event besides its bytes, and how it comes back.
//!
//! Of a frame are kept: the fields of the header, the body exactly, and every section but two. The
//! block table (tag 1) can be made again from the body, and a number (tag 3) belongs to the
//! archive that gave it. Kept sections are stored one behind the other, each as varint tag, varint
//! length, bytes.

use frame::verdict::Verdict;
use frame::{Frame, Header, Kind, Section, Tag};

use crate::bytes::{Take, put_varint};
use crate::codec::Plain;
use crate::content;
use crate::hosts::{Host, HostNo};
use crate::segment::index::Row;

/// An event of the archive, borrowed from where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its number: arrival order over the whole archive, from 0.
    pub n: u64,
    /// The number of the host that it came from.
    pub host: HostNo,
    /// That host.
    pub from: &'a Host,
    /// The host's epoch.
    pub epoch: u32,
    /// The upstream sequence number.
    pub seq: u64,
    /// When it was received, nanoseconds since 1970.
    pub time_ns: u64,
    /// The flags of its frame.
    pub flags: u8,
    /// Its bytes as they came off the socket.
    pub body: &'a [u8],
    pub(crate) sections: Kept<'a>,
}

impl<'a> Event<'a> {
    pub(crate) fn of_row(
        n: u64,
        host: HostNo,
        from: &'a Host,
        row: &Row,
        plain: Plain<'a>,
    ) -> Event<'a> {
        Event {
            n,
            host,
            from,
            epoch: row.epoch,
            seq: row.seq,
            time_ns: row.time_ns,
            flags: row.flags,
            body: plain.body,
            sections: Kept::Stored(plain.sections),
        }
    }

    pub(crate) fn of_frame(n: u64, host: HostNo, from: &'a Host, frame: Frame<'a>) -> Event<'a> {
        Event {
            n,
            host,
            from,
            epoch: frame.header.epoch,
            seq: frame.header.seq,
            time_ns: frame.header.time_ns,
            flags: frame.header.flags,
            body: frame.body(),
            sections: Kept::Frame(frame),
        }
    }

    /// The verdict section as it came, if there was one.
    #[must_use]
    pub fn verdict(&self) -> Option<&'a [u8]> {
        self.sections().find(|section| section.tag == Tag::VERDICT).map(|section| section.data)
    }

    /// The verdict, if it is that the event was proved.
    #[must_use]
    pub fn proof(&self) -> Option<Verdict> {
        content::proof(self.verdict())
    }

    /// The sections that were kept, in their order.
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + Clone + use<'a> {
        self.sections.iter()
    }

    /// Appends the event as a frame: the sections as they came, and its number.
    ///
    /// # Errors
    /// [`frame::Error::TooLong`] if the number does not fit behind a payload at its limit.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), frame::Error> {
        let number = frame::number::bytes(self.n);
        let number = Section { tag: Tag::NUMBER, data: &number };
        put_frame(out, &self.header(), self.body, self.sections().chain([number]))
    }

    /// The same event with another body, and the flag of a redacted one.
    #[must_use]
    pub fn redacted<'b>(self, body: &'b [u8]) -> Event<'b>
    where
        'a: 'b,
    {
        Event { body, flags: self.flags | frame::flags::REDACTED, ..self }
    }

    /// The header of its frame, as [`Event::put`] writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header {
            kind: Kind::EVENT,
            flags: self.flags,
            host: self.host.id(),
            epoch: self.epoch,
            seq: self.seq,
            time_ns: self.time_ns,
        }
    }
}

/// A control frame that was kept as it came: `hole`, `repo`, and kinds that this version does not
/// know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// The number of the event before which it stands.
    pub before: u64,
    /// The host that it speaks of, if it speaks of one.
    pub host: Option<(HostNo, &'a Host)>,
    pub(crate) frame: Frame<'a>,
}

impl<'a> Note<'a> {
    /// Its frame. The host id in it is of no stream: see [`Note::put`].
    #[must_use]
    pub fn frame(&self) -> Frame<'a> {
        self.frame
    }

    /// Appends the frame.
    ///
    /// # Errors
    /// None that can happen: it was a frame before.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), frame::Error> {
        let host = self.host.map_or(frame::HostId(0), |(host, _)| host.id());
        let header = Header { host, ..self.frame.header };
        put_frame(out, &header, self.frame.body(), self.frame.sections())
    }
}

/// Kept sections, in the one or the other form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept<'a> {
    /// As a segment has them.
    Stored(&'a [u8]),
    /// As a frame in a log has them.
    Frame(Frame<'a>),
}

impl<'a> Kept<'a> {
    fn iter(self) -> impl Iterator<Item = Section<'a>> + Clone + use<'a> {
        let (stored, frame) = match self {
            Kept::Stored(bytes) => (Some(Stored { take: Take::new(bytes) }), None),
            Kept::Frame(frame) => (None, Some(kept(&frame))),
        };
        stored.into_iter().flatten().chain(frame.into_iter().flatten())
    }
}

/// The sections of a frame that the archive keeps.
pub(crate) fn kept<'a>(frame: &Frame<'a>) -> impl Iterator<Item = Section<'a>> + Clone + use<'a> {
    frame.sections().filter(|section| section.tag != Tag::SPANS && section.tag != Tag::NUMBER)
}

/// Appends the stored form of a frame's kept sections.
pub(crate) fn put_kept(out: &mut Vec<u8>, frame: &Frame<'_>) {
    for section in kept(frame) {
        put_varint(out, u64::from(section.tag.0));
        put_varint(out, section.data.len() as u64);
        out.extend_from_slice(section.data);
    }
}

#[derive(Debug, Clone)]
struct Stored<'a> {
    take: Take<'a>,
}

impl<'a> Iterator for Stored<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let tag = Tag(u16::try_from(self.take.varint()?).ok()?);
        let len = self.take.varint_usize()?;
        Some(Section { tag, data: self.take.slice(len)? })
    }
}

/// Appends a frame with these sections. One or two of them, as nearly every frame has, are laid
/// out at once; more are appended one at a time.
pub(crate) fn put_frame<'s>(
    out: &mut Vec<u8>,
    header: &Header,
    body: &[u8],
    mut sections: impl Iterator<Item = Section<'s>>,
) -> Result<(), frame::Error> {
    let mut tagged = || match sections.next() {
        Some(section) => (section.tag, Some(section.data)),
        None => (Tag::NUMBER, None),
    };
    let start = out.len();
    frame::put_with_two(out, header, body, [tagged(), tagged()])?;
    for section in sections {
        let mut grown = Vec::new();
        let mut decoder = frame::Decoder::default();
        decoder.next(&frame::MAGIC)?;
        let so_far = out.get(start..).unwrap_or_default();
        if let Some((frame::Item::Frame(frame), _)) = decoder.next(so_far)? {
            frame::put_with(&mut grown, &frame, section.tag, section.data)?;
        }
        out.truncate(start);
        out.append(&mut grown);
    }
    Ok(())
}
