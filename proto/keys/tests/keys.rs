//! Keys and signatures against fixtures that other implementations made.
#![allow(clippy::unwrap_used, reason = "a test")]

use keys::{Curve, Error, PublicKey, Reject, Verifier};
use sha2::{Digest, Sha256};

/// The key as did:key, in the older form, the type of that form, a signature, what it is.
type Case = (&'static str, &'static str, &'static str, &'static str, Result<(), Reject>);

/// The signatures of the interoperability tests of atproto.
const SIGNATURES: [Case; 6] = [
    (
        "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
        "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh",
        "EcdsaSecp256r1VerificationKey2019",
        "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg",
        Ok(()),
    ),
    (
        "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
        "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t",
        "EcdsaSecp256k1VerificationKey2019",
        "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdUn/FEznOndsz/qgiYb89zwxYCbB71f7yQK5Lr7NasfoA",
        Ok(()),
    ),
    (
        "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
        "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh",
        "EcdsaSecp256r1VerificationKey2019",
        "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoKp7O4VS9giSAah8k5IUbXIW00SuOrjfEqQ9HEkN9JGzw",
        Err(Reject::HighS),
    ),
    (
        "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
        "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t",
        "EcdsaSecp256k1VerificationKey2019",
        "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdXYA67MYxYiTMAVfdnkDCMN9S5B3vHosRe07aORmoshoQ",
        Err(Reject::HighS),
    ),
    (
        "did:key:zDnaeT6hL2RnTdUhAPLij1QBkhYZnmuKyM7puQLW1tkF4Zkt8",
        "ze8N2PPxnu19hmBQ58t5P3E9Yj6CqakJmTVCaKvf9Byq2",
        "EcdsaSecp256r1VerificationKey2019",
        "MEQCIFxYelWJ9lNcAVt+jK0y/T+DC/X4ohFZ+m8f9SEItkY1AiACX7eXz5sgtaRrz/SdPR8kprnbHMQVde0T2R8yOTBweA",
        Err(Reject::Malformed),
    ),
    (
        "did:key:zQ3shnriYMXc8wvkbJqfNWh5GXn2bVAeqTC92YuNbek4npqGF",
        "z22uZXWP8fdHXi4jyx8cCDiBf9qQTsAe6VcycoMQPfcMQX",
        "EcdsaSecp256k1VerificationKey2019",
        "MEUCIQCWumUqJqOCqInXF7AzhIRg2MhwRz2rWZcOEsOjPmNItgIgXJH7RnqfYY6M0eg33wU0sFYDlprwdOcpRn78Sz5ePgk",
        Err(Reject::Malformed),
    ),
];

fn unbase64(text: &str) -> Vec<u8> {
    data_encoding::BASE64_NOPAD.decode(text.as_bytes()).unwrap()
}

#[test]
fn signatures_of_the_interoperability_tests_are_judged_as_they_say() {
    let digest: [u8; 32] = Sha256::digest(unbase64("oWVoZWxsb2V3b3JsZA")).into();
    let mut verifier = Verifier::new(16);
    for (did, multibase, method, signature, expected) in SIGNATURES {
        let key = PublicKey::from_did_key(did).unwrap();
        assert_eq!(PublicKey::from_verification_method(method, multibase), Ok(key), "{did}");
        assert_eq!(key.to_did_key(), did);
        assert_eq!(verifier.verify(&key, &digest, &unbase64(signature)), expected, "{did}");
    }
    assert_eq!(verifier.parsed(), 4, "two of the four keys come twice");
}

