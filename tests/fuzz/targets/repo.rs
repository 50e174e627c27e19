#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| atproto::repo::fuzz_repo(data));
