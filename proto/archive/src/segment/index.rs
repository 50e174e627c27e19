//! The parts of a segment that find its events: encoding and decoding. Byte table in [`super`].

use std::collections::HashMap;

use atproto::PlcDid;
use frame::host::{NAME_BYTES_MAX, Role};

use crate::bytes::{Take, put_delta, put_varint};
use crate::codec;
use crate::codec::BLOCK_BYTES_MAX;
use crate::group::GROUP_SEGMENTS;
use crate::head::HEAD_BYTES;
use crate::hosts::Host;
use crate::log::LOG_EVENTS_MAX;

/// More accounts than events there are never; a DID is at most this long.
const DID_BYTES_MAX: usize = 2048;

/// A block's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRow {
    pub(crate) codec: u8,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    pub(crate) raw: usize,
    /// Position of its first event in the segment's order, and how many it holds.
    pub(crate) first: u32,
    pub(crate) events: u32,
    pub(crate) crc: u32,
}

impl BlockRow {
    /// What the block takes in memory when it is decoded, nearly.
    pub(crate) fn bytes(&self) -> usize {
        codec::block_bytes(self.raw, self.events as usize)
    }
}

pub(crate) fn put_blocks(out: &mut Vec<u8>, blocks: &[BlockRow]) {
    for block in blocks {
        out.push(block.codec);
        put_varint(out, block.length as u64);
        put_varint(out, block.raw as u64);
        put_varint(out, u64::from(block.events));
        out.extend_from_slice(&block.crc.to_le_bytes());
    }
}

pub(crate) fn read_blocks(bytes: &[u8]) -> Option<Vec<BlockRow>> {
    let mut take = Take::new(bytes);
    let mut blocks = Vec::new();
    let (mut offset, mut first) = (HEAD_BYTES as u64, 0u32);
    while !take.is_empty() {
        let codec = take.u8()?;
        let (length, raw) = (take.varint_usize()?, take.varint_usize()?);
        let (events, crc) = (take.varint_u32()?, take.u32()?);
        // zstd makes what it cannot make smaller a little larger.
        if raw > BLOCK_BYTES_MAX || length > BLOCK_BYTES_MAX + BLOCK_BYTES_MAX / 64 {
            return None;
        }
        blocks.push(BlockRow { codec, offset, length, raw, first, events, crc });
        offset = offset.checked_add(length as u64)?;
        first = first.checked_add(events).filter(|end| *end <= LOG_EVENTS_MAX)?;
    }
    Some(blocks)
}

pub(crate) fn put_hosts<'h>(out: &mut Vec<u8>, hosts: impl Iterator<Item = &'h Host>) {
    for host in hosts {
        out.push(host.role as u8);
        put_varint(out, host.name.len() as u64);
        out.extend_from_slice(host.name.as_bytes());
    }
}

pub(crate) fn read_hosts(bytes: &[u8]) -> Option<Vec<Host>> {
    let mut take = Take::new(bytes);
    let mut hosts = Vec::new();
    while !take.is_empty() {
        let role = match take.u8()? {
            0 => Role::Pds,
            1 => Role::Relay,
            _ => return None,
        };
        let len = take.varint_usize().filter(|len| (1..=NAME_BYTES_MAX).contains(len))?;
        let name = std::str::from_utf8(take.slice(len)?).ok()?;
        hosts.push(Host { role, name: name.into() });
    }
    Some(hosts)
}

/// A mark: index of the host in the segment's table, epoch, seq.
pub(crate) type MarkRow = (u32, u32, u64);

pub(crate) fn put_marks(out: &mut Vec<u8>, marks: impl Iterator<Item = MarkRow>) {
    for (host, epoch, seq) in marks {
        put_varint(out, u64::from(host));
        put_varint(out, u64::from(epoch));
        put_varint(out, seq);
    }
}

pub(crate) fn read_marks(bytes: &[u8]) -> Option<Vec<MarkRow>> {
    let mut take = Take::new(bytes);
    let mut marks = Vec::new();
    while !take.is_empty() {
        marks.push((take.varint_u32()?, take.varint_u32()?, take.varint()?));
    }
    Some(marks)
}

