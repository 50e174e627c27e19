#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| atproto::event::fuzz_event(data));
