//! Any text: reading it ends, and what is found does not depend on what does not matter.
#![no_main]

#[path = "../properties/classify.rs"]
mod classify;

libfuzzer_sys::fuzz_target!(|data: &[u8]| classify::check(data));
