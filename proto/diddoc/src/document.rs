//! DID documents, as directories and hosts give them.

use atproto::syntax;
use keys::PublicKey;
use serde_json::Value;

/// What a document says of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// The key that its commits are signed with.
    pub key: SigningKey,
    /// URL of its PDS, as it is written there.
    pub pds: Option<String>,
    /// The handle that it calls its own, in lower case. Whether it is is for the handle's domain to
    /// say.
    pub handle: Option<String>,
}

/// The signing key that a document names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks has to know which it is")]
pub enum SigningKey {
    /// A key of a known curve.
    Known(PublicKey),
    /// One of a kind that is not known, or that cannot be read.
    Unknown,
    /// None.
    Missing,
}

/// Why bytes are no document of an account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not JSON.
    #[error("not a DID document")]
    Json(#[from] serde_json::Error),
    /// It is another's, or nobody's.
    #[error("not the document of this DID")]
    Other,
}

impl Document {
    /// Reads the document of `did`.
    ///
    /// Taken are the first verification method `#atproto` (as a full or a relative id) whose key
    /// is of the three types in use, the first service `#atproto_pds` of its type, and the first
    /// of the names that is a handle.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(did: &str, body: &[u8]) -> Result<Document, Error> {
        let document: Value = serde_json::from_slice(body)?;
        if document.get("id").and_then(Value::as_str) != Some(did) {
            return Err(Error::Other);
        }
        let methods = named(&document, did, "verificationMethod", "#atproto");
        let key = methods.map(key).reduce(|first, next| match first {
            SigningKey::Known(_) => first,
            _ => next,
        });
        let pds = named(&document, did, "service", "#atproto_pds")
            .find(|service| text(service, "type") == Some("AtprotoPersonalDataServer"));
        let names = document.get("alsoKnownAs").and_then(Value::as_array);
        let handle = names
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str()?.strip_prefix("at://"))
            .find(|name| syntax::is_handle(name));
        Ok(Document {
            key: key.unwrap_or(SigningKey::Missing),
            pds: pds.and_then(|service| text(service, "serviceEndpoint")).map(str::to_owned),
            handle: handle.map(str::to_ascii_lowercase),
        })
    }
}

/// The members of a list that have this id, written with the DID or without.
fn named<'a>(
    document: &'a Value,
    did: &'a str,
    list: &str,
    id: &'a str,
) -> impl Iterator<Item = &'a Value> {
    let list = document.get(list).and_then(Value::as_array);
    list.into_iter().flatten().filter(move |entry| {
        let named = text(entry, "id").unwrap_or_default();
        named.strip_prefix(did).unwrap_or(named) == id
    })
}

