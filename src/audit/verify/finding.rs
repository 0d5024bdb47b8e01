//! What verification can say.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::chain::LineError;
use super::super::checkpoint::CheckpointError;

/// Something found in a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The trail is not what was written.
    Problem(Place, Problem),
    /// Worth knowing, but no fault of the trail.
    Note(Note),
}

/// Where something was found; shown as `file:line`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` for the trail as a whole.
    pub file: Option<PathBuf>,
    /// 1-based; 0 for the file as a whole.
    pub line: u64,
}

impl Place {
    pub(super) fn file(path: &Path) -> Self {
        Self { file: Some(path.to_owned()), line: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (None, _) => f.write_str("trail"),
            (Some(file), 0) => write!(f, "{}", file.display()),
            (Some(file), line) => write!(f, "{}:{line}", file.display()),
        }
    }
}

/// A way in which a trail is not what was written; `Display` says what it means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A line is not a record as it was written.
    #[error("line was changed{}: {error}", seq.map(|s| format!(" (it should be seq {s})")).unwrap_or_default())]
    Changed {
        /// The `seq` that belongs here, where the lines before tell.
        seq: Option<u64>,
        /// What is wrong.
        error: LineError,
    },
    /// A line is longer than any record.
    #[error("line is longer than any record")]
    TooLong,
    /// A file ends in the middle of a line.
    #[error(
        "file ends in a torn line{}: a crash or a cut; if the proxy is writing this file right now, verify again",
        if *.whole { " (only its newline is missing)" } else { "" }
    )]
    Torn {
        /// Whether only the newline is missing.
        whole: bool,
    },
    /// An unharmed record does not name the hash of the line before it.
    #[error(
        "seq {seq} does not continue the line before it: seq {} was replaced, or changed and given a new hash",
        seq - 1
    )]
    Broken {
        /// The record that does not fit.
        seq: u64,
    },
    /// The record with seq 1 names a line before it.
    #[error("seq 1 names a line before it: the trail's beginning was replaced")]
    FirstNamesPrevious,
    /// Records are missing before this place.
    #[error("{} missing before this line: removed, or in a file that was not given", records(*from, *to))]
    Missing {
        /// First missing `seq`.
        from: u64,
        /// Last missing `seq`.
        to: u64,
    },
    /// The trail does not begin with seq 1.
    #[error(
        "{} missing: the trail's head was cut off, or is in an older file that was not given (--partial if it is archived)",
        records(1, *first - 1)
    )]
    CutHead {
        /// The first `seq` there is.
        first: u64,
    },
    /// A record stands behind one with a higher `seq`.
    #[error("seq {seq} stands behind seq {after}: lines were swapped or moved")]
    Moved {
        /// The record.
        seq: u64,
        /// The record that should follow it.
        after: u64,
    },
    /// A `seq` that was there before.
    #[error("seq {seq} was there before: a line was repeated or inserted")]
    Repeated {
        /// The record.
        seq: u64,
    },
    /// There is no record at all.
    #[error("there are no records: a trail holds at least the one of its start")]
    Empty,
    /// The trail ends before its checkpoint.
    #[error(
        "trail ends at seq {last}, but its checkpoint was signed at seq {checkpoint} on {time}: the tail was cut off"
    )]
    CutTail {
        /// The last `seq` there is; 0 for none.
        last: u64,
        /// The checkpoint's `seq`.
        checkpoint: u64,
        /// When it was signed.
        time: String,
    },
    /// The record that a checkpoint was signed for is another one now.
    #[error("seq {seq} is not the record that the checkpoint was signed for: the trail was rewritten")]
    Rewritten {
        /// The record.
        seq: u64,
    },
    /// A checkpoint that proves nothing.
    #[error("{0}")]
    Checkpoint(CheckpointError),
    /// A key was given, but there is no checkpoint.
    #[error("there is no checkpoint to check with the public key: it was removed, or no signing_key is configured")]
    NoCheckpoint,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// The times of the records run backwards somewhere.
    #[error("times run backwards in {count} places, first at {place} (seq {seq}): the clock was set")]
    TimeBackwards {
        /// First place.
        place: Place,
        /// First record.
        seq: u64,
        /// How often.
        count: u64,
    },
    /// Times before 2020 or in the future.
    #[error("{count} records have an absurd time, first at {place} (seq {seq})")]
    TimeAbsurd {
        /// First place.
        place: Place,
        /// First record.
        seq: u64,
        /// How many.
        count: u64,
    },
    /// There is no checkpoint.
    #[error("there is no checkpoint: a tail that was cut off cannot be seen")]
    NoCheckpoint,
    /// A checkpoint's own key was trusted.
    #[error("checkpoint at seq {seq} is trusted by the key it names itself; give --public-key to know who signed it")]
    EmbeddedKey {
        /// The checkpoint's `seq`.
        seq: u64,
    },
    /// A checkpoint fits.
    #[error("checkpoint at seq {seq} of {time} fits")]
    CheckpointFits {
        /// The checkpoint's `seq`.
        seq: u64,
        /// When it was signed.
        time: String,
    },
    /// A checkpoint stands before the first record given.
    #[error("checkpoint at seq {seq} is older than the first record given: it was not compared")]
    CheckpointBefore {
        /// The checkpoint's `seq`.
        seq: u64,
    },
}

fn records(from: u64, to: u64) -> String {
    if from == to { format!("record {from} is") } else { format!("records {from} to {to} are") }
}
