//! The entries of a batch as bytes; their table is in [`super`].

use atproto::{Cid, PlcDid, Tid};

use crate::heads::{Account, Head, HostKey};

const PLC: u8 = 0;
const OTHER: u8 = 1;

const HAS_HEAD: u8 = 1;
const IS_AWAY: u8 = 2;
const IS_HEALED: u8 = 4;

pub(super) fn put_did(out: &mut Vec<u8>, did: &str) {
    match PlcDid::parse(did) {
        Some(did) => {
            out.push(PLC);
            out.extend_from_slice(did.as_bytes());
        }
        None => {
            out.push(OTHER);
            // At most 2048 bytes: longer ones are refused.
            out.extend_from_slice(&(did.len() as u16).to_le_bytes());
            out.extend_from_slice(did.as_bytes());
        }
    }
}

pub(super) fn put_account(out: &mut Vec<u8>, account: &Account) {
    let head = if account.head.is_some() { HAS_HEAD } else { 0 };
    let away = if account.away.is_some() { IS_AWAY } else { 0 };
    out.push(head | away | if account.healed { IS_HEALED } else { 0 });
    if let Some(head) = &account.head {
        out.extend_from_slice(&head.rev.0.to_le_bytes());
        out.extend_from_slice(head.commit.as_bytes());
        out.extend_from_slice(head.data.as_bytes());
    }
    if let Some(host) = account.away {
        out.extend_from_slice(&host.number().to_le_bytes());
    }
}

/// What is known of accounts.
pub(super) fn read(mut bytes: &[u8], mut each: impl FnMut(&str, Account)) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let did = did(&mut bytes).ok_or_else(wrong)?;
        each(&did, account(&mut bytes).ok_or_else(wrong)?);
    }
    Ok(())
}

/// What was known of accounts, and what is.
pub(super) fn read_changes(
    mut bytes: &[u8],
    mut each: impl FnMut(&str, Account, Account),
) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let did = did(&mut bytes).ok_or_else(wrong)?;
        let before = account(&mut bytes).ok_or_else(wrong)?;
        each(&did, before, account(&mut bytes).ok_or_else(wrong)?);
    }
    Ok(())
}

/// Its checksum holds, so it was written so.
fn wrong() -> anyhow::Error {
    anyhow::anyhow!("an entry that this version of sig-verify does not write")
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn did(bytes: &mut &[u8]) -> Option<String> {
    match take(bytes)? {
        [PLC] => Some(PlcDid::from_bytes(take(bytes)?).to_string()),
        [OTHER] => {
            let length = usize::from(u16::from_le_bytes(take(bytes)?));
            let (text, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}

fn account(bytes: &mut &[u8]) -> Option<Account> {
    let [bits] = take(bytes)?;
    let mut account = Account { healed: bits & IS_HEALED != 0, ..Account::default() };
    if bits & HAS_HEAD != 0 {
        let rev = Tid(u64::from_le_bytes(take(bytes)?));
        let commit = Cid::from_slice(&take::<{ Cid::BYTES }>(bytes)?).ok()?;
        let data = Cid::from_slice(&take::<{ Cid::BYTES }>(bytes)?).ok()?;
        account.head = Some(Head { rev, commit, data });
    }
    if bits & IS_AWAY != 0 {
        account.away = HostKey::from_number(u64::from_le_bytes(take(bytes)?));
    }
    (bits & !(HAS_HEAD | IS_AWAY | IS_HEALED) == 0).then_some(account)
}
