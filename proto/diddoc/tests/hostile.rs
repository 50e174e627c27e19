//! Bytes of strangers: they may say nothing, never end badly.

use proptest::prelude::*;

const DOCUMENT: &str = r##"{"id": "did:web:example.com", "alsoKnownAs": ["at://a.test"],
    "verificationMethod": [{"id": "#atproto", "type": "Multikey", "publicKeyMultibase": "zQ3s"}],
    "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer"}]}"##;

proptest! {
    #[test]
    fn anything_is_read(data: Vec<u8>, text: String) {
        for data in [&data[..], text.as_bytes()] {
            diddoc::fuzz_document(data);
            diddoc::fuzz_handle(data);
        }
    }

    #[test]
    fn names_are_read_as_they_were_written(text in "@?([a-zA-Z0-9-]{1,20}[.]){1,3}[a-z0-9]{1,5}") {
        diddoc::fuzz_handle(text.as_bytes());
        diddoc::fuzz_handle(format!("did=did:web:{text}").as_bytes());
    }

    #[test]
    fn damaged_documents_are_read(at in 0..DOCUMENT.len(), byte: u8) {
        let mut body = DOCUMENT.as_bytes().to_vec();
        body[at] = byte;
        diddoc::fuzz_document(&body);
        diddoc::fuzz_document(&body[..at]);
    }
}
