//! Reading an envelope, field by field.

use super::{Account, Commit, Error, Event, Identity, Ops, Sync};
use crate::cbor::{self, Kind, Reader};

/// Reads one event. Nothing of it is copied.
///
/// Refuses what is not two objects of strict DAG-CBOR and nothing else, and an
/// event of a known type whose required fields are missing or of a wrong type.
pub fn parse(body: &[u8]) -> Result<Event<'_>, Error> {
    let mut reader = Reader::new(body);
    let Header { op, t } = header(&mut reader)?;
    let event = match (op, t) {
        (-1, _) => {
            let (error, message) = named(&mut reader, "error")?;
            Event::ErrorFrame { error, message }
        }
        (1, None) => return Err(Error::Missing { field: "t", offset: 0 }),
        (1, Some(t)) => match t {
            "#commit" => Event::Commit(commit(&mut reader)?),
            "#sync" => Event::Sync(sync(&mut reader)?),
            "#identity" => Event::Identity(identity(&mut reader)?),
            "#account" => Event::Account(account(&mut reader)?),
            "#info" => {
                let (name, message) = named(&mut reader, "name")?;
                Event::Info { name, message }
            }
            t => unknown(&mut reader, t)?,
        },
        (op, _) => return Err(Error::HeaderOp { op }),
    };
    reader.end()?;
    Ok(event)
}

/// Says in which field a value was wrong.
pub(super) trait InField<T> {
    fn field(self, field: &'static str) -> Result<T, Error>;
}

impl<T> InField<T> for Result<T, cbor::Error> {
    fn field(self, field: &'static str) -> Result<T, Error> {
        self.map_err(|cbor::Error { offset, cause }| Error::Field { field, offset, cause })
    }
}

pub(super) fn required<T>(
    value: Option<T>,
    field: &'static str,
    offset: usize,
) -> Result<T, Error> {
    value.ok_or(Error::Missing { field, offset })
}

struct Header<'a> {
    op: i64,
    t: Option<&'a str>,
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<Header<'a>, Error> {
    let mut map = reader.map()?;
    let (mut op, mut t) = (None, None);
    while let Some(key) = map.next_name(reader)? {
        match key {
            b"op" => op = Some(reader.int().field("op")?),
            b"t" => t = Some(reader.text().field("t")?),
            _ => map.skip_unknown(reader)?,
        }
    }
    Ok(Header { op: required(op, "op", 0)?, t })
}

fn seq(reader: &mut Reader<'_>) -> Result<Option<i64>, Error> {
    let offset = reader.position();
    let value = reader.int().field("seq")?;
    if value < 0 {
        return Err(Error::Negative { field: "seq", offset, value });
    }
    Ok(Some(value))
}

/// The CAR of a field and its offset in the event.
fn blocks<'a>(reader: &mut Reader<'a>) -> Result<Option<(&'a [u8], usize)>, Error> {
    let blocks = reader.bytes().field("blocks")?;
    Ok(Some((blocks, reader.position() - blocks.len())))
}

fn commit<'a>(reader: &mut Reader<'a>) -> Result<Commit<'a>, Error> {
    let at = reader.position();
    let mut map = reader.map()?;
    let (mut number, mut repo, mut rev, mut time) = (None, None, None, None);
    let (mut cid, mut car, mut ops) = (None, None, None);
    let (mut since, mut prev_data, mut too_big) = (None, None, false);
    while let Some(key) = map.next_name(reader)? {
        match key {
            b"seq" => number = seq(reader)?,
            b"repo" => repo = Some(reader.text().field("repo")?),
            b"rev" => rev = Some(reader.text().field("rev")?),
            b"time" => time = Some(reader.text().field("time")?),
            b"commit" => cid = Some(reader.cid().field("commit")?),
            b"blocks" => car = blocks(reader)?,
            b"ops" => ops = Some(Ops::read(reader)?),
            b"since" => since = reader.text_or_null().field("since")?,
            b"prevData" => prev_data = reader.cid_or_null().field("prevData")?,
            b"tooBig" if reader.kind()? == Kind::Bool => too_big = reader.bool()?,
            _ => map.skip_unknown(reader)?,
        }
    }
    let (blocks, blocks_at) = required(car, "blocks", at)?;
    Ok(Commit {
        seq: required(number, "seq", at)?,
        repo: required(repo, "repo", at)?,
        rev: required(rev, "rev", at)?,
        since,
        commit: required(cid, "commit", at)?,
        prev_data,
        blocks,
        blocks_at,
        time: required(time, "time", at)?,
        too_big,
        ops: required(ops, "ops", at)?,
    })
}

