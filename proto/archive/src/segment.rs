//! Segments: what a log becomes when it is full. A segment is written once and never changed.
//!
//! Its events lie in blocks, by account (DIDs ascending, an account's events as they came), and an
//! index of one small row per event gives the order in which all of them came. Everything that
//! the whole segment hangs on is there twice.
//!
//! ```text
//! segment  = head blocks parts parts-again contents contents-again footer footer-again
//! head     = see the module head: magic SVRNseg1, number, first event
//! blocks   = what the codec made, one behind the other
//! parts    = see below; those that can be done without are there once
//! contents = one entry for each part
//! ```
//!
//! Entry of the contents, 40 bytes, integers little-endian as everywhere:
//!
//! | offset | size | field    | meaning                                                     |
//! |-------:|-----:|----------|-------------------------------------------------------------|
//! |      0 |    2 | tag      | which part                                                  |
//! |      2 |    1 | coding   | 0: as it is, 1: zstd                                        |
//! |      3 |    1 | flags    | bit 0: who does not know the part must not go on            |
//! |      4 |    4 | reserved | zero                                                        |
//! |      8 |    8 | offset   | of the part in the file                                     |
//! |     16 |    8 | again    | offset of its second copy; 0: there is none                 |
//! |     24 |    4 | length   | in the file                                                 |
//! |     28 |    4 | raw      | length when decoded, at most [`contents::PART_BYTES_MAX`]   |
//! |     32 |    4 | crc32c   | of its bytes in the file                                    |
//! |     36 |    4 | reserved | zero                                                        |
//!
//! Footer, 64 bytes, the last 128 of the file hold it twice:
//!
//! | offset | size | field    | meaning                                                     |
//! |-------:|-----:|----------|-------------------------------------------------------------|
//! |      0 |    8 | magic    | `SVRNsft1`; the last byte is the version                    |
//! |      8 |    4 | number   | the segment's                                               |
//! |     12 |    4 | events   | how many numbers it has (lost events of a damaged log count)|
//! |     16 |    8 | first    | number of its first event                                   |
//! |     24 |    8 | contents | offset                                                      |
//! |     32 |    8 | again    | offset of the second copy                                   |
//! |     40 |    4 | length   | of the contents                                             |
//! |     44 |    4 | crc32c   | of the contents                                             |
//! |     48 |    8 | file     | length of the whole file                                    |
//! |     56 |    4 | reserved | zero                                                        |
//! |     60 |    4 | crc32c   | of bytes 0 to 60                                            |
//!
//! The parts, all fields varints unless said otherwise (see [`index`]):
//!
//! | tag | part       | copies | for each                                                    |
//! |----:|------------|-------:|-------------------------------------------------------------|
//! |   1 | blocks     |      2 | block: codec (u8), length, raw length, events, crc32c (u32); they follow one another from the head's end |
//! |   2 | hosts      |      2 | host: role (u8), length of name, name                       |
//! |   3 | marks      |      2 | host that moved in this log: host, epoch, seq               |
//! |   4 | accounts as text | 2 | DID, ascending: bytes shared with the one before, bytes of its own, those bytes, events |
//! |   5 | order      |      2 | event as they came, in columns: account + 1 (0: lost), host, epoch, seq, time_ns, flags; the last but one three as steps from the same host's last epoch and seq and from the last time |
//! |   6 | long identities |  1 | event: 16 bytes, as the first version wrote them            |
//! |   7 | notes      |      1 | control frame: events before it, host + 1 (0: none), length, frame; not there if there are none |
//! |   8 | identities |      1 | event: 8 bytes, the first half of 16                         |
//! |   9 | links      |      2 | account: how many segments ago lies what its first event here is written against (see [`crate::group`]), 0: nowhere; not there if all are; critical |
//! |  10 | short accounts | 2 | in place of part 4, in columns, DIDs ascending: how many accounts; of each how many events it has, times two, plus one if it is no did:plc; of each a did:plc's 15 bytes, or length and text |
//! |  11 | directory  |      2 | part that lies in here, for each of 1 to 5 and 10: tag, length, bytes; critical |
//!
//! An event's place follows: accounts tell at which position of the segment's order each begins,
//! an event's position is that and how many of its account came before it, blocks tell how many
//! events each holds. So an event number leads to its bytes by one block, and those that this
//! one is written against: nearly always one a segment, since blocks end at the same DIDs.
//!
//! What a reader does with what it does not know: a part is skipped unless its flag forbids it, a
//! codec is an error that names it, as is a version. What is checked: every checksum, every length
//! against its limit before memory is taken, and that the parts agree with each other. A flipped
//! bit costs a block at most, and what later segments of its group write against it; a flipped
//! bit in identities costs nothing, for they can be made again.
//!
//! Why so: blocks come first because they are written while the rest is still being learned;
//! what finds them comes last, where a file that was cut short lacks it and so does not pass for a
//! segment. Order, hosts and times are kept apart from the events because they are small steps in
//! order of arrival and would be large ones by account.
//!
//! Version 1 is the first. It has since got a second and a third codec of blocks, part 8 in place of
//! part 6, part 9, and part 11, with part 10 or 4 in it; a reader from before names the codec, or goes no
//! further than the contents.

pub(crate) mod contents;
pub(crate) mod index;
pub(crate) mod read;
pub(crate) mod write;

/// Tags of the parts.
pub(crate) mod part {
    pub(crate) const BLOCKS: u16 = 1;
    pub(crate) const HOSTS: u16 = 2;
    pub(crate) const MARKS: u16 = 3;
    pub(crate) const ACCOUNTS: u16 = 4;
    pub(crate) const ORDER: u16 = 5;
    pub(crate) const LONG_IDENTITIES: u16 = 6;
    pub(crate) const NOTES: u16 = 7;
    pub(crate) const IDENTITIES: u16 = 8;
    pub(crate) const LINKS: u16 = 9;
    pub(crate) const SHORT_ACCOUNTS: u16 = 10;
    pub(crate) const DIRECTORY: u16 = 11;

    /// Whether a reader that does not know the part must not go on.
    pub(crate) fn is_critical(tag: u16) -> bool {
        matches!(tag, LINKS | DIRECTORY)
    }

    /// The name of a part in messages.
    pub(crate) fn name(tag: u16) -> &'static str {
        match tag {
            BLOCKS => "block table",
            HOSTS => "host table",
            MARKS => "marks",
            ACCOUNTS | SHORT_ACCOUNTS => "account table",
            ORDER => "order",
            LONG_IDENTITIES | IDENTITIES => "identities",
            NOTES => "notes",
            LINKS => "links",
            DIRECTORY => "directory",
            _ => "part",
        }
    }
}
