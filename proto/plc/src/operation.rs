//! An operation as a directory gives it: a line of its export, or a member of an audit log.
//!
//! Read are the lines of `/export` by time (`did`, `operation`, `cid`, `nullified`, `createdAt`)
//! and by number (`"type":"sequenced_op"` and `seq` beside these, without `nullified`), and the
//! array of `/DID/log/audit`. `nullified` is not read: it is what was true when the line was
//! written, and [`crate::chain`] works it out. Signatures, rotation keys and handles are passed
//! over; nothing is proved here.

use std::borrow::Cow;

use atproto::{Cid, PlcDid};
use serde::Deserialize;

use crate::{chain::Link, quick, time};

/// Why a line is no operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON, or not of this form.
    #[error("not an operation")]
    Json(#[from] serde_json::Error),
    /// The line is of a type that is not known.
    #[error("neither an export line nor a sequenced_op")]
    LineType,
    /// Its DID is no did:plc.
    #[error("the did is no did:plc")]
    Did,
    /// Its CID is none.
    #[error("the cid is none")]
    Cid(#[source] atproto::cid::Error),
    /// The CID of the operation before it is none.
    #[error("the cid in prev is none")]
    Prev(#[source] atproto::cid::Error),
    /// Its time is none, or before 1970.
    #[error("createdAt is no time")]
    Time,
    /// It is neither plc_operation, plc_tombstone nor create.
    #[error("the operation is of an unknown type")]
    OperationType,
}

/// What an operation says about an account, as far as proofs need it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation<'a> {
    /// Whose it is.
    pub did: PlcDid,
    /// Its name.
    pub cid: Cid,
    /// The operation it follows; none for an account's first.
    pub prev: Option<Cid>,
    /// When the directory accepted it, unix milliseconds.
    pub created_ms: u64,
    /// Its number in the directory that gave it.
    pub seq: Option<u64>,
    /// The signing key as it is written, a did:key.
    pub key: Option<Cow<'a, str>>,
    /// The PDS's address as it is written.
    pub pds: Option<Cow<'a, str>>,
    /// It gives the account up.
    pub tombstone: bool,
}

impl<'a> Operation<'a> {
    /// Reads one JSON object.
    ///
    /// Lines in the usual forms take a short way; the answer is that of
    /// [`parse_any`](Self::parse_any).
    ///
    /// # Errors
    /// [`Error`], where it is not of this form.
    pub fn parse(line: &'a [u8]) -> Result<Self, Error> {
        quick::operation(line).map_or_else(|| Self::parse_any(line), Ok)
    }

    /// Reads one JSON object, however it is written.
    ///
    /// # Errors
    /// [`Error`], where it is not of this form.
    pub fn parse_any(line: &'a [u8]) -> Result<Self, Error> {
        serde_json::from_slice::<Line<'a>>(line)?.read()
    }

    /// Reads an audit log, a JSON array.
    ///
    /// # Errors
    /// [`Error`] of its first member that is not of this form.
    pub fn parse_log(log: &'a [u8]) -> Result<Vec<Self>, Error> {
        serde_json::from_slice::<Vec<Line<'a>>>(log)?.into_iter().map(Line::read).collect()
    }
}

impl Link for Operation<'_> {
    type Id = Cid;

    fn id(&self) -> Cid {
        self.cid
    }

    fn prev(&self) -> Option<Cid> {
        self.prev
    }

    fn created_ms(&self) -> u64 {
        self.created_ms
    }
}

/// Text that is borrowed if it has no escapes, in an `Option` too.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    seq: Option<u64>,
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    cid: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    operation: Body<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    prev: Option<Text<'a>>,
    #[serde(borrow)]
    verification_methods: Option<Methods<'a>>,
    #[serde(borrow)]
    services: Option<Services<'a>>,
    /// Of a create.
    #[serde(borrow)]
    signing_key: Option<Text<'a>>,
    /// Of a create: the PDS.
    #[serde(borrow)]
    service: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Methods<'a> {
    #[serde(borrow)]
    atproto: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Services<'a> {
    #[serde(borrow)]
    atproto_pds: Option<Service<'a>>,
}

#[derive(Deserialize)]
struct Service<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
}

impl<'a> Line<'a> {
    fn read(self) -> Result<Operation<'a>, Error> {
        if self.kind.is_some_and(|kind| kind.0 != "sequenced_op") {
            return Err(Error::LineType);
        }
        let body = self.operation;
        let prev = body.prev.map(|prev| prev.0.parse().map_err(Error::Prev)).transpose()?;
        let (key, pds, tombstone) = match body.kind.as_ref() {
            "plc_operation" => {
                let pds = body.services.and_then(|services| services.atproto_pds);
                // A service of another type under this name is no PDS.
                let pds = pds.filter(|pds| pds.kind == "AtprotoPersonalDataServer");
                let key = body.verification_methods.and_then(|methods| methods.atproto);
                (key, pds.map(|pds| pds.endpoint), false)
            }
            // The first form, without a list of services; the scheme could be left out.
            "create" => (body.signing_key, body.service.map(|service| service.0), false),
            "plc_tombstone" => (None, None, true),
            _ => return Err(Error::OperationType),
        };
        Ok(Operation {
            did: PlcDid::parse(&self.did).ok_or(Error::Did)?,
            cid: self.cid.parse().map_err(Error::Cid)?,
            prev,
            created_ms: time::unix_ms(&self.created_at).ok_or(Error::Time)?,
            seq: self.seq,
            key: key.map(|key| key.0),
            pds,
            tombstone,
        })
    }
}

/// Reads any bytes as a line and as a log; the short way must not differ from the long one.
pub fn fuzz_operation(data: &[u8]) {
    if let Some(operation) = quick::operation(data) {
        assert_eq!(Operation::parse_any(data).ok(), Some(operation));
    }
    if let Ok(log) = Operation::parse_log(data) {
        let _ = crate::chain::valid(&log);
    }
}
