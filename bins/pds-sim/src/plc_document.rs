//! What the directory makes of a state: the DID document, and its data.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::operation::State;

/// The DID document of a state, as the official server gives it.
pub fn document(did: &str, state: &State) -> Value {
    let mut context = vec!["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];
    let mut methods = Vec::new();
    for (name, key) in &state.verification_methods {
        let suite = match key.get(8..12) {
            Some("zQ3s") => Some("https://w3id.org/security/suites/secp256k1-2019/v1"),
            Some("zDna") => Some("https://w3id.org/security/suites/ecdsa-2019/v1"),
            _ => None,
        };
        context.extend(suite.filter(|suite| !context.contains(suite)));
        methods.push(json!({
            "id": format!("{did}#{name}"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key.strip_prefix("did:key:").unwrap_or(key),
        }));
    }
    let services = state.services.iter().map(|(name, service)| {
        json!({
            "id": format!("#{name}"),
            "type": service.kind,
            "serviceEndpoint": service.endpoint,
        })
    });
    json!({
        "@context": context,
        "id": did,
        "alsoKnownAs": state.also_known_as,
        "verificationMethod": methods,
        "service": services.collect::<Vec<_>>(),
    })
}

/// The answer of `/DID/data`.
pub fn data(did: &str, state: &State) -> Value {
    let fields: BTreeMap<&str, Value> = [
        ("did", json!(did)),
        ("verificationMethods", json!(state.verification_methods)),
        ("rotationKeys", json!(state.rotation_keys)),
        ("alsoKnownAs", json!(state.also_known_as)),
        ("services", json!(state.services)),
    ]
    .into();
    json!(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Service;

    #[test]
    fn the_document_is_the_one_that_the_directory_gave() {
        let state = State {
            services: [(
                "atproto_pds".to_owned(),
                Service {
                    kind: "AtprotoPersonalDataServer".to_owned(),
                    endpoint: "https://pds.example.com".to_owned(),
                },
            )]
            .into(),
            also_known_as: vec!["at://a.example.com".to_owned()],
            rotation_keys: Vec::new(),
            verification_methods: [(
                "atproto".to_owned(),
                "did:key:zQ3shrc8v5X6ZiANcZxA6JerfT2T4SskeCGxpmtDfMuHF9KRj".to_owned(),
            )]
            .into(),
        };
        let did = "did:plc:2a7ygipkrbh544aqhcav53oy";
        let want = json!({
            "@context": [
                "https://www.w3.org/ns/did/v1",
                "https://w3id.org/security/multikey/v1",
                "https://w3id.org/security/suites/secp256k1-2019/v1"
            ],
            "id": did,
            "alsoKnownAs": ["at://a.example.com"],
            "verificationMethod": [{
                "id": format!("{did}#atproto"),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": "zQ3shrc8v5X6ZiANcZxA6JerfT2T4SskeCGxpmtDfMuHF9KRj"
            }],
            "service": [{
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.example.com"
            }]
        });
        assert_eq!(document(did, &state), want);
    }
}