/// More of the same kind, when the shared vectors are there.
#[test]
fn shared_vectors_are_judged_as_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/vectors/crypto");
    let Ok(text) = std::fs::read_to_string(format!("{folder}/signature-fixtures.json")) else {
        return;
    };
    let fixtures: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut verifier = Verifier::new(16);
    for case in &fixtures {
        let text = |name: &str| case[name].as_str().unwrap();
        let key = PublicKey::from_did_key(text("publicKeyDid")).unwrap();
        let older =
            PublicKey::from_verification_method(text("didDocSuite"), text("publicKeyMultibase"));
        assert_eq!(older, Ok(key));
        let digest: [u8; 32] = Sha256::digest(unbase64(text("messageBase64"))).into();
        let found = verifier.verify(&key, &digest, &unbase64(text("signatureBase64")));
        assert_eq!(found.is_ok(), case["validSignature"].as_bool().unwrap(), "{case}");
    }
    assert!(!fixtures.is_empty());

    let text = std::fs::read_to_string(format!("{folder}/w3c_didkey_K256.json")).unwrap();
    for case in serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap() {
        let secret = case["privateKeyBytesHex"].as_str().unwrap();
        let secret = data_encoding::HEXLOWER.decode(secret.as_bytes()).unwrap();
        let secret = k256::ecdsa::SigningKey::from_slice(&secret).unwrap();
        let point = secret.verifying_key().to_sec1_point(true);
        let key = PublicKey::from_compressed(Curve::K256, point.as_bytes()).unwrap();
        assert_eq!(key.to_did_key(), case["publicDidKey"].as_str().unwrap());
    }
}

#[test]
fn the_uncompressed_form_of_older_documents_is_the_same_key() {
    let secret = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let point = secret.verifying_key().to_sec1_point(false);
    let text = format!("z{}", bs58::encode(point.as_bytes()).into_string());
    let key = PublicKey::from_verification_method("EcdsaSecp256k1VerificationKey2019", &text);
    let compressed = secret.verifying_key().to_sec1_point(true);
    assert_eq!(key, PublicKey::from_compressed(Curve::K256, compressed.as_bytes()));

    // The same bytes are no point of the other curve, and no Multikey.
    let other = PublicKey::from_verification_method("EcdsaSecp256r1VerificationKey2019", &text);
    assert_eq!(other, Err(Error::NotAPoint));
    assert!(PublicKey::from_multibase(&text).is_err());
}

#[test]
fn a_key_of_another_kind_is_told_from_a_damaged_one() {
    // Ed25519, X25519 and RSA as the did:key specification has them.
    for (text, code) in [
        ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", 0xed),
        ("did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F", 0xec),
    ] {
        assert_eq!(PublicKey::from_did_key(text), Err(Error::UnknownCurve { code }));
        assert!(PublicKey::from_did_key(text).unwrap_err().is_unknown_kind());
    }
    let unknown = PublicKey::from_verification_method("Ed25519VerificationKey2020", "z6Mk");
    assert_eq!(unknown, Err(Error::UnknownMethod));

    let good = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc";
    assert!(PublicKey::from_did_key(good).is_ok());
    assert_eq!(PublicKey::from_did_key(&good[1..]), Err(Error::NotDidKey));
    let long = format!("did:key:z{}", "1".repeat(100_000));
    for text in [
        "did:key:",
        "did:key:z",
        "did:key:uQ3sh",
        "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw0",
        &long,
    ] {
        let error = PublicKey::from_did_key(text).unwrap_err();
        assert!(!error.is_unknown_kind(), "{text}: {error}");
    }
    // Cut short, base58 is another number altogether, so what is wrong with it is any of these.
    assert!(PublicKey::from_did_key(&good[..good.len() - 2]).is_err());
}

#[test]
fn thirty_four_bytes_come_back_and_others_are_refused() {
    let key: PublicKey =
        "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo".parse().unwrap();
    assert_eq!(key.curve(), Curve::P256);
    assert_eq!(key.to_bytes()[0], 2);
    assert_eq!(PublicKey::from_bytes(&key.to_bytes()), Ok(key));
    let mut bytes = key.to_bytes();
    bytes[0] = 3;
    assert_eq!(PublicKey::from_bytes(&bytes), Err(Error::UnknownCurve { code: 3 }));
    bytes[0] = 1;
    bytes[1] = 4;
    assert_eq!(PublicKey::from_bytes(&bytes), Err(Error::NotAPoint));
    assert_eq!(PublicKey::from_bytes(&[0; 34]), Err(Error::UnknownCurve { code: 0 }));
}

