//! Connections to Postgres: connecting, logging in, the pool, prepared statements, cancel, and the server's catalog.

mod cancel;
mod catalog;
mod connect;
mod link;
mod login;
mod pool;
mod prepared;
mod settings;

pub use cancel::*;
pub use catalog::*;
pub use connect::*;
pub use link::*;
pub use pool::*;
pub use prepared::*;
pub use settings::*;
