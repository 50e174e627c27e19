//! What a block ends with for its accounts: put here by who decodes it, and waited for by who
//! decodes the next block of one of them.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::codec::{Base, Bases};

/// What a block ends with, once it is decoded.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    state: Mutex<State>,
    decoded: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    /// By account; nothing once the next block of it has taken that.
    Known { bases: HashMap<Box<str>, Option<Arc<Base>>>, bytes: usize },
    /// The block could not be decoded, or nobody wants it any more.
    Lost,
}

/// What there is of an account.
#[derive(Debug)]
pub(crate) enum End {
    Base(Arc<Base>),
    /// The block has no end of the account.
    None,
    /// It has to be decoded again.
    Lost,
}

impl Ends {
    /// Of a block that is decoded.
    pub(crate) fn known(bases: Bases) -> Arc<Ends> {
        let ends = Ends::default();
        ends.say(bases);
        Arc::new(ends)
    }

    /// The block was decoded, and ends with this.
    pub(crate) fn say(&self, bases: Bases) {
        let bytes = bases.iter().map(|(_, base)| base.bytes()).sum();
        let bases = bases.into_iter().map(|(did, base)| (did, Some(base))).collect();
        *self.lock() = State::Known { bases, bytes };
        self.decoded.notify_all();
    }

    /// Nobody decodes the block any more, unless it is decoded.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Waiting) {
            *state = State::Lost;
            self.decoded.notify_all();
        }
    }

    /// What the block ends with for an account, which stays.
    pub(crate) fn get(&self, did: &str) -> End {
        match &*self.wait() {
            State::Known { bases, .. } => match bases.get(did) {
                Some(Some(base)) => End::Base(base.clone()),
                Some(None) => End::Lost,
                None => End::None,
            },
            State::Waiting | State::Lost => End::Lost,
        }
    }

    /// The same, and lets go of it: where all is decoded in order, the next block of an account is
    /// the only one that is written against this.
    pub(crate) fn take(&self, did: &str) -> Option<Arc<Base>> {
        match &mut *self.wait() {
            State::Known { bases, bytes } => {
                let base = bases.get_mut(did)?.take()?;
                *bytes = bytes.saturating_sub(base.bytes());
                Some(base)
            }
            State::Waiting | State::Lost => None,
        }
    }

    /// What it takes in memory by now, nearly.
    pub(crate) fn bytes(&self) -> usize {
        match &*self.lock() {
            State::Known { bytes, .. } => *bytes,
            State::Waiting | State::Lost => 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> MutexGuard<'_, State> {
        let waiting = |state: &mut State| matches!(state, State::Waiting);
        self.decoded.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_comes_once_or_is_lost() {
        let ends = Arc::new(Ends::default());
        let waiting = ends.clone();
        let waiter = std::thread::spawn(move || waiting.take("did:plc:a").is_some());
        let base = Arc::new(Base::nothing());
        ends.say(vec![("did:plc:a".into(), base.clone()), ("did:plc:b".into(), base)]);
        assert!(waiter.join().unwrap());
        assert!(matches!(ends.get("did:plc:a"), End::Lost), "it was taken");
        assert!(matches!(ends.get("did:plc:b"), End::Base(_)));
        assert!(matches!(ends.get("did:plc:c"), End::None));
        let bytes = ends.bytes();
        assert!(bytes > 0);
        assert!(ends.take("did:plc:b").is_some());
        assert_eq!(ends.bytes(), 0);

        let ends = Arc::new(Ends::default());
        let waiting = ends.clone();
        let waiter = std::thread::spawn(move || waiting.take("did:plc:a").is_none());
        ends.close();
        assert!(waiter.join().unwrap());
        assert!(matches!(ends.get("did:plc:a"), End::Lost));
    }

    #[test]
    fn what_is_known_stays_when_nobody_decodes_any_more() {
        let ends = Ends::known(vec![("did:plc:a".into(), Arc::new(Base::nothing()))]);
        ends.close();
        assert!(matches!(ends.get("did:plc:a"), End::Base(_)));
    }
}
