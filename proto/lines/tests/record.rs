//! Records as JSON, against the fixtures of the network's data model.

use std::path::Path;

use data_encoding::BASE64_NOPAD;
use serde_json::Value;

#[test]
fn the_data_model_fixtures_come_out_as_their_json() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vectors/repo");
    let Ok(text) = std::fs::read(root.join("data-model-fixtures.json")) else { return };
    let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let cbor = case["cbor_base64"].as_str().unwrap().trim_end_matches('=');
        let mut out = Vec::new();
        lines::record(&mut out, &BASE64_NOPAD.decode(cbor.as_bytes()).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), case["json"]);
    }
}

proptest::proptest! {
    #[test]
    fn what_is_well_formed_comes_out_as_json_and_nothing_else(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..24),
    ) {
        let mut out = Vec::new();
        let written = lines::record(&mut out, &bytes);
        proptest::prop_assert_eq!(written.is_ok(), atproto::loose::walk(&bytes).is_ok());
        proptest::prop_assert_eq!(written.is_ok(), serde_json::from_slice::<Value>(&out).is_ok());
    }
}
