//! Connections to Postgres: connecting, logging in, the pool, prepared statements, cancel, and the server's catalog.

mod auth_query;
mod cancel;
mod catalog;
mod cohort;
mod connect_error;
mod connection;
mod endpoint;
mod gate;
mod health;
mod holders;
mod link;
mod login;
mod open;
mod pause;
mod pool;
mod prepared;
mod replicas;
mod role;
mod settings;

pub use auth_query::*;
pub use cancel::*;
pub use catalog::*;
pub use connect_error::*;
pub use connection::*;
pub use endpoint::*;
pub use holders::*;
pub use link::*;
pub use pause::*;
pub use pool::*;
pub use prepared::*;
pub use replicas::*;
pub use role::*;
pub use settings::*;
