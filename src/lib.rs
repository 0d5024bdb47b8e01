//! pgbelay, a Postgres wire-protocol safety proxy.
//!
//! The modules stand in the order in which data flows through them; see docs/architecture.md.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod dev;
pub mod policy;
pub mod sql;
pub mod telemetry;
