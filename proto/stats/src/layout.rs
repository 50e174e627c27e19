//! The bytes of a stats page, version 1.
//!
//! For a monitor to read while the tool writes: 65,536 bytes, all numbers little-endian u64 at
//! offsets divisible by 8, each written and read in one piece. Texts are UTF-8 without control
//! characters, ended by a zero byte or by the end of their field.
//!
//! | offset | bytes | name | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `SVRNstat`; written last, so a page without it is not filled in yet |
//! | 8 | 8 | version | 1 |
//! | 16 | 8 | page bytes | 65,536 |
//! | 24 | 8 | pid | process id of the tool, in its own namespace |
//! | 32 | 8 | start | when the page was made, unix ns |
//! | 40 | 8 | edits | odd while inputs, outputs or their counts are being changed |
//! | 48 | 8 | inputs | how many the tool has; the first 16 are described |
//! | 56 | 8 | outputs | likewise |
//! | 64 | 8 | named | rows in use of the table of named counters, at most 64 |
//! | 72 | 8 | buckets | counts in each histogram, 672 |
//! | 80 | 8 | hosts | rows of the table of hosts that lies beside this page ([`crate::hosts`]); 0 if there is none |
//! | 88 | 40 | | 0 |
//! | 128 | 64 | tool | name of the program |
//! | 192 | 64 | name | what the user calls this run (`--name`), or empty |
//! | 256 | 64 | release | version of the program |
//! | 320 | 192 | | 0 |
//! | 512 | 8 | events in | events taken from the input |
//! | 520 | 8 | frames in | frames of any kind taken from the input |
//! | 528 | 8 | bytes in | bytes taken from the input |
//! | 536 | 8 | input wait | ns spent waiting for input, finished waits only |
//! | 544 | 8 | last event | when an event was last taken in, unix ns; 0 for never |
//! | 552 | 8 | queue depth | bytes waiting in the input joints when last looked at |
//! | 560 | 8 | queue capacity | bytes the input joints can hold; 0 if that is not known |
//! | 640 | 8 | events out | events handed on |
//! | 648 | 8 | frames out | frames of any kind handed on |
//! | 656 | 8 | bytes out | bytes handed on |
//! | 664 | 8 | output wait | ns spent waiting for output, finished waits only |
//! | 768 | 8 | refused | events refused for good |
//! | 776 | 8 | dropped | duplicates dropped |
//! | 784 | 8 | held | events waiting inside the tool (for a look-up, say) |
//! | 896 | 8 | state | 0 starting, 1 working, 2 waiting for input, 3 waiting for output |
//! | 904 | 8 | since | when the state was entered, ns of the machine's monotonic clock |
//! | 4,096 | 4,096 | named | 64 rows of 64 bytes: name 24, kind 8, value 8, zero 24 |
//! | 8,192 | 4,096 | inputs | 16 texts of 256 bytes, see below |
//! | 12,288 | 4,096 | outputs | likewise |
//! | 16,384 | 8,192 | latency | histogram: sum of ns 8, zero 56, 672 counts, zero |
//! | 24,576 | 8,192 | age | histogram of the time from receipt off the network to here |
//! | 32,768 | 32,768 | | 0 |
//!
//! What is not listed is zero. The kind of a named counter is 0 for a count that only grows, 1
//! for a gauge, 2 for refusals and 3 for events left unproved by the rule of that name; a reader
//! takes others for gauges. A name that ends in `-bytes` or `-ns`
//! counts those. The count of rows is raised after the row is filled in.
//!
//! An input or output is described by a text that is equal on both sides of a joint:
//! `pipe:[INODE]`, `socket:[INODE]`, `ring:NAME`, an absolute path, or a URL. Longer ones keep
//! their last 256 bytes.
//!
//! **Histograms** count values in ns, log-linear: values below 16 have a bucket each; above
//! that each power of two is cut into 16 buckets, so a value is known to one sixteenth. The
//! bucket of `v` with highest bit `e` is `(e - 3) * 16 + (v >> (e - 4)) % 16`. The last bucket
//! also takes everything over 2^45 ns (9.8 hours).
//!
//! **Reading**: check the size, copy the page in one read, check magic and version, and read
//! `edits` again: odd or changed means that the copy's description may be torn. The numbers
//! are only nearly of one moment. Another version is not read at all: the page lives as long
//! as its process, so there are no old ones to be kept readable. Texts are checked before
//! they reach a terminal. A wait that is still going on is in no count: add the time since
//! `since`.
//!
//! **Why so**: what one thread writes shares a line of 128 bytes (two cache lines, which
//! processors fetch together) and what another writes does not; each named counter has a line
//! of 64 of its own.
//!
//! Version 1 is the first.
//!
//! The head of a page of `dedupe`, pid 4660, with one input:
//! ```text
//! 00000000  53 56 52 4e 73 74 61 74  01 00 00 00 00 00 00 00  |SVRNstat........|
//! 00000010  00 00 01 00 00 00 00 00  34 12 00 00 00 00 00 00  |........4.......|
//! 00000020  00 00 c0 5a 4d 3b 7d 18  00 00 00 00 00 00 00 00  |...ZM;}.........|
//! 00000030  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//! 00000040  00 00 00 00 00 00 00 00  a0 02 00 00 00 00 00 00  |................|
//! 00000080  64 65 64 75 70 65 00 00  00 00 00 00 00 00 00 00  |dedupe..........|
//! 00002000  72 69 6e 67 3a 61 00 00  00 00 00 00 00 00 00 00  |ring:a..........|
//! ```

