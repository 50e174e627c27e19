//! What the accounts of the network do, and how often.

use std::str::FromStr;

use fastrand::Rng;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A record is made.
    Create,
    /// A record becomes another.
    Update,
    /// A record goes.
    Delete,
    /// Several records change in one commit.
    Batch,
    /// A commit without operations.
    Empty,
    /// The signing key changes, in the directory and on the host.
    Rotate,
    /// The handle changes.
    Handle,
    /// An account is put to sleep by its owner.
    Deactivate,
    /// A sleeping account comes back.
    Activate,
    /// An account is deleted and its DID ended.
    Remove,
    /// An account is born.
    Birth,
    /// The directory gets another key and the host goes on signing with the old one.
    Stale,
    /// The owner takes back by the stronger rotation key what the host did to the DID: the
    /// directory nullifies it.
    Recover,
    /// An account moves to another host.
    Migrate,
    /// A commit that does not say what was before it, as hosts sent them until 2026.
    Legacy,
    /// The host skips some of its numbers, as it does when rows of its log vanish; then a record is
    /// made.
    Jump,
    /// The host has lost its log: its numbers begin at 1, and whoever listens is cut off. Then a
    /// record is made.
    Reset,
}

/// Weights of what happens.
#[derive(Clone, Debug)]
pub struct Mix([(Happening, u32); 17]);

const NAMES: [(&str, Happening); 17] = [
    ("create", Happening::Create),
    ("update", Happening::Update),
    ("delete", Happening::Delete),
    ("batch", Happening::Batch),
    ("empty", Happening::Empty),
    ("rotate", Happening::Rotate),
    ("handle", Happening::Handle),
    ("deactivate", Happening::Deactivate),
    ("activate", Happening::Activate),
    ("remove", Happening::Remove),
    ("birth", Happening::Birth),
    ("stale", Happening::Stale),
    ("recover", Happening::Recover),
    ("migrate", Happening::Migrate),
    ("legacy", Happening::Legacy),
    ("jump", Happening::Jump),
    ("reset", Happening::Reset),
];

impl Default for Mix {
    /// Roughly what a busy host sends, with the rare things often enough to be met in a short run.
    fn default() -> Self {
        let weights = [720, 90, 100, 40, 10, 8, 8, 6, 6, 2, 10, 0, 0, 0, 0, 0, 0];
        let mut mix = [(Happening::Create, 0); 17];
        for (slot, ((_, happening), weight)) in mix.iter_mut().zip(NAMES.into_iter().zip(weights)) {
            *slot = (happening, weight);
        }
        Self(mix)
    }
}

impl Mix {
    /// What happens next.
    pub fn pick(&self, rng: &mut Rng) -> Happening {
        let total: u32 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut rest = rng.u32(0..total.max(1));
        for (happening, weight) in self.0 {
            match rest.checked_sub(weight) {
                Some(left) => rest = left,
                None => return happening,
            }
        }
        Happening::Create
    }
}

/// A word of a mix that is not understood.
#[derive(Debug)]
pub struct MixError;

impl std::fmt::Display for MixError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a mix is NAME=WEIGHT,... with the names")?;
        NAMES.iter().try_for_each(|(name, _)| write!(f, " {name}"))
    }
}

impl std::error::Error for MixError {}

impl FromStr for Mix {
    type Err = MixError;

    /// Weights by name; what is not named keeps its default, and `all=N` sets everything before.
    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut mix = Self::default();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or(MixError)?;
            let weight: u32 = weight.parse().map_err(|_| MixError)?;
            if weight > 1_000_000 {
                return Err(MixError);
            }
            let mut named = false;
            for ((_, slot), (known, _)) in mix.0.iter_mut().zip(NAMES) {
                if name == "all" || name == known {
                    *slot = weight;
                    named = true;
                }
            }
            if !named {
                return Err(MixError);
            }
        }
        Ok(mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_by_name_and_only_what_has_weight_happens() {
        let mix: Mix = "all=0,rotate=3,birth=1".parse().unwrap();
        let mut rng = Rng::with_seed(1);
        let mut rotations = 0;
        for _ in 0..1000 {
            match mix.pick(&mut rng) {
                Happening::Rotate => rotations += 1,
                Happening::Birth => {}
                other => panic!("{other:?}"),
            }
        }
        assert!((650..850).contains(&rotations), "{rotations}");
        for wrong in ["", "create", "create=x", "creation=1", "create=1,,"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }
}
