//! Any predicate: what is said of it follows the rules of logic, however it is written.
#![no_main]

#[path = "../properties/boundedness.rs"]
mod boundedness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| boundedness::check(data));
