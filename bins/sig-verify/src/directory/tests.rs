use didindex::{Key, Status};

use super::*;

const DID: &str = "did:plc:2a7ygipkrbh544aqhcav53oy";
const K256: &str = "zQ3shrc8v5X6ZiANcZxA6JerfT2T4SskeCGxpmtDfMuHF9KRj";

fn document_with(method: &str, service: &str) -> Option<Identity> {
    let body = format!(
        r#"{{"@context": ["x"], "id": "{DID}", "alsoKnownAs": ["at://a.example"],
            "verificationMethod": {method}, "service": {service}}}"#
    );
    document(DID, body.as_bytes())
}

fn method(id: &str, kind: &str, key: &str) -> String {
    format!(r#"[{{"id": "{id}", "type": "{kind}", "publicKeyMultibase": "{key}"}}]"#)
}

fn service(endpoint: &str) -> String {
    format!(
        r##"[{{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": "{endpoint}"}}]"##
    )
}

#[test]
fn a_document_names_key_and_pds_by_full_and_relative_ids() {
    let key = Key::Known(PublicKey::from_multibase(K256).unwrap().to_bytes());
    for id in ["#atproto", &format!("{DID}#atproto")] {
        let method = method(id, "Multikey", K256);
        let found = document_with(&method, &service("https://PDS.example/")).unwrap();
        assert_eq!(found.key, key);
        assert_eq!(found.pds.as_deref(), Some("pds.example"));
        assert!(found.periods.is_empty());
    }
}

#[test]
fn keys_that_cannot_be_used_are_told_apart() {
    let key = |method: &str| document_with(method, "[]").unwrap().key;
    assert_eq!(key("[]"), Key::Missing);
    assert_eq!(key(&method("#atproto", "JsonWebKey2020", K256)), Key::UnknownType);
}

#[test]
fn a_pds_is_a_host_and_nothing_else() {
    let pds = |service: &str| document_with("[]", service).unwrap().pds;
    assert_eq!(pds(&service("https://a.example:8443")).as_deref(), Some("a.example:8443"));
    assert_eq!(pds(&service("https://a.example/path")), None);
    assert_eq!(pds(&service("at://a")), None);
}

#[test]
fn what_is_no_document_of_this_account_is_none() {
    for body in ["", "[]", "null", "{}", r#"{"id": 7}"#, r#"{"id": "did:plc:another"}"#] {
        assert_eq!(document(DID, body.as_bytes()), None, "{body}");
        assert_eq!(log(DID, body.as_bytes()), None, "{body}");
    }
    assert!(document(DID, format!(r#"{{"id": "{DID}"}}"#).as_bytes()).is_some());
}

fn operation(cid: u8, prev: Option<u8>, rest: &str, at: &str) -> String {
    let name = |n: u8| atproto::Cid::dag_cbor(&[n]).to_string();
    let prev = prev.map_or("null".to_owned(), |prev| format!("{:?}", name(prev)));
    format!(
        r#"{{"did": "{DID}", "cid": "{}", "nullified": false, "createdAt": "{at}",
            "operation": {{"prev": {prev}, "sig": "x", {rest}}}}}"#,
        name(cid)
    )
}

fn plc(key: &str) -> String {
    format!(
        r#""type": "plc_operation", "rotationKeys": [], "alsoKnownAs": [],
            "verificationMethods": {{"atproto": "did:key:{key}"}},
            "services": {{"atproto_pds": {{"type": "AtprotoPersonalDataServer",
                "endpoint": "https://pds.example"}}}}"#
    )
}

#[test]
fn a_log_gives_every_key_with_its_time_and_what_was_nullified_is_left_out() {
    let other = "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc";
    let body = format!(
        "[{}, {}, {}, {}]",
        operation(1, None, &plc(K256), "2024-01-01T00:00:00.000Z"),
        operation(2, Some(1), &plc("z6Mkgone"), "2024-01-02T00:00:00.000Z"),
        operation(3, Some(1), &plc(other), "2024-01-02T12:00:00.000Z"),
        operation(4, Some(3), r#""type": "plc_tombstone""#, "2024-01-03T00:00:00.000Z"),
    );
    let found = log(DID, body.as_bytes()).unwrap();
    let known = |text: &str| PublicKey::from_multibase(text).ok().map(|key| key.to_bytes());
    let periods: Vec<_> = found.periods.iter().map(|it| (it.from_ms, it.key, it.status)).collect();
    let day = 86_400_000;
    let start = 1_704_067_200_000;
    assert_eq!(
        periods,
        [
            (start, known(K256), Status::Active),
            (start + day + day / 2, known(other), Status::Active),
            (start + 2 * day, None, Status::Tombstoned),
        ]
    );
    assert_eq!((found.key, found.pds), (Key::Tombstone, None));
    assert_eq!(log("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", body.as_bytes()), None);
}
