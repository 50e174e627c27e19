//! From a full log to a segment: gather, write, read back and compare every event, and only then
//! give the segment its name and let the log go.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use atproto::identity::Key;
use frame::Frame;

use crate::codec::{Base, Encoder, Given, hash};
use crate::content::{self, Identity};
use crate::derived::make::{self, Drafts};
use crate::folder::{Folder, unfinished};
use crate::group::Bases;
use crate::hosts::{HostNo, Hosts, Marks};
use crate::image::{Entry, LogImage};
use crate::lattice::open;
use crate::sealer::Job;
use crate::segment::index::{Accounts, Row};
use crate::segment::read::{Segment, put_note};
use crate::segment::write::{Holdings, Written, write};
use crate::stored::{put_frame, put_kept};
use crate::{Error, disk};

/// Seals a log and removes it. The identities are those of all its events, or they are made anew
/// with the key.
pub(crate) fn seal(
    folder: &Folder,
    job: Job,
    key: &Key,
    encoder: &mut Encoder,
    (known, small): (&mut Bases, &mut Drafts),
) -> Result<(), Error> {
    let Job { number, identities, draft } = job;
    let log = folder.log(number);
    let path = folder.segment(number);
    let unfinished = unfinished(&path);
    let image = LogImage::read(&log)?;
    let gathered = Gathered::of(&image, key, identities)?;
    let bases = gathered.bases(number, known);
    let holdings = gathered.holdings(&image, &bases)?;
    let file = disk::create(&unfinished)?;
    let sealed = write(&file, &unfinished, &holdings, encoder).and_then(|written| {
        disk::sync(&file, &unfinished)?;
        compare(&Segment::open(&unfinished, number)?, &holdings, &written)?;
        Ok(written.ends)
    });
    let ends = match sealed {
        Ok(ends) => ends,
        Err(error) => {
            // On a full disk the room is wanted more than an unfinished file.
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
    };
    // Before the segment has its name: where it is, they are.
    if let Some(draft) = draft {
        make::of_log(folder, &draft, &image, small)?;
    }
    folder.publish(&unfinished, &path)?;
    known.sealed(number, &holdings.accounts.dids, ends);
    disk::remove(&log)?;
    folder.sync()?;
    open::remove(folder, number)?;
    make::merge(folder, number)
}

/// Reads the segment's file back and compares it with what was to be in it. Each block was decoded
/// and each of its events compared before it was written (see [`Written`]): the file has to have
/// these very blocks.
pub(crate) fn compare(
    segment: &Segment,
    holdings: &Holdings<'_>,
    written: &Written,
) -> Result<(), Error> {
    let first = holdings.head.first;
    let differs = |ordinal: u32| Error::SealMismatch {
        path: segment.path.clone(),
        n: first + u64::from(ordinal),
    };
    let index = segment.index()?;
    let same_tables = index.rows == holdings.rows
        && index.accounts == holdings.accounts
        && (0..holdings.links.len()).all(|account| {
            index.links.get(account).copied().unwrap_or(0)
                == holdings.links.get(account).copied().unwrap_or(0)
        })
        && index.hosts == holdings.hosts
        && index.blocks == written.blocks
        && segment.marks()? == holdings.marks
        && segment.contents.first == first
        && segment.part(crate::segment::part::NOTES)?.unwrap_or_default() == holdings.notes
        && segment.part(crate::segment::part::IDENTITIES)? == Some(holdings.identities.concat());
    if !same_tables || index.ordinals.len() != holdings.events.len() {
        return Err(differs(0));
    }
    for (row, expected) in index.blocks.iter().zip(&written.hashes) {
        if hash(&segment.block_bytes(row)?) != *expected {
            let ordinal = index.ordinals.get(row.first as usize);
            return Err(differs(ordinal.copied().unwrap_or(0)));
        }
    }
    Ok(())
}

/// What a log holds, as a segment wants it.
struct Gathered {
    rows: Vec<Row>,
    /// By ordinal: the event's frame in the log, and its kept sections in `sections`.
    places: Vec<(Range<usize>, Range<usize>)>,
    sections: Vec<u8>,
    dids: Vec<Box<str>>,
    /// By ordinal, for lost events too.
    identities: Vec<Identity>,
    notes: Vec<u8>,
    hosts: Hosts,
    marks: Marks,
}

impl Gathered {
    fn of(image: &LogImage, key: &Key, identities: Vec<Identity>) -> Result<Gathered, Error> {
        let mut gathered = Gathered {
            rows: Vec::new(),
            places: Vec::new(),
            sections: Vec::new(),
            dids: Vec::new(),
            identities: Vec::new(),
            notes: Vec::new(),
            hosts: Hosts::default(),
            marks: Marks::default(),
        };
        let mut used = Used::default();
        let mut all = Hosts::default();
        let mut accounts: HashMap<Box<str>, u32> = HashMap::new();
        // The numbers that `visit` gives also count hosts that only snapshots speak of, so the
        // segment's own are given here, on first use. Names are looked up once `visit` is over.
        image.visit(&mut all, |entry| {
            match entry {
                Entry::Event { host, frame, at, .. } => {
                    let next = accounts.len() as u32;
                    let did = content::did(frame.body());
                    let account = match accounts.get(did) {
                        Some(account) => *account,
                        None => *accounts.entry(did.into()).or_insert(next),
                    };
                    if account == next {
                        gathered.dids.push(did.into());
                    }
                    gathered.event(account, used.number(host), &frame, at);
                }
                Entry::Note { before, host, frame, .. } => {
                    let host = host.map(|host| used.number(host));
                    let header = frame::Header { host: frame::HostId(0), ..frame.header };
                    let mut bytes = Vec::new();
                    put_frame(&mut bytes, &header, frame.body(), frame.sections())?;
                    put_note(&mut gathered.notes, before, host, &bytes);
                }
                Entry::Mark { host, epoch, seq, snapshot: false } => {
                    gathered.marks.set(HostNo(used.number(host)), epoch, seq);
                }
                Entry::Mark { .. } | Entry::Reset => {}
                Entry::Gap { lost, .. } => {
                    for _ in 0..lost {
                        gathered.rows.push(Row::default());
                        gathered.places.push((0..0, 0..0));
                    }
                }
            }
            Ok(())
        })?;
        for host in used.order {
            if let Some(host) = all.get(host) {
                gathered.hosts.number(host.role, &host.name)?;
            }
        }
        if identities.len() == gathered.rows.len() {
            gathered.identities = identities;
        } else {
            gathered.identify(image, key)?;
        }
        Ok(gathered)
    }

    fn event(&mut self, account: u32, host: u32, frame: &Frame<'_>, at: Range<usize>) {
        let start = self.sections.len();
        put_kept(&mut self.sections, frame);
        self.places.push((at, start..self.sections.len()));
        let header = &frame.header;
        self.rows.push(Row {
            account: Some(account),
            host,
            epoch: header.epoch,
            seq: header.seq,
            time_ns: header.time_ns,
            flags: header.flags,
        });
    }

    fn identify(&mut self, image: &LogImage, key: &Key) -> Result<(), Error> {
        for (row, (at, _)) in self.rows.iter().zip(&self.places) {
            let host = self.hosts.get(HostNo(row.host)).filter(|_| row.account.is_some());
            self.identities.push(match host {
                Some(host) => {
                    let frame = image.frame(at)?;
                    let body = frame.body();
                    let proved = content::proved(body, frame.section(frame::Tag::VERDICT));
                    content::identity(key, &host.name, &frame.header, body, proved.as_ref())
                }
                None => Identity::default(),
            });
        }
        Ok(())
    }

    /// The accounts in order.
    fn by_did(&self) -> Vec<u32> {
        let mut by_did: Vec<u32> = (0..self.dids.len() as u32).collect();
        by_did.sort_by_key(|account| self.dids.get(*account as usize));
        by_did
    }

    /// For each of them what it may be written against, and how many segments ago that lies.
    fn bases(&self, number: u32, known: &Bases) -> Vec<Option<(u32, Arc<Base>)>> {
        let did = |account: &u32| self.dids.get(*account as usize);
        self.by_did().iter().map(|account| known.get(number, did(account)?)).collect()
    }

    /// Puts the accounts in order, and the events under them.
    fn holdings<'a>(
        &'a self,
        image: &'a LogImage,
        bases: &'a [Option<(u32, Arc<Base>)>],
    ) -> Result<Holdings<'a>, Error> {
        let by_did = self.by_did();
        let mut rank = vec![0u32; self.dids.len()];
        for (place, account) in by_did.iter().enumerate() {
            if let Some(rank) = rank.get_mut(*account as usize) {
                *rank = place as u32;
            }
        }
        let mut rows = self.rows.clone();
        let mut counts = vec![0u32; self.dids.len()];
        let mut order: Vec<(u32, usize)> = Vec::with_capacity(rows.len());
        for (ordinal, row) in rows.iter_mut().enumerate() {
            let Some(account) = &mut row.account else { continue };
            *account = rank.get(*account as usize).copied().unwrap_or(0);
            order.push((*account, ordinal));
            if let Some(count) = counts.get_mut(*account as usize) {
                *count += 1;
            }
        }
        order.sort_unstable();
        let mut starts = vec![0];
        starts.extend(counts.iter().scan(0, |end, count| {
            *end += count;
            Some(*end)
        }));
        let dids = by_did.iter().filter_map(|account| self.dids.get(*account as usize).cloned());
        let dids: Vec<Box<str>> = dids.collect();
        let links = bases.iter().map(|link| link.as_ref().map_or(0, |(ago, _)| *ago)).collect();
        let mut account_before = None;
        let events = order.iter().filter_map(|(account, ordinal)| {
            let first = account_before.replace(*account) != Some(*account);
            let base = bases.get(*account as usize).filter(|_| first);
            let base = base.and_then(|base| Some(&base.as_ref()?.1));
            let (at, sections) = self.places.get(*ordinal)?;
            let sections = self.sections.get(sections.clone())?;
            let row = self.rows.get(*ordinal)?;
            let did = self.dids.get(row.account? as usize)?;
            Some(image.frame(at).map(|frame| Given {
                did,
                seq: row.seq,
                sections,
                body: frame.body(),
                base,
            }))
        });
        Ok(Holdings {
            head: image.head,
            events: events.collect::<Result<_, Error>>()?,
            accounts: Accounts { dids, starts },
            links,
            hosts: self.hosts.iter().cloned().collect(),
            marks: self.marks.iter().map(|(host, epoch, seq)| (host.0, epoch, seq)).collect(),
            identities: self.identities.clone(),
            notes: self.notes.clone(),
            rows,
        })
    }
}

/// Hosts in the order in which the log first speaks of them.
#[derive(Default)]
struct Used {
    order: Vec<HostNo>,
    numbers: HashMap<HostNo, u32>,
}

impl Used {
    fn number(&mut self, host: HostNo) -> u32 {
        let next = self.order.len() as u32;
        *self.numbers.entry(host).or_insert_with(|| {
            self.order.push(host);
            next
        })
    }
}
