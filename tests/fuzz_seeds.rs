//! What the fuzz targets of `fuzz/` assert holds for their seeds, so that a change that breaks a target is seen without a fuzzer.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

#[path = "../fuzz/properties/boundedness.rs"]
mod boundedness;
#[path = "../fuzz/properties/classify.rs"]
mod classify;
#[path = "../fuzz/properties/frames.rs"]
mod frames;

use std::fs;
use std::path::Path;

fn each_seed(target: &str, check: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut checked = 0;
    for seed in fs::read_dir(seeds).unwrap() {
        check(&fs::read(seed.unwrap().path()).unwrap());
        checked += 1;
    }
    assert!(checked > 0, "{target} has no seeds");
}

#[test]
fn classify_holds_for_its_seeds() {
    each_seed("classify", classify::check);
}

#[test]
fn boundedness_holds_for_its_seeds() {
    each_seed("boundedness", boundedness::check);
}

#[test]
fn frames_holds_for_its_seeds() {
    each_seed("frames", frames::check);
}
