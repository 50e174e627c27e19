//! What is alike goes together: the streams into which the events of a block are taken apart, and
//! how they lie in the block.
//!
//! | part    | meaning                                                                      |
//! |---------|------------------------------------------------------------------------------|
//! | table   | for each stream of [`Stream`], in that order, two varints: its length, and its length in the block times two, plus one if it is under zstd |
//! | streams | one behind the other                                                         |
//!
//! [`Stream::Shape`] is under zstd with [`SCHEMA`] in front of it, [`Stream::Bits`],
//! [`Stream::Hash`], [`Stream::Signature`], [`Stream::Did`] and [`Stream::Point`] are noise and lie
//! as they are. A block of codec 2 has no [`Stream::Micros`] and no [`Stream::Point`].
//!
//! A number is its class (how many bits it has, one byte in its stream) and the bits below its
//! highest, which are noise too and go to [`Stream::Bits`], lowest first.

use zstd::bulk::{Compressor, Decompressor};

use crate::bytes::{Take, put_varint};
use crate::error::Cause;

use super::schema::SCHEMA;

/// All streams of a block together are never longer than this.
const STREAM_BYTES_MAX: usize = 2 * super::BLOCK_BYTES_MAX;

macro_rules! streams {
    ($($(#[doc = $doc:literal])* $name:ident $coding:ident $part:literal,)*) => {
        /// The streams of a block.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Stream {
            $($(#[doc = $doc])* $name,)*
        }

        impl Stream {
            /// All of them, in the order in which they lie.
            pub(crate) const ALL: &'static [Stream] = &[$(Stream::$name),*];

            /// How it lies in a block.
            fn coding(self) -> Coding {
                match self { $(Stream::$name => Coding::$coding),* }
            }

            /// What it is counted as when the bytes of an archive are told by part.
            pub(crate) fn part(self) -> &'static str {
                match self { $(Stream::$name => $part),* }
            }
        }
    };
}

streams! {
    /// Events that are not taken apart, as they came.
    Raw Zstd "whole events",
    /// Sections that differ from those of the account's event before.
    Sections Zstd "verdicts and keys",
    /// What an event is, and which of its fields are as expected.
    Form Zstd "envelopes",
    /// Times: revs, `since`, `time`.
    Time Zstd "envelopes",
    /// Operations.
    Op Zstd "envelopes",
    /// Objects without what is in them.
    Shape Schema "records",
    /// Text in objects.
    Text Zstd "records",
    /// Its lengths.
    Length Zstd "records",
    /// Numbers in objects.
    Number Zstd "records",
    /// What changes from one node of a tree to the next.
    Edit Zstd "tree nodes",
    /// Keys of trees: their kind, and how far from the key before.
    Key Zstd "tree nodes",
    /// Clocks of TIDs.
    Clock Zstd "tree nodes",
    /// Names of collections, and record keys that are no TIDs.
    Name Zstd "tree nodes",
    /// The low bits of numbers.
    Bits Plain "bits of numbers",
    /// Identifiers of accounts.
    Did Plain "bits of numbers",
    /// Hashes that can't be worked out.
    Hash Plain "hashes",
    /// Signatures.
    Signature Plain "signatures",
    /// What TIDs have below the millisecond.
    Micros Zstd "tree nodes",
    /// Points of the curves: the keys that proved events.
    Point Plain "verdicts and keys",
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Zstd,
    Schema,
}

const COUNT: usize = Stream::ALL.len();
/// How many of them a block of codec 2 has.
const COUNT_2: usize = Stream::Micros as usize;

fn count(codec: u8) -> usize {
    if codec == super::APART_2 { COUNT_2 } else { COUNT }
}

/// Streams that are being filled.
#[derive(Debug, Default)]
pub(crate) struct Out {
    streams: [Vec<u8>; COUNT],
    bits: u64,
    count: u32,
}

impl Out {
    pub(crate) fn clear(&mut self) {
        self.streams.iter_mut().for_each(Vec::clear);
        (self.bits, self.count) = (0, 0);
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many as the enum has values")]
    pub(crate) fn of(&mut self, stream: Stream) -> &mut Vec<u8> {
        &mut self.streams[stream as usize]
    }

    pub(crate) fn byte(&mut self, stream: Stream, byte: u8) {
        self.of(stream).push(byte);
    }

    pub(crate) fn varint(&mut self, stream: Stream, value: u64) {
        put_varint(self.of(stream), value);
    }

    pub(crate) fn bytes(&mut self, stream: Stream, bytes: &[u8]) {
        self.of(stream).extend_from_slice(bytes);
    }

    /// Text behind its length.
    pub(crate) fn text(&mut self, stream: Stream, text: &[u8]) {
        self.varint(stream, text.len() as u64);
        self.bytes(stream, text);
    }

    pub(crate) fn number(&mut self, stream: Stream, value: u64) {
        let class = u64::BITS - value.leading_zeros();
        self.byte(stream, class as u8);
        let low = class.saturating_sub(1);
        self.low_bits(value, low.min(32));
        self.low_bits(value >> 32, low.saturating_sub(32));
    }

    pub(crate) fn signed(&mut self, stream: Stream, value: i64) {
        self.number(stream, ((value << 1) ^ (value >> 63)) as u64);
    }

    /// The lowest `count` bits, at most 32.
    pub(crate) fn low_bits(&mut self, value: u64, count: u32) {
        self.bits |= (value & ((1 << count) - 1)) << self.count;
        self.count += count;
        while self.count >= 8 {
            let byte = self.bits as u8;
            self.byte(Stream::Bits, byte);
            self.bits >>= 8;
            self.count -= 8;
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        if self.count > 0 {
            let byte = self.bits as u8;
            self.byte(Stream::Bits, byte);
            (self.bits, self.count) = (0, 0);
        }
    }

    /// What was put, to be read back by this codec.
    #[cfg(test)]
    pub(crate) fn input(&self, codec: u8) -> In<'_> {
        In::new(&self.streams, codec)
    }

    /// Packs everything.
    pub(crate) fn pack(&self, packers: &mut Packers) -> std::io::Result<Vec<u8>> {
        let (mut table, mut packed) = (Vec::new(), Vec::new());
        for (stream, raw) in Stream::ALL.iter().zip(&self.streams) {
            let small = match stream.coding() {
                Coding::Plain => None,
                Coding::Zstd => Some(packers.plain.compress(raw)?),
                Coding::Schema => Some(packers.schema.compress(raw)?),
            };
            let small = small.filter(|small| small.len() < raw.len());
            put_varint(&mut table, raw.len() as u64);
            let bytes = small.as_ref().unwrap_or(raw);
            put_varint(&mut table, (bytes.len() as u64) << 1 | u64::from(small.is_some()));
            packed.extend_from_slice(bytes);
        }
        table.append(&mut packed);
        Ok(table)
    }
}

/// The compressors of a block's streams.
pub(crate) struct Packers {
    plain: Compressor<'static>,
    schema: Compressor<'static>,
}

impl Packers {
    pub(crate) fn new(level: i32) -> std::io::Result<Packers> {
        let mut packers = Packers {
            plain: Compressor::new(level)?,
            schema: Compressor::with_dictionary(level, SCHEMA)?,
        };
        // The table says it, and the block has a checksum.
        for packer in [&mut packers.plain, &mut packers.schema] {
            packer.include_contentsize(false)?;
            packer.include_dictid(false)?;
        }
        Ok(packers)
    }
}

/// And their decompressors.
pub(crate) struct Unpackers {
    plain: Decompressor<'static>,
    schema: Decompressor<'static>,
}

impl Unpackers {
    pub(crate) fn new() -> std::io::Result<Unpackers> {
        Ok(Unpackers {
            plain: Decompressor::new()?,
            schema: Decompressor::with_dictionary(SCHEMA)?,
        })
    }

    pub(crate) fn plain(&mut self) -> &mut Decompressor<'static> {
        &mut self.plain
    }
}

/// How many bytes each stream takes in a block of this codec.
pub(crate) fn sizes(block: &[u8], codec: u8) -> Option<Vec<(Stream, usize)>> {
    let mut take = Take::new(block);
    let mut sizes = Vec::with_capacity(COUNT);
    for stream in Stream::ALL.iter().take(count(codec)) {
        take.varint_usize()?;
        sizes.push((*stream, take.varint_usize()? >> 1));
    }
    Some(sizes)
}

/// The streams of a block, unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    codec: u8,
    streams: [Vec<u8>; COUNT],
}

impl Unpacked {
    pub(crate) fn read(
        block: &[u8],
        codec: u8,
        unpackers: &mut Unpackers,
    ) -> Result<Unpacked, Cause> {
        let form = || Cause::Form("block");
        let mut take = Take::new(block);
        let mut table = [(0, 0, false); COUNT];
        let mut sum = 0usize;
        for row in table.iter_mut().take(count(codec)) {
            let raw = take.varint_usize().ok_or_else(form)?;
            let packed = take.varint_usize().ok_or_else(form)?;
            sum = sum.checked_add(raw).filter(|sum| *sum <= STREAM_BYTES_MAX).ok_or_else(form)?;
            *row = (raw, packed >> 1, packed & 1 == 1);
        }
        let mut unpacked = Unpacked { codec, streams: std::array::from_fn(|_| Vec::new()) };
        let places = Stream::ALL.iter().zip(&mut unpacked.streams).zip(table);
        for ((stream, place), (raw, packed, small)) in places {
            let bytes = take.slice(packed).ok_or_else(form)?;
            let zstd = match stream.coding() {
                Coding::Schema => &mut unpackers.schema,
                Coding::Plain | Coding::Zstd => &mut unpackers.plain,
            };
            *place = if small { super::unzstd(zstd, bytes, raw)? } else { bytes.to_vec() };
            if place.len() != raw {
                return Err(form());
            }
        }
        if take.is_empty() { Ok(unpacked) } else { Err(form()) }
    }

    pub(crate) fn input(&self) -> In<'_> {
        In::new(&self.streams, self.codec)
    }
}

