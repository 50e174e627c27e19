//! `repo` frames: the whole state of an account, as its host gave it and as it was proved. What
//! came before it is replaced by it: records whose path it does not have are gone.
//!
//! The header has no host, no epoch and no seq; its time is that of the proof. The body is
//!
//! | offset | size | field   | meaning                                            |
//! |-------:|-----:|---------|----------------------------------------------------|
//! |      0 |    2 | did_len | bytes of the DID                                   |
//! |      2 |    d | did     | the account                                        |
//! |  2 + d |    8 | rev     | of the commit, as a number                         |
//! | 10 + d |   36 | commit  | CID of the signed commit                           |
//! | 46 + d |   36 | data    | CID of the root of its tree                        |
//! | 82 + d |    4 | len     | bytes of the signed commit                         |
//! | 86 + d |  len | block   | the signed commit                                  |
//! |        |    4 | count   | records                                            |
//! |        | rest | records | one behind the other                               |
//!
//! and a record, in ascending order of paths,
//!
//! | offset | size | field  | meaning                                        |
//! |-------:|-----:|--------|------------------------------------------------|
//! |      0 |    2 | shared | bytes that its path shares with the one before |
//! |      2 |    2 | rest   | bytes of its path behind that                  |
//! |      4 | rest | path   | those                                          |
//! |        |   36 | cid    | the record                                     |
//!
//! All integers are little-endian. An account whose records do not fit a frame has no such frame.

use crate::{Error, Frame, Header, Kind, put as put_frame};

/// Bytes of a CID.
pub const CID_BYTES: usize = 36;

/// The longest path that is read: longer ones are no paths.
const PATH_BYTES_MAX: usize = 1024;

/// What a `repo` frame says, but for its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repo<'a> {
    /// The account.
    pub did: &'a str,
    /// The commit's rev, as a number.
    pub rev: u64,
    /// The CID of the signed commit.
    pub commit: [u8; CID_BYTES],
    /// The root of its tree.
    pub data: [u8; CID_BYTES],
    /// The signed commit.
    pub block: &'a [u8],
}

/// The records of a frame in the making.
#[derive(Debug, Clone, Default)]
pub struct Records {
    bytes: Vec<u8>,
    last: Vec<u8>,
    count: u32,
}

