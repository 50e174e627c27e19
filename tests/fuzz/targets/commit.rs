#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| atproto::commit::fuzz_commit(data));