/// First eight bytes of a page.
pub const MAGIC: [u8; 8] = *b"SVRNstat";
/// Version of this layout.
pub const VERSION: u64 = 1;
/// Bytes in a page.
pub const PAGE_BYTES: usize = 65_536;
/// Bytes of the program's name, the display name and the release, each.
pub const TITLE_BYTES: usize = 64;
/// Inputs, and likewise outputs, that a page describes.
pub const ENDS_MAX: usize = 16;
/// Bytes of one description.
pub const END_BYTES: usize = 256;
/// Named counters in a page; the last one takes what found no room.
pub const NAMED_MAX: usize = 64;
/// Bytes of a counter's name.
pub const NAMED_NAME_BYTES: usize = 24;
/// Bytes of a row in the table of named counters.
pub const NAMED_ROW_BYTES: usize = 64;
/// Counts in a histogram.
pub const BUCKETS: usize = crate::histogram::BUCKETS;

/// Bytes of a number, the unit in which a page is mapped.
pub const WORD_BYTES: usize = 8;
/// Numbers in a page.
pub(crate) const WORDS: usize = PAGE_BYTES / WORD_BYTES;

pub(crate) const AT_MAGIC: usize = 0;
pub(crate) const AT_VERSION: usize = AT_MAGIC + WORD_BYTES;
pub(crate) const AT_PAGE_BYTES: usize = AT_VERSION + WORD_BYTES;
pub(crate) const AT_PID: usize = AT_PAGE_BYTES + WORD_BYTES;
pub(crate) const AT_START: usize = AT_PID + WORD_BYTES;
pub(crate) const AT_EDITS: usize = AT_START + WORD_BYTES;
pub(crate) const AT_INPUTS: usize = AT_EDITS + WORD_BYTES;
pub(crate) const AT_OUTPUTS: usize = AT_INPUTS + WORD_BYTES;
pub(crate) const AT_NAMED: usize = AT_OUTPUTS + WORD_BYTES;
pub(crate) const AT_BUCKETS: usize = AT_NAMED + WORD_BYTES;
pub(crate) const AT_HOSTS: usize = AT_BUCKETS + WORD_BYTES;
pub(crate) const AT_TOOL: usize = 128;
pub(crate) const AT_NAME: usize = AT_TOOL + TITLE_BYTES;
pub(crate) const AT_RELEASE: usize = AT_NAME + TITLE_BYTES;

pub(crate) const AT_EVENTS_IN: usize = 512;
pub(crate) const AT_FRAMES_IN: usize = AT_EVENTS_IN + WORD_BYTES;
pub(crate) const AT_BYTES_IN: usize = AT_FRAMES_IN + WORD_BYTES;
pub(crate) const AT_INPUT_WAIT: usize = AT_BYTES_IN + WORD_BYTES;
pub(crate) const AT_LAST_EVENT: usize = AT_INPUT_WAIT + WORD_BYTES;
pub(crate) const AT_QUEUE_DEPTH: usize = AT_LAST_EVENT + WORD_BYTES;
pub(crate) const AT_QUEUE_CAPACITY: usize = AT_QUEUE_DEPTH + WORD_BYTES;

pub(crate) const AT_EVENTS_OUT: usize = 640;
pub(crate) const AT_FRAMES_OUT: usize = AT_EVENTS_OUT + WORD_BYTES;
pub(crate) const AT_BYTES_OUT: usize = AT_FRAMES_OUT + WORD_BYTES;
pub(crate) const AT_OUTPUT_WAIT: usize = AT_BYTES_OUT + WORD_BYTES;

pub(crate) const AT_REFUSED: usize = 768;
pub(crate) const AT_DROPPED: usize = AT_REFUSED + WORD_BYTES;
pub(crate) const AT_HELD: usize = AT_DROPPED + WORD_BYTES;

pub(crate) const AT_STATE: usize = 896;
pub(crate) const AT_SINCE: usize = AT_STATE + WORD_BYTES;

pub(crate) const AT_NAMED_ROWS: usize = 4_096;
pub(crate) const NAMED_KIND: usize = NAMED_NAME_BYTES;
pub(crate) const NAMED_VALUE: usize = NAMED_KIND + WORD_BYTES;

pub(crate) const AT_INPUT_ENDS: usize = AT_NAMED_ROWS + NAMED_MAX * NAMED_ROW_BYTES;
pub(crate) const AT_OUTPUT_ENDS: usize = AT_INPUT_ENDS + ENDS_MAX * END_BYTES;

const HISTOGRAM_BYTES: usize = 8_192;
/// From the start of a histogram to its counts.
pub(crate) const HISTOGRAM_HEAD_BYTES: usize = 64;
pub(crate) const AT_LATENCY: usize = AT_OUTPUT_ENDS + ENDS_MAX * END_BYTES;
pub(crate) const AT_AGE: usize = AT_LATENCY + HISTOGRAM_BYTES;

const _: () = {
    // Counts are added to in place, so memory and file have to agree on the order of bytes.
    assert!(cfg!(target_endian = "little"));
    assert!(AT_BUCKETS == 72 && AT_HOSTS == 80 && AT_RELEASE == 256);
    assert!(AT_QUEUE_CAPACITY == 560 && AT_OUTPUT_WAIT == 664);
    assert!(AT_HELD == 784 && AT_SINCE == 904);
    assert!(NAMED_VALUE + WORD_BYTES <= NAMED_ROW_BYTES);
    assert!(AT_INPUT_ENDS == 8_192 && AT_OUTPUT_ENDS == 12_288);
    assert!(AT_LATENCY == 16_384 && AT_AGE == 24_576);
    assert!(BUCKETS == 672 && HISTOGRAM_HEAD_BYTES + BUCKETS * WORD_BYTES <= HISTOGRAM_BYTES);
    assert!(AT_AGE + HISTOGRAM_BYTES <= PAGE_BYTES);
};