/// Appends a part to a directory.
pub(crate) fn put_part(out: &mut Vec<u8>, tag: u16, part: &[u8]) {
    put_varint(out, u64::from(tag));
    put_varint(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// A part of a directory, if it has that; `None` if this is no directory.
pub(crate) fn find_part(directory: &[u8], tag: u16) -> Option<Option<&[u8]>> {
    let mut take = Take::new(directory);
    let mut found = None;
    while !take.is_empty() {
        let here = take.varint()?;
        let len = take.varint_usize()?;
        let part = take.slice(len)?;
        if here == u64::from(tag) {
            found = Some(part);
        }
    }
    Some(found)
}

/// For each account, how many segments ago lies what it is written against; 0: nowhere.
pub(crate) fn put_links(out: &mut Vec<u8>, links: &[u32]) {
    links.iter().for_each(|link| put_varint(out, u64::from(*link)));
}

pub(crate) fn read_links(bytes: &[u8], accounts: usize, number: u32) -> Option<Vec<u32>> {
    let mut take = Take::new(bytes);
    let mut links = Vec::with_capacity(accounts.min(bytes.len()));
    while !take.is_empty() {
        links.push(take.varint_u32().filter(|ago| *ago <= number % GROUP_SEGMENTS)?);
    }
    (links.len() == accounts).then_some(links)
}

/// The accounts of a segment, by DID, and where the events of each begin in the segment's order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) dids: Vec<Box<str>>,
    /// One more than there are accounts: the last is the number of events.
    pub(crate) starts: Vec<u32>,
}

impl Accounts {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut before: &[u8] = b"";
        for (did, events) in self.dids.iter().zip(self.starts.windows(2)) {
            let did = did.as_bytes();
            let shared = before.iter().zip(did).take_while(|(a, b)| a == b).count();
            let own = did.get(shared..).unwrap_or_default();
            put_varint(out, shared as u64);
            put_varint(out, own.len() as u64);
            out.extend_from_slice(own);
            let [start, end] = events else { continue };
            put_varint(out, u64::from(end - start));
            before = did;
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Accounts> {
        let mut take = Take::new(bytes);
        let mut accounts = Accounts { dids: Vec::new(), starts: vec![0] };
        let mut did: Vec<u8> = Vec::new();
        let mut start = 0u32;
        while !take.is_empty() {
            let shared = take.varint_usize().filter(|shared| *shared <= did.len())?;
            let own = take.varint_usize().filter(|own| shared + own <= DID_BYTES_MAX)?;
            did.truncate(shared);
            did.extend_from_slice(take.slice(own)?);
            let events = take.varint_u32().filter(|events| *events > 0)?;
            start = start.checked_add(events).filter(|end| *end <= LOG_EVENTS_MAX)?;
            let text = std::str::from_utf8(&did).ok()?;
            if accounts.dids.last().is_some_and(|last| &**last >= text) {
                return None;
            }
            accounts.dids.push(text.into());
            accounts.starts.push(start);
        }
        Some(accounts)
    }

    /// As [`Accounts::put`], with DIDs as the bytes that they stand for.
    pub(crate) fn put_short(&self, out: &mut Vec<u8>) {
        put_varint(out, self.dids.len() as u64);
        for (did, events) in self.dids.iter().zip(self.starts.windows(2)) {
            let [start, end] = events else { continue };
            let is_other = PlcDid::parse(did).is_none();
            put_varint(out, u64::from(end - start) << 1 | u64::from(is_other));
        }
        for did in &self.dids {
            match PlcDid::parse(did) {
                Some(did) => out.extend_from_slice(did.as_bytes()),
                None => {
                    put_varint(out, did.len() as u64);
                    out.extend_from_slice(did.as_bytes());
                }
            }
        }
    }

    /// Reads what [`Accounts::put_short`] wrote.
    pub(crate) fn read_short(bytes: &[u8]) -> Option<Accounts> {
        let mut take = Take::new(bytes);
        // Each has more bytes than one.
        let count = take.varint_usize().filter(|count| *count <= bytes.len())?;
        let mut accounts = Accounts { dids: Vec::with_capacity(count), starts: vec![0] };
        let (mut others, mut start) = (Vec::with_capacity(count), 0u32);
        for _ in 0..count {
            let row = take.varint()?;
            let events = u32::try_from(row >> 1).ok().filter(|events| *events > 0)?;
            start = start.checked_add(events).filter(|end| *end <= LOG_EVENTS_MAX)?;
            others.push(row & 1 == 1);
            accounts.starts.push(start);
        }
        for is_other in others {
            let did: Box<str> = if is_other {
                let len = take.varint_usize().filter(|len| *len <= DID_BYTES_MAX)?;
                std::str::from_utf8(take.slice(len)?).ok()?.into()
            } else {
                PlcDid::from_bytes(take.array()?).to_string().into()
            };
            if accounts.dids.last().is_some_and(|last| *last >= did) {
                return None;
            }
            accounts.dids.push(did);
        }
        take.is_empty().then_some(accounts)
    }

    /// The account of this DID.
    pub(crate) fn find(&self, did: &str) -> Option<u32> {
        self.dids.binary_search_by(|known| (**known).cmp(did)).ok().map(|at| at as u32)
    }
}

/// An event's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Row {
    /// Index in the accounts; `None`: the event was lost in the log.
    pub(crate) account: Option<u32>,
    /// Index in the hosts.
    pub(crate) host: u32,
    pub(crate) epoch: u32,
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
    pub(crate) flags: u8,
}

pub(crate) fn put_order(out: &mut Vec<u8>, rows: &[Row]) {
    let account = |row: &Row| row.account.map_or(0, |account| u64::from(account) + 1);
    rows.iter().for_each(|row| put_varint(out, account(row)));
    let there = || rows.iter().filter(|row| row.account.is_some());
    there().for_each(|row| put_varint(out, u64::from(row.host)));
    let mut epochs: HashMap<u32, u32> = HashMap::new();
    for row in there() {
        let before = epochs.insert(row.host, row.epoch).unwrap_or(0);
        put_delta(out, u64::from(before), u64::from(row.epoch));
    }
    let mut seqs: HashMap<u32, u64> = HashMap::new();
    for row in there() {
        // A host counts upwards, so that the common step is none.
        let expected = seqs.insert(row.host, row.seq.wrapping_add(1)).unwrap_or(0);
        put_delta(out, expected, row.seq);
    }
    let mut time = 0;
    for row in there() {
        put_delta(out, time, row.time_ns);
        time = row.time_ns;
    }
    there().for_each(|row| out.push(row.flags));
}

/// Reads the rows of `events` events of which none names an account or host that is not there.
pub(crate) fn read_order(
    bytes: &[u8],
    events: usize,
    accounts: usize,
    hosts: usize,
) -> Option<Vec<Row>> {
    // Each event has a byte in the first column at least.
    if events > bytes.len() {
        return None;
    }
    let mut take = Take::new(bytes);
    let mut rows = vec![Row::default(); events];
    for row in &mut rows {
        row.account = take.varint()?.checked_sub(1).map(u32::try_from).transpose().ok()?;
        if row.account.is_some_and(|account| account as usize >= accounts) {
            return None;
        }
    }
    let mut there: Vec<&mut Row> = rows.iter_mut().filter(|row| row.account.is_some()).collect();
    for row in &mut there {
        row.host = take.varint_u32().filter(|host| (*host as usize) < hosts)?;
    }
    let mut last = vec![(0u32, 0u64); hosts];
    for row in &mut there {
        let (epoch, _) = last.get_mut(row.host as usize)?;
        *epoch = u32::try_from(take.delta(u64::from(*epoch))?).ok()?;
        row.epoch = *epoch;
    }
    for row in &mut there {
        let (_, expected) = last.get_mut(row.host as usize)?;
        row.seq = take.delta(*expected)?;
        *expected = row.seq.wrapping_add(1);
    }
    let mut time = 0;
    for row in &mut there {
        time = take.delta(time)?;
        row.time_ns = time;
    }
    for row in &mut there {
        row.flags = take.u8()?;
    }
    take.is_empty().then_some(rows)
}

#[cfg(test)]
mod tests;
