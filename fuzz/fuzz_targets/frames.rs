//! Any bytes on the wire: messages are cut the same however they arrive, and what is read off one is all there is in it.
#![no_main]

#[path = "../properties/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::check(data));