#[test]
fn a_key_off_its_curve_proves_nothing() {
    // x = 5 is on no point of secp256k1.
    let mut point = [0; 33];
    (point[0], point[32]) = (2, 5);
    let key = PublicKey::from_compressed(Curve::K256, &point).unwrap();
    let mut verifier = Verifier::new(8);
    for _ in 0..2 {
        assert_eq!(verifier.verify(&key, &[1; 32], &[1; 64]), Err(Reject::BadKey));
    }
    assert!(!verifier.is_point(&key));
    assert_eq!(verifier.parsed(), 1, "that it is bad is remembered too");
    let (did, ..) = SIGNATURES[0];
    assert!(verifier.is_point(&PublicKey::from_did_key(did).unwrap()));
}

#[test]
fn numbers_outside_the_order_and_zero_are_malformed() {
    let mut verifier = Verifier::new(8);
    for (did, ..) in SIGNATURES {
        let key = PublicKey::from_did_key(did).unwrap();
        for signature in [[0; 64], [0xff; 64]] {
            assert_eq!(verifier.verify(&key, &[1; 32], &signature), Err(Reject::Malformed));
        }
        for len in [0, 63, 65, 72] {
            let signature = vec![1; len];
            assert_eq!(verifier.verify(&key, &[1; 32], &signature), Err(Reject::Malformed));
        }
        // Within the order, S high, and no signature of anything: not called high-S.
        let mut random = [1; 64];
        random[32] = 0xf0;
        assert_eq!(verifier.verify(&key, &[1; 32], &random), Err(Reject::BadSignature));
    }
}

#[test]
fn more_keys_than_the_cache_holds_are_all_judged_rightly() {
    use k256::ecdsa::signature::hazmat::PrehashSigner;
    let mut verifier = Verifier::new(8);
    let mut signed = Vec::new();
    for seed in 1..=40u8 {
        let digest = [seed; 32];
        let (key, signature) = if seed % 2 == 0 {
            let secret = k256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
            let signature: k256::ecdsa::Signature = secret.sign_prehash(&digest).unwrap();
            let point = secret.verifying_key().to_sec1_point(true);
            let key = PublicKey::from_compressed(Curve::K256, point.as_bytes()).unwrap();
            (key, signature.normalize_s().to_bytes().to_vec())
        } else {
            let secret = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
            let signature: p256::ecdsa::Signature = secret.sign_prehash(&digest).unwrap();
            let point = secret.verifying_key().to_sec1_point(true);
            let key = PublicKey::from_compressed(Curve::P256, point.as_bytes()).unwrap();
            (key, signature.normalize_s().to_bytes().to_vec())
        };
        signed.push((key, digest, signature));
    }
    for round in 0..3 {
        for (at, (key, digest, signature)) in signed.iter().enumerate() {
            assert_eq!(verifier.verify(key, digest, signature), Ok(()), "round {round}, key {at}");
            let (other, ..) = &signed[(at + 2) % signed.len()];
            assert_eq!(verifier.verify(other, digest, signature), Err(Reject::BadSignature));
        }
    }
    // A key in use stays: asked for in between, it is never parsed again.
    let (key, digest, signature) = &signed[0];
    verifier.verify(key, digest, signature).unwrap();
    for (other, ..) in &signed[1..] {
        let _ = verifier.verify(other, digest, signature);
        let before = verifier.parsed();
        verifier.verify(key, digest, signature).unwrap();
        assert_eq!(verifier.parsed(), before);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_of_keys_panic(text in ".{0,80}", tail in "[1-9A-Za-z]{0,60}") {
        keys::fuzz_did_key(text.as_bytes());
        keys::fuzz_did_key(format!("did:key:z{tail}").as_bytes());
        keys::fuzz_did_key(format!("did:key:zQ3sh{tail}").as_bytes());
        keys::fuzz_did_key(format!("z{tail}").as_bytes());
    }
}
