//! Whether an account's operations prove each other: the rules of the directory, applied to what
//! it gives out.
//!
//! Always checked, in this order (did:plc specification v0.2.1 and the official implementation):
//!
//! * the schema: exactly the fields of a `plc_operation`, `plc_tombstone` or `create`;
//! * the CID: SHA-256 of the DAG-CBOR with the signature;
//! * the signature's encoding: canonical base64url without padding;
//! * the chain: the first operation's hash is the DID; each other follows one that counts and is
//!   no tombstone; `create` is a first operation only;
//! * the signature: of the compact low-S form, over the DAG-CBOR without it, by a rotation key of
//!   the operation that is followed (of a `create`: its recovery key, then its signing key; of a
//!   first operation: its own);
//! * nullification: an operation that follows an older one than the last is signed by a key that
//!   stands before the one that signed the first it nullifies, at most 72 hours after that one.
//!
//! Noted, and no more: what newer servers would not take in ([`Note`]). Not checked: handles,
//! hosts, and whether the directory's times are true.
//!
//! Operations are judged in the order of their times, and of one millisecond in the order given,
//! though none before the one that it follows.

mod body;
mod fault;
mod note;
mod signer;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use atproto::{Cid, PlcDid};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::body::Body;
use self::signer::Signers;
use crate::time;

pub use fault::Fault;
pub use note::Note;

/// An operation may be nullified for so long.
const RECOVERY_MS: u64 = 72 * 60 * 60 * 1000;

/// An operation as a directory gives it, with all that its proof needs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// Whose it is, by the directory's word.
    pub did: PlcDid,
    /// Its name as it is written.
    pub name: Cow<'a, str>,
    /// Its name, if what is written is one.
    pub cid: Option<Cid>,
    /// When the directory accepted it, unix milliseconds, if it is written as a time.
    pub created_ms: Option<u64>,
    /// The directory's word on whether it counts, where it gives one.
    pub nullified: Option<bool>,
    operation: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    cid: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    operation: &'a RawValue,
    #[serde(default)]
    nullified: Option<bool>,
}

impl<'a> Entry<'a> {
    /// Reads a line of an export, or a member of an audit log.
    ///
    /// # Errors
    /// [`Unreadable`], where it does not even say whose it is. What else is wrong with it comes
    /// out when it is [proved](Prover::prove).
    pub fn parse(line: &'a [u8]) -> Result<Self, Unreadable> {
        Self::read(serde_json::from_slice(line)?)
    }

    /// Reads an audit log, a JSON array, member by member.
    ///
    /// # Errors
    /// [`Unreadable`], where it is no array; a member that cannot be read is one in the list.
    pub fn parse_log(log: &'a [u8]) -> Result<Vec<Result<Self, Unreadable>>, Unreadable> {
        let members: Vec<&'a RawValue> = serde_json::from_slice(log)?;
        Ok(members.into_iter().map(|member| Self::parse(member.get().as_bytes())).collect())
    }

    fn read(line: Line<'a>) -> Result<Self, Unreadable> {
        Ok(Self {
            did: PlcDid::parse(&line.did).ok_or(Unreadable::Did)?,
            cid: line.cid.parse().ok(),
            name: line.cid,
            created_ms: time::unix_ms(&line.created_at),
            nullified: line.nullified,
            operation: line.operation.get(),
        })
    }
}

/// Why a line says nothing about any account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is no JSON, or has no did, cid, operation and createdAt.
    #[error("not an operation")]
    Json(#[from] serde_json::Error),
    /// Its DID is no did:plc.
    #[error("the did is no did:plc")]
    Did,
}

/// What was found out about an account's operations.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Proof {
    /// The operations that are proved and count, oldest first, by their place in what was given.
    pub valid: Vec<usize>,
    /// The operations that fail, in the order of judgement.
    pub faults: Vec<(usize, Fault)>,
    /// Operations that newer servers would not have taken.
    pub notes: Vec<(usize, Note)>,
    /// How many were there already under the same name.
    pub repeated: usize,
    /// How many were proved and then nullified.
    pub nullified: usize,
    /// What counted when the first failing operation came: the account's last sure state. None if
    /// none fails.
    pub before_fault: Option<Vec<usize>>,
}

impl Proof {
    /// How many different operations were judged.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.valid.len() + self.nullified + self.faults.len()
    }
}

/// Proves accounts, one after the other; what it learns of keys serves all of them.
pub struct Prover {
    signers: Signers,
}

