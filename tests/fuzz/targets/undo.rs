#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| atproto::mst::fuzz_undo(data));
