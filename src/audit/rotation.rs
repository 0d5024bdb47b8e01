//! Names of rotated files: `audit.jsonl` becomes `audit-<seq of its last record, 20 digits>.jsonl` beside it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Digits of the largest `u64`, so that names sort as their numbers do.
const DIGITS: usize = 20;

/// Where the trail's current file goes when its last record is `last`.
pub(super) fn rotated_path(current: &Path, last: u64) -> PathBuf {
    let (stem, extension) = name_parts(current);
    current.with_file_name(format!("{stem}-{last:0DIGITS$}.{extension}"))
}

/// The trail's rotated files with the `seq` of the last record of each, oldest first.
pub(super) fn rotated_files(current: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (stem, extension) = name_parts(current);
    let mut found = Vec::new();
    for entry in directory(current).read_dir()? {
        let path = entry?.path();
        let last = path.file_name().and_then(OsStr::to_str).and_then(|name| {
            let digits = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?.strip_suffix('.')?;
            let all_digits = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            if all_digits { digits.parse().ok() } else { None }
        });
        if let Some(last) = last {
            found.push((last, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The directory that holds the trail.
pub(super) fn directory(current: &Path) -> &Path {
    match current.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// `path` with something behind its whole name: `audit.jsonl.lock`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn name_parts(path: &Path) -> (String, String) {
    let text =
        |part: Option<&OsStr>, default: &str| part.map_or(default.to_owned(), |p| p.to_string_lossy().into_owned());
    (text(path.file_stem(), "audit"), text(path.extension(), "jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_found_in_order_and_strangers_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join("audit.jsonl");
        for name in [
            "audit.jsonl",
            "audit-00000000000000000100.jsonl",
            "audit-00000000000000000020.jsonl",
            "audit-20.jsonl",
            "audit-000000000000000000x1.jsonl",
            "other-00000000000000000020.jsonl",
            "audit-00000000000000000030.jsonl.gz",
            "audit.jsonl.lock",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = rotated_files(&current).unwrap();
        assert_eq!(found, [(20, rotated_path(&current, 20)), (100, rotated_path(&current, 100))]);
    }

    #[test]
    fn a_bare_file_name_lives_in_the_working_directory() {
        assert_eq!(directory(Path::new("audit.jsonl")), Path::new("."));
        assert_eq!(rotated_path(Path::new("a/log"), 1), Path::new("a/log-00000000000000000001.jsonl"));
        assert_eq!(beside(Path::new("a/b.jsonl"), ".lock"), Path::new("a/b.jsonl.lock"));
    }
}