impl Prover {
    /// A prover that keeps about `keys` rotation keys ready; see [`keys::Verifier::new`].
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { signers: Signers::new(keys) }
    }

    /// Judges all operations of one account. Takes memory and time in proportion to their length.
    pub fn prove(&mut self, did: &PlcDid, entries: &[Entry<'_>]) -> Proof {
        let mut judge = Judge::new(&mut self.signers, did, entries);
        for place in order(entries) {
            judge.take(place);
        }
        judge.proof.valid.extend(judge.chain.iter().map(|link| link.place));
        judge.proof
    }
}

/// The places of entries in the order of judgement.
fn order(entries: &[Entry<'_>]) -> Vec<usize> {
    let time = |place: &usize| entries.get(*place).map_or(u64::MAX, Entry::time);
    let mut places: Vec<usize> = (0..entries.len()).collect();
    places.sort_by_key(time);
    for moment in places.chunk_by_mut(|a, b| time(a) == time(b)) {
        if moment.len() > 1 {
            in_one_moment(entries, moment);
        }
    }
    places
}

/// Puts what is followed before what follows it, and else leaves the order as it is.
fn in_one_moment(entries: &[Entry<'_>], moment: &mut [usize]) {
    let prev = |place: usize| entries.get(place).and_then(|entry| Body::prev_of(entry.operation));
    let mut waiting: HashMap<Cid, Vec<usize>> = HashMap::new();
    let here: HashSet<Cid> = moment.iter().filter_map(|place| entries.get(*place)?.cid).collect();
    let mut ready = Vec::new();
    for place in moment.iter().copied() {
        match prev(place).filter(|prev| here.contains(prev)) {
            Some(prev) => waiting.entry(prev).or_default().push(place),
            None => ready.push(place),
        }
    }
    let mut sorted = Vec::with_capacity(moment.len());
    // Breadth first, and by place among those that become ready.
    while !ready.is_empty() {
        let freed = ready.iter().filter_map(|place| waiting.remove(&entries.get(*place)?.cid?));
        let mut next: Vec<usize> = freed.flatten().collect();
        sorted.append(&mut ready);
        next.sort_unstable();
        ready = next;
    }
    // Those that follow each other in a ring.
    let mut rest: Vec<usize> = waiting.into_values().flatten().collect();
    rest.sort_unstable();
    sorted.append(&mut rest);
    for (to, from) in moment.iter_mut().zip(sorted) {
        *to = from;
    }
}

impl Entry<'_> {
    fn time(&self) -> u64 {
        self.created_ms.unwrap_or(u64::MAX)
    }
}

/// An operation that counts.
struct Link {
    place: usize,
    cid: Cid,
    created_ms: u64,
    /// Who may sign what follows it; none for a tombstone.
    keys: Option<Vec<Option<keys::PublicKey>>>,
    /// Which of the keys before it signed it.
    signer: usize,
}

/// Why an operation cannot be followed.
#[derive(Clone, Copy)]
enum Gone {
    Nullified,
    Failed,
}

struct Judge<'a, 'e> {
    signers: &'a mut Signers,
    did: PlcDid,
    entries: &'a [Entry<'e>],
    /// What counts so far.
    chain: Vec<Link>,
    /// Where in the chain an operation stands.
    places: HashMap<Cid, usize>,
    /// What was judged and does not count.
    gone: HashMap<Cid, Gone>,
    /// Failing operations as they were written. The name alone is not theirs to claim.
    written: HashSet<(&'a str, &'a str)>,
    /// All names, if they were needed.
    names: Option<HashSet<Cid>>,
    proof: Proof,
}

