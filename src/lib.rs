//! pgbelay, a Postgres wire-protocol safety proxy.
//!
//! The modules stand in the order in which data flows through them; see docs/architecture.md.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod dev;
pub mod guard;
pub mod listener;
pub mod policy;
pub mod server;
pub mod session;
pub mod sql;
pub mod startup;
pub mod stream;
pub mod systemd;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod wire;
