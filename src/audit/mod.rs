//! The audit trail: JSON Lines, hash-chained, one record a line.

mod record;

pub use record::*;
