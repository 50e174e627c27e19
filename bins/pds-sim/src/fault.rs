//! Damage that a host does to what it says, for the verifiers to find.

use std::str::FromStr;

use anyhow::Result;
use fastrand::Rng;

use crate::events::Draft;
use crate::key::Key;

/// A way to be false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One bit of the signature is another; the commit is named anew.
    Signature,
    /// The signature's s is in the upper half of the order.
    HighS,
    /// Another account's key signed.
    Stranger,
    /// One bit of a record or a tree node is another, under the old CID.
    Content,
    /// A `#sync` after a migration whose outer rev is not the commit's, as the official server
    /// sends it.
    Migration,
}

impl Fault {
    /// Those that are done on purpose.
    const ALL: [Self; 4] = [Self::Signature, Self::HighS, Self::Stranger, Self::Content];

    /// Its name in the truth file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::HighS => "high-s",
            Self::Stranger => "stranger",
            Self::Content => "content",
            Self::Migration => "migration",
        }
    }

    /// The rule under which a verifier refuses it that knows the key which signed.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Signature | Self::Stranger => "bad-signature",
            Self::HighS => "high-s",
            Self::Content => "bad-cid",
            Self::Migration => "rev-mismatch",
        }
    }
}

/// A damaged copy of an event, if it has something to damage. `key` is the one that signed it.
pub fn damaged(
    draft: &Draft,
    key: &Key,
    stranger: &Key,
    rng: &mut Rng,
) -> Result<Option<(Draft, Fault)>> {
    let mut fault = rng.choice(Fault::ALL).unwrap_or(Fault::Signature);
    let mut copy = draft.clone();
    if let (Fault::Content, Draft::Commit { blocks, .. }) = (fault, &mut copy) {
        let place = rng.usize(0..blocks.len().max(1));
        if let Some(block) = blocks.get_mut(place) {
            let at = rng.usize(0..block.bytes.len());
            block.bytes[at] ^= 1 << rng.u8(0..8);
            return Ok(Some((copy, fault)));
        }
    }
    let Some(commit) = copy.commit_mut() else { return Ok(None) };
    let Some(sig) = &mut commit.sig else { return Ok(None) };
    match fault {
        Fault::HighS => *sig = key.high_s(sig)?,
        Fault::Stranger => commit.sign_again(stranger)?,
        Fault::Signature | Fault::Content | Fault::Migration => {
            fault = Fault::Signature;
            sig[rng.usize(0..32)] ^= 1 << rng.u8(0..8);
        }
    }
    Ok(Some((copy, fault)))
}

/// A share of events: 0 is none, 1 is all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share(f64);

impl Share {
    /// Whether this event is one of them.
    pub fn hits(self, rng: &mut Rng) -> bool {
        self.0 > 0.0 && rng.f64() < self.0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let share: f64 = text.parse().map_err(|_| ShareError)?;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(ShareError) }
    }
}

/// A share is a number from 0 to 1.
#[derive(Debug)]
pub struct ShareError;

impl std::fmt::Display for ShareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a share is a number from 0 to 1")
    }
}

impl std::error::Error for ShareError {}
