//! By which key an operation is signed.

use std::collections::HashMap;

use keys::{PublicKey, Reject, Verifier};

use super::Fault;
use super::body::Signed;

/// So many keys are remembered by how often they signed.
const BUSY_MAX: usize = 1 << 16;

/// Checks signatures against lists of keys.
pub(super) struct Signers {
    verifier: Verifier,
    /// How often keys that were not alone in their list have signed. In most lists a key of the
    /// host that signs everything stands behind one that has never signed anything; to ask the
    /// busy one first saves half of the work. Which of a list's keys is asked first does not
    /// matter for which is found: a signature holds for a few other keys, but they follow from
    /// the hash of what is signed, and that from the list.
    busy: HashMap<PublicKey, u64>,
}

impl Signers {
    pub(super) fn new(keys: usize) -> Self {
        Self { verifier: Verifier::new(keys), busy: HashMap::new() }
    }

    /// The place of the first key of a list that a signature is by. As in the official
    /// implementation, a key that cannot be read ends the search.
    pub(super) fn signer(
        &mut self,
        keys: &[Option<PublicKey>],
        signed: &Signed,
    ) -> Result<usize, Fault> {
        let verifier = &mut self.verifier;
        let readable = keys.iter().map_while(|key| key.filter(|key| verifier.is_point(key)));
        let readable: Vec<PublicKey> = readable.collect();
        let mut turns: Vec<(usize, PublicKey)> = readable.iter().copied().enumerate().collect();
        if turns.len() > 1 {
            turns.sort_by_key(|(_, key)| std::cmp::Reverse(self.busy.get(key).copied()));
        }
        let mut worst = None;
        for (at, key) in turns {
            match self.verifier.verify(&key, &signed.digest, &signed.sig) {
                Ok(()) => {
                    if readable.len() > 1 {
                        self.signs(key);
                    }
                    // A key that stands twice signs with its first place.
                    return Ok(readable.iter().position(|other| *other == key).unwrap_or(at));
                }
                // That it holds but for its form says more than that it does not hold.
                Err(reject) if worst != Some(Reject::HighS) => worst = Some(reject),
                Err(_) => {}
            }
        }
        match worst {
            Some(Reject::HighS) => Err(Fault::HighS),
            _ if readable.len() < keys.len() => Err(Fault::RotationKey { at: readable.len() }),
            Some(reject) => Err(reject.into()),
            None => Err(Fault::NoRotationKey),
        }
    }

    fn signs(&mut self, key: PublicKey) {
        if self.busy.len() >= BUSY_MAX {
            self.busy.clear();
        }
        *self.busy.entry(key).or_default() += 1;
    }
}