impl<'a, 'e> Judge<'a, 'e> {
    fn new(signers: &'a mut Signers, did: &PlcDid, entries: &'a [Entry<'e>]) -> Self {
        Self {
            signers,
            did: *did,
            entries,
            chain: Vec::new(),
            places: HashMap::new(),
            gone: HashMap::new(),
            written: HashSet::new(),
            names: None,
            proof: Proof::default(),
        }
    }

    fn take(&mut self, place: usize) {
        let entries = self.entries;
        let Some(entry) = entries.get(place) else { return };
        let result = match self.read(entry) {
            Ok((cid, body)) => {
                if self.places.contains_key(&cid) || self.gone.contains_key(&cid) {
                    self.proof.repeated += 1;
                    return;
                }
                let result = self.judge(place, entry, cid, &body);
                if result.is_err() {
                    self.gone.insert(cid, Gone::Failed);
                }
                result
            }
            Err(fault) => {
                if !self.written.insert((&entry.name, entry.operation)) {
                    self.proof.repeated += 1;
                    return;
                }
                Err(fault)
            }
        };
        if let Err(fault) = result {
            if self.proof.before_fault.is_none() {
                let counting = self.chain.iter().map(|link| link.place).collect();
                self.proof.before_fault = Some(counting);
            }
            self.proof.faults.push((place, fault));
        }
    }

    /// What an operation is by itself.
    fn read(&self, entry: &Entry<'a>) -> Result<(Cid, Body<'a>), Fault>
    where
        'e: 'a,
    {
        if entry.did != self.did {
            return Err(Fault::OtherDid { did: entry.did });
        }
        let body = Body::parse(entry.operation)?;
        let named = entry.cid.ok_or(Fault::CidForm)?;
        if entry.created_ms.is_none() {
            return Err(Fault::Time);
        }
        let cid = body.cid();
        if cid != named {
            return Err(Fault::CidMismatch { cid });
        }
        Ok((cid, body))
    }

    /// Whether an operation may stand where it wants to, and puts it there.
    fn judge(
        &mut self,
        place: usize,
        entry: &Entry<'_>,
        cid: Cid,
        body: &Body<'_>,
    ) -> Result<(), Fault> {
        let created_ms = entry.time();
        let signed = body.signed()?;
        let (follows, signer) = match body.prev() {
            None => (0, self.first(&cid, body, &signed)?),
            Some(prev) => self.next(prev, created_ms, &signed)?,
        };
        for link in self.chain.drain(follows..) {
            self.places.remove(&link.cid);
            self.gone.insert(link.cid, Gone::Nullified);
            self.proof.nullified += 1;
        }
        let times = self.chain.iter().rev().map(|link| link.created_ms);
        let notes = body.notes().chain(Note::of_rate(times, created_ms));
        self.proof.notes.extend(notes.map(|note| (place, note)));
        self.places.insert(cid, follows);
        self.chain.push(Link { place, cid, created_ms, keys: body.keys(), signer });
        Ok(())
    }

    fn first(&mut self, cid: &Cid, body: &Body<'_>, signed: &body::Signed) -> Result<usize, Fault> {
        if !self.chain.is_empty() {
            return Err(Fault::SecondGenesis);
        }
        let did = cid.digest().first_chunk().copied().map(PlcDid::from_bytes);
        match did {
            Some(did) if did == self.did => {}
            did => return Err(Fault::GenesisHash { did: did.unwrap_or(self.did) }),
        }
        self.signers.signer(&body.keys().unwrap_or_default(), signed)
    }

    /// Where in the chain an operation goes, and by which key it is signed.
    fn next(
        &mut self,
        prev: Cid,
        created_ms: u64,
        signed: &body::Signed,
    ) -> Result<(usize, usize), Fault> {
        let Some(at) = self.places.get(&prev).copied() else {
            return Err(match self.gone.get(&prev).copied() {
                Some(Gone::Nullified) => Fault::PrevNullified,
                Some(Gone::Failed) => Fault::PrevInvalid,
                None if self.is_named(&prev) => Fault::PrevLater,
                None => Fault::PrevMissing,
            });
        };
        let Some(link) = self.chain.get(at) else { return Err(Fault::PrevMissing) };
        let keys = link.keys.as_ref().ok_or(Fault::AfterTombstone)?;
        let Some(nullified) = self.chain.get(at + 1) else {
            return Ok((at + 1, self.signers.signer(keys, signed)?));
        };
        let (stronger, others) = keys.split_at_checked(nullified.signer).unwrap_or((keys, &[]));
        let signer = match self.signers.signer(stronger, signed) {
            Ok(signer) => signer,
            Err(_) if self.signers.signer(others, signed).is_ok() => {
                return Err(Fault::RecoveryKeyRank { first: nullified.signer });
            }
            Err(Fault::NoRotationKey) => return Err(Fault::BadSignature),
            Err(fault) => return Err(fault),
        };
        let late_ms = created_ms.saturating_sub(nullified.created_ms);
        if late_ms > RECOVERY_MS {
            return Err(Fault::RecoveryTooLate { late_ms });
        }
        Ok((at + 1, signer))
    }

    fn is_named(&mut self, cid: &Cid) -> bool {
        let entries = self.entries;
        let names = self
            .names
            .get_or_insert_with(|| entries.iter().filter_map(|entry| entry.cid).collect());
        names.contains(cid)
    }
}

/// Reads any bytes as a line and as a log, and judges them.
pub fn fuzz_proof(data: &[u8]) {
    let mut entries: Vec<Entry<'_>> =
        Entry::parse_log(data).unwrap_or_default().into_iter().flatten().collect();
    entries.extend(Entry::parse(data));
    if let Some(did) = entries.first().map(|entry| entry.did) {
        let proof = Prover::new(1).prove(&did, &entries);
        assert_eq!(proof.operations() + proof.repeated, entries.len());
    }
}
