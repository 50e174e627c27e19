//! Sections: what a stage found out about an event, behind the event's bytes.

/// What a section holds. Sections with other tags pass through untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub u16);

impl Tag {
    /// The block table of the event's CAR, written by `car-extract`.
    pub const SPANS: Tag = Tag(1);
    /// What `sig-verify` found, see [`crate::verdict`].
    pub const VERDICT: Tag = Tag(2);
    /// The event's number in an archive, see [`crate::number`].
    pub const NUMBER: Tag = Tag(3);
}

/// The length of a section's own header: tag, zero, length.
pub const SECTION_HEADER_BYTES: usize = 8;

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds.
    pub tag: Tag,
    /// Its bytes.
    pub data: &'a [u8],
}

/// The sections of a frame, in order. The decoder has checked that they fit.
#[derive(Debug, Clone)]
pub struct Sections<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let (section, rest) = split(self.rest)?;
        self.rest = rest;
        Some(section)
    }
}

/// The first section of these bytes and what is behind it; `None` if they do not hold one whole.
fn split(bytes: &[u8]) -> Option<(Section<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<SECTION_HEADER_BYTES>()?;
    let [t0, t1, 0, 0, l0, l1, l2, l3] = *head else { return None };
    let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
    let (data, rest) = rest.split_at_checked(len)?;
    Some((Section { tag: Tag(u16::from_le_bytes([t0, t1])), data }, rest))
}

/// Whether these bytes are whole sections and nothing else.
pub(crate) fn well_formed(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match split(bytes) {
            Some((_, rest)) => bytes = rest,
            None => return false,
        }
    }
    true
}

/// Appends one section. The caller has checked the length against the payload's limit.
pub(crate) fn put(out: &mut Vec<u8>, tag: Tag, data: &[u8]) {
    out.extend_from_slice(&tag.0.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(data);
}
