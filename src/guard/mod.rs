//! Between a verdict and the wire: remembered judgements, and the ways in which an allowed text is run.

mod judge;
mod local;
mod plan;

pub use judge::*;
pub use local::*;
pub use plan::*;
