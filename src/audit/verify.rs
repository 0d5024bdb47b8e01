//! Reads a trail from its first record to its last and reports whatever does not fit: in constant memory, and without trusting
//! a byte of it.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::chain::{Digest, Header};
use super::checkpoint::{Checkpoint, PublicKey, checkpoint_path};
use super::lines::{Found, read_line};
use super::time;

mod finding;
mod walk;

pub use finding::{Finding, Note, Place, Problem};
use walk::Walk;

/// What to hold the trail against, besides itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The key that checkpoints must be signed with. With it, a trail without a checkpoint is a problem.
    pub public_key: Option<PublicKey>,
    /// A checkpoint, for instance one that was kept elsewhere. Without it `<file>.checkpoint` is used where it exists.
    pub checkpoint: Option<PathBuf>,
    /// Whether the trail's beginning must be there.
    pub head: Head,
}

/// Whether records may be missing before the first one given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// The trail must begin at seq 1.
    #[default]
    Required,
    /// Older files were archived: what is given must hold together, from wherever it begins.
    Archived,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whole records.
    pub records: u64,
    /// Lowest `seq`.
    pub first: Option<u64>,
    /// Highest `seq`.
    pub last: Option<u64>,
    /// SHA-256 of the line with the highest `seq`: note it down elsewhere, and a later cut below it can be shown.
    pub last_hash: Option<Digest>,
    /// How many problems were reported.
    pub problems: u64,
}

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read file \"{}\": {source}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

/// Verifies the trail that `files` hold, given in any order, and reports each finding as it is made.
pub fn verify(files: &[PathBuf], options: &Options, report: &mut dyn FnMut(Finding)) -> Result<Summary, ReadError> {
    // Read before the trail: records that are written meanwhile must not look cut off.
    let checkpoints = checkpoints(files, options);
    let files = in_order(files)?;
    let mut walk = Walk::new(options.head, report);
    for checkpoint in checkpoints {
        match checkpoint {
            Ok(checkpoint) => walk.expect(checkpoint, options.public_key.as_ref()),
            Err((path, error)) => walk.problem(Place::file(&path), Problem::Checkpoint(error)),
        }
    }
    if walk.expects_nothing() {
        match options.public_key {
            Some(_) => walk.problem(Place::default(), Problem::NoCheckpoint),
            None => walk.note(Note::NoCheckpoint),
        }
    }
    for path in &files {
        read(path, &mut walk).map_err(|source| ReadError { path: path.clone(), source })?;
    }
    Ok(walk.finish())
}

fn read(path: &Path, walk: &mut Walk<'_>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut line = Vec::new();
    let mut place = Place::file(path);
    loop {
        place.line += 1;
        match read_line(&mut reader, &mut line)? {
            Found::Whole => walk.line(&place, &line),
            Found::Torn => walk.torn(&place, &line),
            Found::TooLong => walk.too_long(&place),
            Found::End => return Ok(()),
        }
    }
}

type FoundCheckpoint = Result<(PathBuf, Checkpoint), (PathBuf, super::CheckpointError)>;

fn checkpoints(files: &[PathBuf], options: &Options) -> Vec<FoundCheckpoint> {
    let candidates = match &options.checkpoint {
        Some(path) => vec![path.clone()],
        None => files.iter().map(|f| checkpoint_path(f)).collect(),
    };
    candidates
        .into_iter()
        .filter_map(|path| match Checkpoint::read(&path) {
            Ok(Some(checkpoint)) => Some(Ok((path, checkpoint))),
            Ok(None) if options.checkpoint.is_some() => {
                Some(Err((path, super::CheckpointError::Unreadable("there is no such file".into()))))
            }
            Ok(None) => None,
            Err(error) => Some(Err((path, error))),
        })
        .collect()
}

/// The files by the `seq` each begins with; a file given twice is read once.
fn in_order(files: &[PathBuf]) -> Result<Vec<PathBuf>, ReadError> {
    let mut seen = Vec::new();
    let mut keyed = Vec::new();
    for path in files {
        let fail = |source| ReadError { path: path.clone(), source };
        let real = path.canonicalize().map_err(fail)?;
        if !seen.contains(&real) {
            keyed.push((first_seq(path).map_err(fail)?, path.clone()));
            seen.push(real);
        }
    }
    keyed.sort_by_key(|(first, _)| *first);
    Ok(keyed.into_iter().map(|(_, path)| path).collect())
}

/// The `seq` of a file's first record: that of its first unharmed line, less the lines before it. A file that has none stands
/// last.
fn first_seq(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    let mut before = 0;
    loop {
        match read_line(&mut reader, &mut line)? {
            Found::Whole | Found::Torn => {
                if let Ok(header) = Header::read(&line) {
                    return Ok(header.seq.saturating_sub(before));
                }
            }
            Found::TooLong => {}
            Found::End => return Ok(u64::MAX),
        }
        before += 1;
    }
}

#[cfg(test)]
mod tests;