/// Streams that are being read.
#[derive(Debug)]
pub(crate) struct In<'a> {
    /// The codec that wrote them.
    pub(crate) codec: u8,
    takes: [Take<'a>; COUNT],
    bits: u64,
    count: u32,
}

impl<'a> In<'a> {
    fn new(streams: &'a [Vec<u8>; COUNT], codec: u8) -> In<'a> {
        let takes = streams.each_ref().map(|bytes| Take::new(bytes));
        In { codec, takes, bits: 0, count: 0 }
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many as the enum has values")]
    fn of(&mut self, stream: Stream) -> &mut Take<'a> {
        &mut self.takes[stream as usize]
    }

    pub(crate) fn byte(&mut self, stream: Stream) -> Option<u8> {
        self.of(stream).u8()
    }

    pub(crate) fn peek(&mut self, stream: Stream) -> Option<u8> {
        self.of(stream).clone().u8()
    }

    pub(crate) fn varint(&mut self, stream: Stream) -> Option<u64> {
        self.of(stream).varint()
    }

    /// A count that is no larger than `limit`.
    pub(crate) fn count(&mut self, stream: Stream, limit: usize) -> Option<usize> {
        self.of(stream).varint_usize().filter(|count| *count <= limit)
    }

    pub(crate) fn bytes(&mut self, stream: Stream, len: usize) -> Option<&'a [u8]> {
        self.of(stream).slice(len)
    }

