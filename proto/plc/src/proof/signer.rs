//! By which key an operation is signed.

use std::collections::HashMap;

use keys::{PublicKey, Reject, Verifier};

use super::Fault;
use super::body::Signed;

/// So many keys are remembered by how often they signed.
const KNOWN_MAX: usize = 1 << 16;

/// Checks signatures against lists of keys.
pub(super) struct Signers {
    verifier: Verifier,
    /// Keys that lie on their curve, and how often each signed. In most lists a key of the host
    /// that signs everything stands behind one that has never signed anything; to ask the busy
    /// one first saves half of the work. Which of a list's keys is asked first does not matter
    /// for which is found: a signature holds for a few other keys, but they follow from the hash
    /// of what is signed, and that from the list.
    known: HashMap<PublicKey, u64>,
}

impl Signers {
    pub(super) fn new(keys: usize) -> Self {
        Self { verifier: Verifier::new(keys), known: HashMap::new() }
    }

    /// The place of the first key of a list that a signature is by. As in the official
    /// implementation, a key that cannot be read ends the search.
    pub(super) fn signer(
        &mut self,
        keys: &[Option<PublicKey>],
        signed: &Signed,
    ) -> Result<usize, Fault> {
        let readable: Vec<PublicKey> = keys.iter().map_while(|key| *key).collect();
        let mut turns: Vec<usize> = (0..readable.len()).collect();
        if readable.len() > 1 {
            let times = |at: &usize| readable.get(*at).and_then(|key| self.known.get(key)).copied();
            turns.sort_by_key(|at| std::cmp::Reverse(times(at)));
        }
        let mut worst = None;
        for at in turns.iter().copied() {
            let Some(key) = readable.get(at) else { continue };
            match self.check(key, signed) {
                Ok(()) => return self.found(&readable, at, signed),
                Err(Reject::BadKey) => return Err(Fault::RotationKey { at }),
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

    /// The place of the key that signed, if all before it are keys.
    fn found(&mut self, keys: &[PublicKey], at: usize, signed: &Signed) -> Result<usize, Fault> {
        let Some(signer) = keys.get(at) else { return Err(Fault::BadSignature) };
        // A key that stands twice signs with its first place.
        let at = keys.iter().position(|key| key == signer).unwrap_or(at);
        for (place, key) in keys.iter().enumerate().take(at) {
            if !self.known.contains_key(key) && self.check(key, signed) == Err(Reject::BadKey) {
                return Err(Fault::RotationKey { at: place });
            }
        }
        *self.known.entry(*signer).or_default() += 1;
        Ok(at)
    }

    fn check(&mut self, key: &PublicKey, signed: &Signed) -> Result<(), Reject> {
        let result = self.verifier.verify(key, &signed.digest, &signed.sig);
        if result != Err(Reject::BadKey) {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            self.known.entry(*key).or_default();
        }
        result
    }
}
