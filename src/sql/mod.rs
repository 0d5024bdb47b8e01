//! SQL text to [`Facts`]. Pure: no I/O, no clock, no policy.

mod facts;

pub use facts::*;
