//! The curve arithmetic, twice: the quick libraries in C ([`native`], with the feature of that
//! name) and those in Rust alone ([`pure`]). Nothing else of this room knows a curve library.
//!
//! A "no" of the quick ones that refuses something for good is asked of the others too: it must
//! not be one library's fault. Without the feature the Rust ones answer alone.

#[cfg(feature = "native")]
mod native;
mod pure;

use crate::public_key::POINT_BYTES;
use crate::{Curve, PublicKey, Reject};

#[cfg(feature = "native")]
use native as quick;
#[cfg(not(feature = "native"))]
use pure as quick;

/// Bytes of one of the two numbers of a signature.
const HALF: usize = 32;

/// The order of each curve's group, and the largest S in its lower half (SEC 2, 2.4.1 and 2.4.2),
/// big-endian.
struct Order {
    order: [u8; HALF],
    low_max: [u8; HALF],
}

const K256: Order = Order {
    order: *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\
              \xba\xae\xdc\xe6\xaf\x48\xa0\x3b\xbf\xd2\x5e\x8c\xd0\x36\x41\x41",
    low_max: *b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
                \x5d\x57\x6e\x73\x57\xa4\x50\x1d\xdf\xe9\x2f\x46\x68\x1b\x20\xa0",
};

const P256: Order = Order {
    order: *b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\
              \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51",
    low_max: *b"\x7f\xff\xff\xff\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff\
                \xde\x73\x7d\x56\xd3\x8b\xcf\x42\x79\xdc\xe5\x61\x7e\x31\x92\xa8",
};

/// A key in the form that a signature is checked with. `None` if the bytes name no point, which
/// is remembered like any other answer, so that finding out costs once.
pub(crate) struct Parsed(Option<quick::Parsed>);

impl Parsed {
    /// Of a slot that has no key yet.
    pub(crate) const EMPTY: Parsed = Parsed(None);

    pub(crate) fn is_point(&self) -> bool {
        self.0.is_some()
    }
}

/// Solves the curve's equation for the key's y.
///
/// # Errors
/// [`Reject::Disagreement`] if one library finds a point and the other none.
pub(crate) fn parse(key: &PublicKey) -> Result<Parsed, Reject> {
    let parsed = quick::parse(key);
    if cfg!(feature = "native") && parsed.is_none() && pure::parse(key).is_some() {
        return Err(Reject::Disagreement);
    }
    Ok(Parsed(parsed))
}

/// Checks that an uncompressed point lies on `curve`, and compresses it.
pub(crate) fn compress(curve: Curve, point: &[u8]) -> Option<[u8; POINT_BYTES]> {
    pure::compress(curve, point)
}

/// Checks a compact signature over `digest`; `twice` says of which answers both libraries are asked.
///
/// A signature whose `S` is high is checked in its low form, so that [`Reject::HighS`] is said
/// of signatures that hold otherwise, and of no random bytes.
pub(crate) fn verify(
    key: &PublicKey,
    parsed: &Parsed,
    digest: &[u8; 32],
    signature: &[u8],
    twice: impl Fn(bool) -> bool,
) -> Result<(), Reject> {
    let Parsed(Some(parsed)) = parsed else { return Err(Reject::BadKey) };
    let order = match key.curve() {
        Curve::K256 => &K256,
        Curve::P256 => &P256,
    };
    let (low, high) = lower(signature, order).ok_or(Reject::Malformed)?;
    let holds = quick::verify(parsed, digest, &low);
    if cfg!(feature = "native") && twice(holds) && second(key, digest, &low) != holds {
        return Err(Reject::Disagreement);
    }
    match (holds, high) {
        (true, false) => Ok(()),
        (true, true) => Err(Reject::HighS),
        (false, _) => Err(Reject::BadSignature),
    }
}

/// What the other library says.
fn second(key: &PublicKey, digest: &[u8; 32], low: &[u8; 2 * HALF]) -> bool {
    let holds = pure::parse(key).is_some_and(|key| pure::verify(&key, digest, low));
    #[cfg(test)]
    let holds = holds != tests::LIES.get();
    holds
}

/// A signature with its `S` in the lower half, and whether it was in the upper one; `None` if it
/// is not two numbers of 1 to the order less one.
fn lower(signature: &[u8], order: &Order) -> Option<([u8; 2 * HALF], bool)> {
    let mut low: [u8; 2 * HALF] = signature.try_into().ok()?;
    let (r, s) = low.split_first_chunk_mut::<HALF>()?;
    let s: &mut [u8; HALF] = s.try_into().ok()?;
    let within = |number: &[u8; HALF]| *number < order.order && *number != [0; HALF];
    if !within(r) || !within(s) {
        return None;
    }
    let high = *s > order.low_max;
    if high {
        let mut borrow = false;
        for (byte, of) in s.iter_mut().zip(&order.order).rev() {
            let (first, under) = of.overflowing_sub(*byte);
            let (second, again) = first.overflowing_sub(u8::from(borrow));
            (*byte, borrow) = (second, under || again);
        }
    }
    Some((low, high))
}

#[cfg(test)]
mod tests;
