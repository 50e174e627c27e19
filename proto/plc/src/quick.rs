//! The lines that directories write, read at the speed of memory.
//!
//! A directory's history is some hundred gigabytes of JSON in a handful of forms. What is read
//! here is: objects with the known names in any order, each once, without white space; text of
//! ASCII without escapes; maps of text, and services of a type and an endpoint. Everything else,
//! and everything that is wrong, is left to `serde_json`: an answer from here is the answer that
//! comes from there.

mod scan;

use std::borrow::Cow;

use atproto::{Cid, PlcDid};

use self::scan::Scan;
use crate::{Operation, time};

const PDS_TYPE: &str = "AtprotoPersonalDataServer";

/// Reads a line, if it is of a usual form.
pub(crate) fn operation(line: &[u8]) -> Option<Operation<'_>> {
    let mut scan = Scan::new(line);
    let mut kind = None;
    let (mut did, mut cid, mut created, mut nullified, mut seq) = (None, None, None, None, None);
    let mut body = None;
    scan.object(|scan, name| match name {
        b"did" => once(&mut did, scan.text()),
        b"operation" => once(&mut body, Body::read(scan)),
        b"cid" => once(&mut cid, scan.text()),
        b"nullified" => once(&mut nullified, scan.flag()),
        b"createdAt" => once(&mut created, scan.text()),
        b"type" => once(&mut kind, scan.text()),
        b"seq" => once(&mut seq, scan.number()),
        _ => None,
    })?;
    scan.end()?;
    if kind.is_some_and(|kind| kind != "sequenced_op") {
        return None;
    }
    let body = body?;
    let (key, pds, tombstone) = match body.kind? {
        "plc_operation" => (body.methods?.atproto, body.services?.pds, false),
        "create" => (body.signing_key, body.service, false),
        "plc_tombstone" => (None, None, true),
        _ => return None,
    };
    Some(Operation {
        did: PlcDid::parse(did?)?,
        cid: cid?.parse().ok()?,
        prev: body.prev?.map(str::parse::<Cid>).transpose().ok()?,
        created_ms: time::unix_ms(created?)?,
        seq,
        key: key.map(Cow::Borrowed),
        pds: pds.map(Cow::Borrowed),
        tombstone,
    })
}

/// Takes a value that may be there once.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    place.replace(value?).is_none().then_some(())
}

/// What is said about an account.
#[derive(Default)]
struct Body<'a> {
    kind: Option<&'a str>,
    prev: Option<Option<&'a str>>,
    methods: Option<Methods<'a>>,
    services: Option<Services<'a>>,
    signing_key: Option<&'a str>,
    service: Option<&'a str>,
}

impl<'a> Body<'a> {
    fn read(scan: &mut Scan<'a>) -> Option<Self> {
        let mut body = Body::default();
        // What is of no interest may come as often as it likes.
        scan.object(|scan, name| match name {
            b"sig" | b"handle" | b"recoveryKey" => scan.text().map(|_| ()),
            b"prev" => once(&mut body.prev, scan.text_or_null()),
            b"type" => once(&mut body.kind, scan.text()),
            b"services" => once(&mut body.services, Services::read(scan)),
            b"alsoKnownAs" | b"rotationKeys" => scan.texts(),
            b"verificationMethods" => once(&mut body.methods, Methods::read(scan)),
            b"signingKey" => once(&mut body.signing_key, scan.text()),
            b"service" => once(&mut body.service, scan.text()),
            _ => None,
        })?;
        Some(body)
    }
}

struct Methods<'a> {
    atproto: Option<&'a str>,
}

impl<'a> Methods<'a> {
    fn read(scan: &mut Scan<'a>) -> Option<Self> {
        let mut atproto = None;
        scan.object(|scan, name| match name {
            b"atproto" => once(&mut atproto, scan.text()),
            _ => scan.text().map(|_| ()),
        })?;
        Some(Self { atproto })
    }
}

struct Services<'a> {
    pds: Option<&'a str>,
}

impl<'a> Services<'a> {
    fn read(scan: &mut Scan<'a>) -> Option<Self> {
        let mut pds = None;
        scan.object(|scan, name| {
            let (mut kind, mut endpoint) = (None, None);
            scan.object(|scan, name| match name {
                b"type" => once(&mut kind, scan.text()),
                b"endpoint" => once(&mut endpoint, scan.text()),
                _ => None,
            })?;
            let service = (kind?, endpoint?);
            if name == b"atproto_pds" { once(&mut pds, Some(service)) } else { Some(()) }
        })?;
        // A service of another type under this name is no PDS.
        Some(Self { pds: pds.filter(|(kind, _)| *kind == PDS_TYPE).map(|(_, endpoint)| endpoint) })
    }
}

#[cfg(test)]
mod tests;
