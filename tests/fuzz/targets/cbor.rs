#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| atproto::cbor::fuzz_cbor(data));
