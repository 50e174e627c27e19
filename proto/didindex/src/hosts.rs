//! The hosts that accounts are on, by number.

use std::collections::HashMap;

use crate::{
    Error,
    layout::{self, HOST_RECORD_BYTES},
};

/// Longest host name taken, in bytes: a DNS name has 253, and a port may follow.
pub const HOST_BYTES_MAX: usize = 260;

/// A host and how many accounts name it as their PDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host<'a> {
    /// Canonical name.
    pub name: &'a str,
    /// Accounts on it by their last operation.
    pub accounts: u64,
}

/// The two sections of hosts, as they lie in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hosts<'a> {
    pub(crate) records: &'a [u8],
    pub(crate) names: &'a [u8],
}

impl<'a> Hosts<'a> {
    pub(crate) fn get(self, number: u32) -> Option<Host<'a>> {
        let record = self.records.get(number as usize * HOST_RECORD_BYTES..)?;
        let record: &[u8; HOST_RECORD_BYTES] = record.first_chunk()?;
        let from = layout::u32_at(record, 8) as usize;
        let bytes = layout::u32_at(record, 12) as usize;
        let name = self.names.get(from..)?.get(..bytes)?;
        Some(Host { name: std::str::from_utf8(name).ok()?, accounts: layout::u64_at(record, 0) })
    }

    pub(crate) fn len(self) -> u64 {
        (self.records.len() / HOST_RECORD_BYTES) as u64
    }
}

/// Gives hosts their numbers while an index is built.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    numbers: HashMap<Box<str>, u32>,
    /// Accounts, offset and length of each name.
    records: Vec<(u64, u32, u32)>,
    names: Vec<u8>,
}

impl Numbers {
    /// The number of a host, which has one account more than before.
    pub(crate) fn count(&mut self, name: &str) -> Result<u32, Error> {
        if name.len() > HOST_BYTES_MAX {
            return Err(Error::HostName { bytes: name.len(), limit: HOST_BYTES_MAX });
        }
        if let Some(number) = self.numbers.get(name) {
            if let Some((accounts, ..)) = self.records.get_mut(*number as usize) {
                *accounts += 1;
            }
            return Ok(*number);
        }
        let limit = u64::from(u32::MAX);
        let too_many = || Error::TooMany { what: "bytes of host names", limit };
        let from = u32::try_from(self.names.len()).map_err(|_| too_many())?;
        let number = u32::try_from(self.records.len()).map_err(|_| too_many())?;
        self.records.push((1, from, name.len() as u32));
        self.names.extend_from_slice(name.as_bytes());
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// The records of the section of hosts.
    pub(crate) fn records(&self) -> impl Iterator<Item = [u8; HOST_RECORD_BYTES]> {
        self.records.iter().map(|(accounts, from, bytes)| {
            let mut record = [0; HOST_RECORD_BYTES];
            layout::put(&mut record, 0, &accounts.to_le_bytes());
            layout::put(&mut record, 8, &from.to_le_bytes());
            layout::put(&mut record, 12, &bytes.to_le_bytes());
            record
        })
    }

    /// The section of names.
    pub(crate) fn names(&self) -> &[u8] {
        &self.names
    }
}