impl Records {
    /// Adds a record, whose path has to be behind the last one. Nothing is added beyond what a
    /// frame holds; [`put`] fails then.
    pub fn add(&mut self, path: &[u8], cid: &[u8; CID_BYTES]) {
        if self.bytes.len() > crate::PAYLOAD_BYTES_MAX {
            return;
        }
        let shared = path.iter().zip(&self.last).take_while(|(one, other)| one == other).count();
        let rest = path.get(shared..).unwrap_or_default();
        // At most 1024: callers read them from trees.
        self.bytes.extend_from_slice(&(shared as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(rest.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(cid);
        self.last.clear();
        self.last.extend_from_slice(path);
        self.count += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// Appends a `repo` frame.
///
/// # Errors
/// [`Error::TooLong`] if it does not fit, [`Error::Body`] for a DID that is too long.
pub fn put(
    out: &mut Vec<u8>,
    time_ns: u64,
    repo: &Repo<'_>,
    records: &Records,
) -> Result<(), Error> {
    let did_len = u16::try_from(repo.did.len())
        .map_err(|_| Error::Body { kind: "repo", bytes: repo.did.len() })?;
    let mut body = Vec::with_capacity(256 + repo.block.len() + records.bytes.len());
    body.extend_from_slice(&did_len.to_le_bytes());
    body.extend_from_slice(repo.did.as_bytes());
    body.extend_from_slice(&repo.rev.to_le_bytes());
    body.extend_from_slice(&repo.commit);
    body.extend_from_slice(&repo.data);
    body.extend_from_slice(&(repo.block.len() as u32).to_le_bytes());
    body.extend_from_slice(repo.block);
    body.extend_from_slice(&records.count.to_le_bytes());
    body.extend_from_slice(&records.bytes);
    put_frame(out, &Header::new(Kind::REPO, time_ns), &body)
}

/// Reads a `repo` frame.
///
/// # Errors
/// [`Error::Body`] if the body does not have the form above, to its last record.
pub fn read<'a>(frame: &Frame<'a>) -> Result<(Repo<'a>, Paths<'a>), Error> {
    let body = frame.body();
    let wrong = || Error::Body { kind: "repo", bytes: body.len() };
    let (repo, paths) = parse(body).ok_or_else(wrong)?;
    let mut all = paths.clone();
    while all.next().is_some() {}
    if all.left == 0 && all.bytes.is_empty() { Ok((repo, paths)) } else { Err(wrong()) }
}

fn parse(mut body: &[u8]) -> Option<(Repo<'_>, Paths<'_>)> {
    let bytes = &mut body;
    let did_len = u16::from_le_bytes(chunk(bytes)?);
    let did = std::str::from_utf8(slice(bytes, usize::from(did_len))?).ok()?;
    let rev = u64::from_le_bytes(chunk(bytes)?);
    let (commit, data) = (chunk(bytes)?, chunk(bytes)?);
    let len = u32::from_le_bytes(chunk(bytes)?);
    let block = slice(bytes, len as usize)?;
    let left = u32::from_le_bytes(chunk(bytes)?);
    let repo = Repo { did, rev, commit, data, block };
    Some((repo, Paths { bytes, left, path: Vec::new() }))
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn slice<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// The records of a frame, one after the other.
#[derive(Debug, Clone)]
pub struct Paths<'a> {
    bytes: &'a [u8],
    left: u32,
    path: Vec<u8>,
}

impl Paths<'_> {
    /// How many are left.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The next path and its record.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    pub fn next(&mut self) -> Option<(&[u8], [u8; CID_BYTES])> {
        self.left.checked_sub(1)?;
        let bytes = &mut self.bytes;
        let shared = usize::from(u16::from_le_bytes(chunk(bytes)?));
        let rest = usize::from(u16::from_le_bytes(chunk(bytes)?));
        if shared > self.path.len() || shared + rest > PATH_BYTES_MAX {
            return None;
        }
        let rest = slice(bytes, rest)?;
        // Paths go up, and none is empty.
        if self.path.get(shared..)? >= rest {
            return None;
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(rest);
        let cid = chunk(bytes)?;
        self.left -= 1;
        Some((&self.path, cid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, Item, MAGIC};

    fn frame(paths: &[&str]) -> Vec<u8> {
        let mut records = Records::default();
        for (number, path) in (1..).zip(paths) {
            records.add(path.as_bytes(), &[number; CID_BYTES]);
        }
        let (commit, data) = ([8; CID_BYTES], [9; CID_BYTES]);
        let repo = Repo { did: "did:web:a", rev: 77, commit, data, block: b"signed" };
        let mut out = MAGIC.to_vec();
        put(&mut out, 5, &repo, &records).unwrap();
        out
    }

    /// The paths that a stream's only frame has.
    fn paths(stream: &[u8]) -> Result<Vec<String>, Error> {
        let mut decoder = Decoder::default();
        let (_, used) = decoder.next(stream).unwrap().unwrap();
        let Some((Item::Frame(frame), _)) = decoder.next(&stream[used..]).unwrap() else {
            panic!("a frame")
        };
        let (repo, mut paths) = read(&frame)?;
        assert_eq!((repo.did, repo.rev, repo.block), ("did:web:a", 77, &b"signed"[..]));
        assert_eq!((repo.commit, repo.data), ([8; CID_BYTES], [9; CID_BYTES]));
        let (mut all, mut number) = (Vec::new(), 0);
        while let Some((path, cid)) = paths.next() {
            number += 1;
            assert_eq!(cid, [number; CID_BYTES]);
            all.push(String::from_utf8(path.to_vec()).unwrap());
        }
        Ok(all)
    }

    #[test]
    fn what_is_put_comes_back() {
        for all in [&[][..], &["a.b.c/1"], &["a.b.c/1", "a.b.c/12", "a.b.c/2", "a.b.d/1", "b"]] {
            assert_eq!(paths(&frame(all)).unwrap(), all);
        }
    }

    #[test]
    fn paths_that_do_not_go_up_or_do_not_end_are_refused() {
        for all in [&["b", "a"][..], &["a", "a"], &["ab", "a"], &[""]] {
            assert!(paths(&frame(all)).is_err(), "{all:?}");
        }
        let whole = frame(&["a.b.c/1", "a.b.c/2"]);
        let mut decoder = Decoder::default();
        decoder.next(&MAGIC).unwrap();
        let (item, _) = decoder.next(&whole[MAGIC.len()..]).unwrap().unwrap();
        let Item::Frame(whole) = item else { panic!("a frame") };
        for cut in 0..whole.body().len() {
            let mut out = MAGIC.to_vec();
            put_frame(&mut out, &whole.header, &whole.body()[..cut]).unwrap();
            assert!(paths(&out).is_err(), "cut at {cut}");
        }
    }
}
