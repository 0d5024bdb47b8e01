//! The only place where it is decided whether something may run.

mod verdict;

pub use verdict::*;
