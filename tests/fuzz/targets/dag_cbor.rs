//! Strict reading against another implementation: what is strict here is what `serde_ipld_dagcbor`
//! reads and writes back as it was.
#![no_main]

use ipld_core::ipld::Ipld;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let theirs = serde_ipld_dagcbor::from_slice::<Ipld>(data);
    let same = theirs.map(|value| serde_ipld_dagcbor::to_vec(&value).ok());
    let is_canonical = matches!(&same, Ok(Some(again)) if again == data);
    // The other one knows neither our limit on depth nor CIDs of two kinds alone.
    let ours = atproto::cbor::check(data).is_ok();
    assert!(is_canonical || !ours, "strict here, and not there");
});
