//! A directory that nobody has: any number of accounts, each made from its number alone, in the
//! proportions of the real one.
//!
//! * 12 of 100 accounts have a second operation: 4 change their key, the others their handle; of a
//!   hundred second operations one gives the account up. They come in the midst of later accounts.
//! * 98.5 of 100 accounts are on 90 hosts, the others on 16,000, on few of these more than on most.
//! * Lines are of the real form and length; what is text of a hash, a key or a signature is random
//!   and can be decoded, so that reading it costs what it does. No signature holds.

use atproto::PlcDid;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 2022-11-17, when the real one began, in days since 1970.
const BEGAN_DAY: u64 = 19_313;
/// How long it has been filled, however many accounts it has: 1,350 days.
const SPAN_MS: u64 = 1350 * 86_400_000;
const BIG_HOSTS: u64 = 90;
const SMALL_HOSTS: u64 = 16_000;

/// Random bits that are always the same.
fn mixed(number: u64, what: u64) -> u64 {
    let mut bits =
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a32_d192_ed03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The bytes of an account's DID.
pub fn did(account: u64) -> PlcDid {
    let mut bytes = [0; PlcDid::BYTES];
    bytes[..8].copy_from_slice(&mixed(account, 1).to_le_bytes());
    bytes[8..].copy_from_slice(&mixed(account, 2).to_le_bytes()[..7]);
    PlcDid::from_bytes(bytes)
}

/// An account of so many, at random.
pub fn any(draw: u64, accounts: u64) -> u64 {
    ((u128::from(mixed(draw, 3)) * u128::from(accounts)) >> 64) as u64
}

fn has_second(account: u64) -> bool {
    // Only the older half has: 24 of 100 of it.
    mixed(account, 4) % 100 < 24
}

fn rotates(account: u64) -> bool {
    mixed(account, 4) % 100 < 8
}

/// Appends what the directory has when an account is made: its operation, and perhaps one of an
/// older account.
pub fn lines(account: u64, accounts: u64, out: &mut Vec<u8>) {
    let time = (u128::from(account) * u128::from(SPAN_MS) / u128::from(accounts)) as u64;
    first(account, time, out);
    if account % 2 == 1 && account > 1 && has_second(account / 2) {
        second(account / 2, time + 1, out);
    }
}

fn first(account: u64, time: u64, out: &mut Vec<u8>) {
    operation(account, 0, time, out);
}

fn second(account: u64, time: u64, out: &mut Vec<u8>) {
    if mixed(account, 5) % 100 == 0 {
        begin(account, out);
        signature(account, 1, out);
        previous(account, 1, out);
        out.extend_from_slice(br#","type":"plc_tombstone"}"#);
        end(account, 1, time, out);
    } else {
        operation(account, 1, time, out);
    }
}

fn operation(account: u64, number: u64, time: u64, out: &mut Vec<u8>) {
    begin(account, out);
    signature(account, number, out);
    previous(account, number, out);
    out.extend_from_slice(
        br#","type":"plc_operation","services":{"atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":"https://"#,
    );
    host(account, out);
    out.extend_from_slice(br#""}},"alsoKnownAs":["at://"#);
    text::<5>(BASE32, mixed(account, 6 + number), 8 + (mixed(account, 7) % 5) as usize, out);
    out.extend_from_slice(
        br#".bsky.social"],"rotationKeys":["did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg","did:key:zQ3shpKnbdPx3g3CmPf5cRVTPe1HtSwVn5ish3wSnDPQCbLJK"],"verificationMethods":{"atproto":"did:key:z"#,
    );
    key(account, if rotates(account) { number } else { 0 }, out);
    out.extend_from_slice(br#""}}"#);
    end(account, number, time, out);
}

fn begin(account: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"did":"did:plc:"#);
    let bytes = did(account);
    for five in bytes.as_bytes().chunks(5) {
        let word = five.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        out.extend((0..8).rev().map(|place| BASE32[(word >> (5 * place)) as usize & 31]));
    }
    out.extend_from_slice(br#"","operation":{"sig":""#);
}

fn signature(account: u64, number: u64, out: &mut Vec<u8>) {
    for part in 0..9 {
        let chars = if part == 8 { 6 } else { 10 };
        text::<6>(BASE64, mixed(account, 100 + 10 * number + part), chars, out);
    }
}

fn previous(account: u64, number: u64, out: &mut Vec<u8>) {
    if number == 0 {
        out.extend_from_slice(br#"","prev":null"#);
    } else {
        out.extend_from_slice(br#"","prev":""#);
        cid(account, number - 1, out);
        out.push(b'"');
    }
}

fn end(account: u64, number: u64, time: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","cid":""#);
    cid(account, number, out);
    out.extend_from_slice(br#"","nullified":false,"createdAt":""#);
    date(time, out);
    out.extend_from_slice(b"\"}\n");
}

fn cid(account: u64, number: u64, out: &mut Vec<u8>) {
    // Version, codec, hash and length, and then 255 random bits.
    out.extend_from_slice(b"bafyreia");
    for part in 0..5 {
        text::<5>(BASE32, mixed(account, 200 + 10 * number + part), 10, out);
    }
    out.push(b'a');
}

fn key(account: u64, number: u64, out: &mut Vec<u8>) {
    // One of 64 is of P-256. Whatever follows these characters is a compressed point's length.
    let p256 = mixed(account, 8) % 64 == 0;
    out.extend_from_slice(if p256 { b"Dnaeh" } else { b"Q3shk" });
    for part in 0..5 {
        let chars = if part == 4 { 3 } else { 10 };
        let mut bits = mixed(account, 300 + 10 * number + part);
        for _ in 0..chars {
            let place = u128::from(bits) * 58;
            out.push(BASE58[(place >> 64) as usize]);
            bits = place as u64;
        }
    }
}

fn host(account: u64, out: &mut Vec<u8>) {
    let draw = mixed(account, 9);
    if draw % 1000 < 985 {
        text::<5>(BASE32, mixed(draw / 1000 % BIG_HOSTS, 10), 7, out);
        out.extend_from_slice(b".us-east.host.bsky.network");
    } else {
        let share = (draw / 1000 % 4096) as f64 / 4096.0;
        let number = (share * share * share * SMALL_HOSTS as f64) as u64;
        out.extend_from_slice(b"pds.");
        text::<5>(BASE32, mixed(number, 11), 9, out);
        out.extend_from_slice(b".example.com");
    }
}

fn date(time_ms: u64, out: &mut Vec<u8>) {
    let (days, ms) = (BEGAN_DAY + time_ms / 86_400_000, time_ms % 86_400_000);
    // Days into dates, with years that begin in March (H. Hinnant, chrono-compatible algorithms).
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let seconds = ms / 1000;
    let mut digits = |number: u64, count: u32, behind: u8| {
        out.extend((0..count).rev().map(|place| b'0' + (number / 10u64.pow(place) % 10) as u8));
        out.push(behind);
    };
    digits(year, 4, b'-');
    digits(month, 2, b'-');
    digits(day, 2, b'T');
    digits(seconds / 3600, 2, b':');
    digits(seconds / 60 % 60, 2, b':');
    digits(seconds % 60, 2, b'.');
    digits(ms % 1000, 3, b'Z');
}

/// Characters of `BITS` bits each out of some bits.
fn text<const BITS: u32>(alphabet: &[u8], bits: u64, chars: usize, out: &mut Vec<u8>) {
    let mask = (1 << BITS) - 1;
    out.extend((0..chars as u32).map(|place| alphabet[(bits >> (BITS * place)) as usize & mask]));
}