    pub(crate) fn array<const N: usize>(&mut self, stream: Stream) -> Option<[u8; N]> {
        self.of(stream).array()
    }

    pub(crate) fn text(&mut self, stream: Stream) -> Option<&'a [u8]> {
        let len = self.of(stream).varint_usize()?;
        self.bytes(stream, len)
    }

    pub(crate) fn number(&mut self, stream: Stream) -> Option<u64> {
        let class = self.byte(stream)?;
        self.of_class(class)
    }

    /// The rest of a number of this class.
    pub(crate) fn of_class(&mut self, class: u8) -> Option<u64> {
        let class = u32::from(class);
        if class == 0 {
            return Some(0);
        }
        let low = (class - 1).min(u64::BITS);
        let below = self.low_bits(low.min(32))?;
        let highest = 1u64.checked_shl(low)?;
        let above = self.low_bits(low.saturating_sub(32))?;
        Some(highest | above << 32 | below)
    }

    pub(crate) fn signed(&mut self, stream: Stream) -> Option<i64> {
        let zigzag = self.number(stream)?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    pub(crate) fn low_bits(&mut self, count: u32) -> Option<u64> {
        while self.count < count {
            let byte = u64::from(self.byte(Stream::Bits)?);
            self.bits |= byte << self.count;
            self.count += 8;
        }
        let value = self.bits & 1u64.checked_shl(count)?.checked_sub(1)?;
        self.bits >>= count;
        self.count -= count;
        Some(value)
    }
}
