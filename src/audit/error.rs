//! What can go wrong with the trail, and what to do then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a trail could not be opened, or a record not be kept. `Display` is the primary message, [`AuditError::hint`] the HINT.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// A file operation failed while the trail was opened.
    #[error("could not {action} \"{}\": {source}", path.display())]
    Io {
        /// What was tried: `open file`, `create directory` …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// Another process writes this trail.
    #[error("audit trail \"{}\" is being written by another process{}", path.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    Locked {
        /// The trail.
        path: PathBuf,
        /// The other process, where the lock file names it.
        pid: Option<u32>,
    },
    /// The end of the trail is not what this program writes: going on would hide what happened to it.
    #[error("audit trail \"{}\" cannot be continued: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The signing key cannot be used.
    #[error("audit signing key \"{}\" cannot be used: {reason}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The trail cannot be written at the moment (disk full, I/O error); the record is not kept.
    #[error("audit trail cannot be written: {reason}")]
    Failed {
        /// The system's answer.
        reason: Arc<str>,
    },
    /// Records come faster than they can be written; the record is not kept.
    #[error("audit queue is full: {records} records are waiting to be written")]
    QueueFull {
        /// How many wait.
        records: usize,
    },
    /// The trail was closed; the record is not kept.
    #[error("audit trail is closed")]
    Closed,
}

impl AuditError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        AuditError::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// What to do, as a sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            AuditError::Io { .. } => "Check that the directory exists, is writable for the proxy's user and has space.",
            AuditError::Locked { .. } => "Stop the other process, or give this one its own path in [audit].",
            AuditError::Broken { .. } => {
                "Run pgbelay audit verify on the trail's files. To begin a new trail, move them and their .checkpoint file \
                 away together and keep them."
            }
            AuditError::Key { .. } => "Make one with: openssl genpkey -algorithm ed25519 -out audit.key",
            AuditError::Failed { .. } => {
                "Free space on, or repair, the disk that holds the audit trail; writing resumes by itself."
            }
            AuditError::QueueFull { .. } => {
                "The disk that holds the audit trail is too slow for the load; try again later."
            }
            AuditError::Closed => "The proxy is stopping; connect again.",
        }
    }
}
