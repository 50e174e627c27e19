#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| atproto::car::fuzz_car(data));