fn sync<'a>(reader: &mut Reader<'a>) -> Result<Sync<'a>, Error> {
    let at = reader.position();
    let mut map = reader.map()?;
    let (mut number, mut did, mut rev, mut time, mut car) = (None, None, None, None, None);
    while let Some(key) = map.next_key(reader)? {
        match key {
            "seq" => number = seq(reader)?,
            "did" => did = Some(reader.text().field("did")?),
            "rev" => rev = Some(reader.text().field("rev")?),
            "time" => time = Some(reader.text().field("time")?),
            "blocks" => car = blocks(reader)?,
            _ => reader.skip_value()?,
        }
    }
    let (blocks, blocks_at) = required(car, "blocks", at)?;
    Ok(Sync {
        seq: required(number, "seq", at)?,
        did: required(did, "did", at)?,
        rev: required(rev, "rev", at)?,
        blocks,
        blocks_at,
        time: required(time, "time", at)?,
    })
}

fn identity<'a>(reader: &mut Reader<'a>) -> Result<Identity<'a>, Error> {
    let at = reader.position();
    let mut map = reader.map()?;
    let (mut number, mut did, mut time, mut handle) = (None, None, None, None);
    while let Some(key) = map.next_key(reader)? {
        match key {
            "seq" => number = seq(reader)?,
            "did" => did = Some(reader.text().field("did")?),
            "time" => time = Some(reader.text().field("time")?),
            "handle" => handle = reader.text_or_null().field("handle")?,
            _ => reader.skip_value()?,
        }
    }
    Ok(Identity {
        seq: required(number, "seq", at)?,
        did: required(did, "did", at)?,
        handle,
        time: required(time, "time", at)?,
    })
}

fn account<'a>(reader: &mut Reader<'a>) -> Result<Account<'a>, Error> {
    let at = reader.position();
    let mut map = reader.map()?;
    let (mut number, mut did, mut time) = (None, None, None);
    let (mut active, mut status) = (None, None);
    while let Some(key) = map.next_key(reader)? {
        match key {
            "seq" => number = seq(reader)?,
            "did" => did = Some(reader.text().field("did")?),
            "time" => time = Some(reader.text().field("time")?),
            "active" => active = Some(reader.bool().field("active")?),
            "status" => status = reader.text_or_null().field("status")?,
            _ => reader.skip_value()?,
        }
    }
    Ok(Account {
        seq: required(number, "seq", at)?,
        did: required(did, "did", at)?,
        active: required(active, "active", at)?,
        status,
        time: required(time, "time", at)?,
    })
}

/// A name under the given key and perhaps a message.
fn named<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<(&'a str, Option<&'a str>), Error> {
    let at = reader.position();
    let mut map = reader.map()?;
    let (mut name, mut message) = (None, None);
    while let Some(key) = map.next_key(reader)? {
        if key == field {
            name = Some(reader.text().field(field)?);
        } else if key == "message" {
            message = reader.text_or_null().field("message")?;
        } else {
            reader.skip_value()?;
        }
    }
    Ok((required(name, field, at)?, message))
}

fn unknown<'a>(reader: &mut Reader<'a>, t: &'a str) -> Result<Event<'a>, Error> {
    let (mut seq, mut did, mut repo) = (None, None, None);
    if reader.kind()? != Kind::Map {
        reader.skip_value()?;
        return Ok(Event::Unknown { t, seq, did });
    }
    let mut map = reader.map()?;
    while let Some(key) = map.next_key(reader)? {
        let mut value = *reader;
        reader.skip_value()?;
        match key {
            "seq" => seq = value.int().ok().filter(|seq| *seq >= 0),
            "did" => did = value.text().ok(),
            "repo" => repo = value.text().ok(),
            _ => {}
        }
    }
    Ok(Event::Unknown { t, seq, did: did.or(repo) })
}
