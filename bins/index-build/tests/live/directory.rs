//! A made-up directory: accounts that come, rotate, move, are given up, and go back on it.

use data_encoding::BASE32_NOPAD;
use didindex::PlcDid;
use serde_json::{Value, json};

const EXPORT: &str = include_str!("../../../../tests/fixtures/refnet/plc-export.jsonl");

const HOUR_MS: u64 = 3600 * 1000;
/// When the first operation is accepted.
const BEGIN_MS: u64 = 1_780_000_000_000;

/// A generator whose numbers follow from its seed.
pub struct Dice(fastrand::Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
    }
}

/// A line of the directory.
#[derive(Debug, Clone)]
pub struct Line {
    pub created_ms: u64,
    pub text: String,
}

/// Keys that are points of their curves.
pub fn keys() -> Vec<String> {
    let lines = EXPORT.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut keys: Vec<String> = lines
        .filter_map(|line| {
            Some(line["operation"]["verificationMethods"]["atproto"].as_str()?.to_owned())
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

pub fn did(account: usize) -> PlcDid {
    let mut bytes = [0; 15];
    bytes[..8].copy_from_slice(&(account as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    bytes[8..12].copy_from_slice(&(account as u32).to_le_bytes());
    PlcDid::from_bytes(bytes)
}

/// The CID of an account's operation of that number.
pub fn cid(account: usize, number: usize) -> String {
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&[1, 0x71, 0x12, 0x20]);
    bytes[4..8].copy_from_slice(&(account as u32).to_le_bytes());
    bytes[8..12].copy_from_slice(&(number as u32).to_le_bytes());
    bytes[12..20].copy_from_slice(&[0x5a; 8]);
    format!("b{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
}

pub fn line(
    account: usize,
    number: usize,
    prev: Option<usize>,
    created_ms: u64,
    mut operation: Value,
) -> Line {
    operation["prev"] = prev.map(|prev| cid(account, prev)).into();
    let line = json!({
        "did": did(account).to_string(), "operation": operation, "cid": cid(account, number),
        "nullified": false, "createdAt": lines::rfc3339_ms(created_ms),
    });
    Line { created_ms, text: format!("{line}\n") }
}

pub fn operation(key: &str, host: &str) -> Value {
    json!({
        "type": "plc_operation", "verificationMethods": { "atproto": key }, "sig": "x",
        "rotationKeys": [], "alsoKnownAs": [], "services": {
            "atproto_pds": {
                "type": "AtprotoPersonalDataServer", "endpoint": format!("https://{host}"),
            },
        },
    })
}

/// An account's operations that count: number and when.
#[derive(Default, Clone)]
struct Account {
    valid: Vec<(usize, u64)>,
    operations: usize,
    tombstone: bool,
}

/// So many operations over some weeks, in the order in which they were accepted.
pub fn operations(dice: &mut Dice, accounts: usize, count: usize) -> Vec<Line> {
    let keys = keys();
    let mut all = vec![Account::default(); accounts];
    let mut now = BEGIN_MS;
    let mut lines = Vec::with_capacity(count);
    while lines.len() < count {
        now += 1 + dice.below(2 * HOUR_MS as usize) as u64;
        let number = dice.below(accounts);
        let account = &mut all[number];
        let back = if dice.below(4) == 0 { 1 + dice.below(3) } else { 0 };
        // Only what came in the last 72 hours can be nullified.
        let allowed = account.valid.len() > back
            && account.valid.iter().rev().take(back).all(|(_, at)| now - at < 72 * HOUR_MS);
        let back = if allowed { back } else { 0 };
        if account.tombstone && back == 0 {
            continue;
        }
        account.valid.truncate(account.valid.len() - back);
        let prev = account.valid.last().map(|(number, _)| *number);
        let host = format!("h{}.example", dice.below(5));
        let operation = match dice.below(12) {
            0 if prev.is_some() && number.is_multiple_of(3) => json!({ "type": "plc_tombstone" }),
            1 => json!({ "type": "plc_operation", "verificationMethods": {}, "services": {} }),
            2 => operation("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", &host),
            _ => self::operation(&keys[dice.below(keys.len().min(6))], &host),
        };
        account.tombstone = operation["type"] == "plc_tombstone";
        let own = account.operations;
        account.operations += 1;
        account.valid.push((own, now));
        lines.push(line(number, own, prev, now, operation));
    }
    lines
}

/// The same in an order in which they may appear: some a little after later ones, some again.
pub fn as_they_come(dice: &mut Dice, lines: &[Line]) -> Vec<Line> {
    let mut come: Vec<(u64, Line)> = Vec::new();
    for line in lines {
        let late = if dice.below(3) == 0 { dice.below(HOUR_MS as usize / 2) as u64 } else { 0 };
        come.push((line.created_ms + late, line.clone()));
        if dice.below(10) == 0 {
            let again = dice.below(100 * HOUR_MS as usize) as u64;
            come.push((line.created_ms + again, line.clone()));
        }
    }
    come.sort_by_key(|(at, _)| *at);
    come.into_iter().map(|(_, line)| line).collect()
}

pub fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.text.as_str()).collect()
}
