use std::cell::Cell;
use std::num::NonZeroU64;

use k256::ecdsa::signature::hazmat::PrehashSigner;

use crate::{Curve, PublicKey, Reject, Verifier};

thread_local! {
    /// Whether the second library says the opposite of what it finds.
    pub(super) static LIES: Cell<bool> = const { Cell::new(false) };
}

const DIGEST: [u8; 32] = [5; 32];

fn signed() -> (PublicKey, [u8; 64]) {
    let secret = k256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap();
    let point = secret.verifying_key().to_sec1_point(true);
    let signature: k256::ecdsa::Signature = secret.sign_prehash(&DIGEST).unwrap();
    let signature: [u8; 64] = signature.normalize_s().to_bytes().into();
    (PublicKey::from_compressed(Curve::K256, point.as_bytes()).unwrap(), signature)
}

/// With one library there is nobody to disagree.
fn expected(alone: Result<(), Reject>) -> Result<(), Reject> {
    if cfg!(feature = "native") { Err(Reject::Disagreement) } else { alone }
}

#[test]
fn a_refusal_stands_only_if_both_libraries_say_so() {
    let (key, good) = signed();
    let mut bad = good;
    bad[40] ^= 1;
    let mut verifier = Verifier::new(8);
    assert_eq!(verifier.verify(&key, &DIGEST, &bad), Err(Reject::BadSignature));
    LIES.set(true);
    let refused = Err(Reject::BadSignature);
    assert_eq!(verifier.verify(&key, &DIGEST, &bad), expected(refused));
    // An acceptance is not asked about.
    assert_eq!(verifier.verify(&key, &DIGEST, &good), Ok(()));
    LIES.set(false);
}

#[test]
fn one_acceptance_in_so_many_is_asked_about_twice() {
    let (key, good) = signed();
    let mut verifier = Verifier::new(8).with_second_opinion(NonZeroU64::new(3).unwrap());
    LIES.set(true);
    // A disagreement is no acceptance: it is asked about again.
    assert_eq!(verifier.verify(&key, &DIGEST, &good), expected(Ok(())));
    LIES.set(false);
    assert_eq!(verifier.verify(&key, &DIGEST, &good), Ok(()));
    LIES.set(true);
    assert_eq!(verifier.verify(&key, &DIGEST, &good), Ok(()));
    assert_eq!(verifier.verify(&key, &DIGEST, &good), Ok(()));
    assert_eq!(verifier.verify(&key, &DIGEST, &good), expected(Ok(())));
    LIES.set(false);
}
