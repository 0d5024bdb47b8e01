//! The only place where it is decided whether something may run.

mod catalog;
mod decide;
mod family;
mod guards;
mod limits;
mod rules;
mod verdict;

#[cfg(test)]
mod tests;

pub use catalog::*;
pub use decide::*;
pub use limits::*;
pub(crate) use rules::qualified;
pub use rules::{RULES, Rule, known_or_opaque, reads_texts_otherwise};
pub use verdict::*;
