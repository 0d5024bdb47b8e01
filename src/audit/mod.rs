//! The audit trail: JSON Lines, hash-chained, one record a line. docs/audit.md is its reference.
//!
//! The way of a record: [`AuditLog`] (handle) → `queue` → `writer` (a thread of its own) → `line` and `chain` (bytes) →
//! `file` (disk). `recover` finds the chain's end when a trail is opened again; `checkpoint` signs it. [`verify`] and
//! [`tail`] read what was written and share no state with the writer.

mod chain;
mod checkpoint;
mod clip;
mod error;
mod file;
mod line;
mod lines;
mod log;
mod queue;
mod record;
mod recover;
mod rotation;
mod statement;
pub mod tail;
mod time;
pub mod verify;
mod writer;

pub use chain::{Chain, Digest, Header, LineError, MAX_LINE};
pub use checkpoint::{Checkpoint, CheckpointError, PublicKey};
pub use error::AuditError;
pub use log::AuditLog;
pub use record::*;