fn key(method: &Value) -> SigningKey {
    let key = match (text(method, "type"), text(method, "publicKeyMultibase")) {
        (Some(kind), Some(multibase)) => PublicKey::from_verification_method(kind, multibase).ok(),
        _ => None,
    };
    key.map_or(SigningKey::Unknown, SigningKey::Known)
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// Reads `data` as the document of one DID or another.
pub fn fuzz_document(data: &[u8]) {
    for did in ["did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:web:example.com"] {
        let _ = Document::read(did, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:2a7ygipkrbh544aqhcav53oy";
    const K256: &str = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";
    /// The same key, as the specification writes it in the older form.
    const K256_OLD: &str =
        "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";

    fn read(method: &str, service: &str, names: &str) -> Document {
        let body = format!(
            r#"{{"@context": ["x"], "id": "{DID}", "alsoKnownAs": {names},
                "verificationMethod": {method}, "service": {service}}}"#
        );
        Document::read(DID, body.as_bytes()).unwrap()
    }

    fn method(id: &str, kind: &str, key: &str) -> String {
        format!(r#"{{"id": "{id}", "type": "{kind}", "publicKeyMultibase": "{key}"}}"#)
    }

    fn keys(methods: &[String]) -> SigningKey {
        read(&format!("[{}]", methods.join(",")), "[]", "[]").key
    }

    fn known(text: &str) -> SigningKey {
        SigningKey::Known(PublicKey::from_multibase(text).unwrap())
    }

    #[test]
    fn a_key_is_named_by_full_and_relative_ids_and_in_three_forms() {
        for id in ["#atproto", &format!("{DID}#atproto")] {
            for (kind, text) in
                [("Multikey", K256), ("EcdsaSecp256k1VerificationKey2019", K256_OLD)]
            {
                assert_eq!(keys(&[method(id, kind, text)]), known(K256), "{id} {kind}");
            }
        }
        let p256 = "zDnaehEgRPL3eVHJMWa1b5ChEa7FS4VRssJmxexX9vGouqtqY";
        assert_eq!(keys(&[method("#atproto", "Multikey", p256)]), known(p256));
    }

    #[test]
    fn keys_that_cannot_be_used_are_told_apart() {
        assert_eq!(keys(&[]), SigningKey::Missing);
        assert_eq!(read("7", "7", "7").key, SigningKey::Missing);
        let missing = [
            method("#other", "Multikey", K256),
            method("did:plc:another#atproto", "Multikey", K256),
            method("atproto", "Multikey", K256),
            "7".into(),
            r#"{"id": 7}"#.into(),
        ];
        assert_eq!(keys(&missing), SigningKey::Missing);
        let ed25519 = "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        let unknown = [
            method("#atproto", "JsonWebKey2020", K256),
            method("#atproto", "Multikey", ed25519),
            method("#atproto", "Multikey", K256_OLD),
            method("#atproto", "EcdsaSecp256k1VerificationKey2019", K256),
            method("#atproto", "EcdsaSecp256r1VerificationKey2019", K256_OLD),
            r##"{"id": "#atproto", "type": "Multikey"}"##.into(),
        ];
        for method in &unknown {
            assert_eq!(keys(std::slice::from_ref(method)), SigningKey::Unknown, "{method}");
        }
        let then_known = [&unknown[..], &[method("#atproto", "Multikey", K256)]].concat();
        assert_eq!(keys(&then_known), known(K256), "the first that is valid");
    }

    #[test]
    fn a_service_of_another_kind_is_no_pds() {
        let pds = |services: &str| read("[]", services, "[]").pds;
        let service = |kind: &str, endpoint: &str| {
            format!(
                r##"{{"id": "#atproto_pds", "type": "{kind}", "serviceEndpoint": {endpoint}}}"##
            )
        };
        let good = service("AtprotoPersonalDataServer", r#""https://a.example""#);
        let other = service("Other", r#""https://b.example""#);
        assert_eq!(pds(&format!("[{other}, {good}]")).as_deref(), Some("https://a.example"));
        assert_eq!(pds(&format!("[{other}]")), None);
        let object = service("AtprotoPersonalDataServer", r#"{"uri": "https://a.b"}"#);
        assert_eq!(pds(&format!("[{object}]")), None);
    }

    #[test]
    fn the_first_name_that_is_a_handle_is_the_accounts() {
        let handle = |names: &str| read("[]", "[]", names).handle;
        let names = r#"["https://a.example", "at://did:plc:x", 7, "at://a/b", "at://Alice.test",
            "at://second.test"]"#;
        assert_eq!(handle(names).as_deref(), Some("alice.test"));
        assert_eq!(handle("[]"), None);
        assert_eq!(handle(r#""at://a.test""#), None);
    }

    #[test]
    fn what_is_no_document_of_this_account_is_an_error() {
        for body in ["", "[", "{\"id\""] {
            assert!(matches!(Document::read(DID, body.as_bytes()), Err(Error::Json(_))), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(Document::read(DID, deep.as_bytes()), Err(Error::Json(_))));
        for body in ["[]", "null", "{}", r#"{"id": 7}"#, r#"{"id": "did:plc:another"}"#] {
            assert!(matches!(Document::read(DID, body.as_bytes()), Err(Error::Other)), "{body}");
        }
        assert!(Document::read(DID, format!(r#"{{"id": "{DID}"}}"#).as_bytes()).is_ok());
    }
}
