//! Configuration: the file's types, defaults by tier, validation and the flat [`Policy`].

mod model;
mod policy;

pub use model::*;
pub use policy::*;
