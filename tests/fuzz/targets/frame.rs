#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| frame::fuzz_decoder(data));
