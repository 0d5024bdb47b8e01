//! Where the bytes go: the one trait between the writer and the disk, and the real file behind it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::rotation::{directory, rotated_path};

/// Readable for the owner and a group of auditors; the trail holds SQL texts.
const MODE: u32 = 0o640;

/// A place that lines are appended to. After an error the writer truncates to what it knows to be good.
pub(super) trait Sink: Send {
    /// Appends all bytes; on an error some of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything appended would survive a power loss.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the current file back to a length.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Puts the current file away under a name that holds its last record's `seq`, and returns that name. What is appended
    /// next goes to a new, empty file. After an error the current file is still current.
    fn rotate(&mut self, last: u64) -> io::Result<String>;
}

/// The trail's current file. Its lock lives as long as it does.
#[derive(Debug)]
pub(super) struct FileSink {
    path: PathBuf,
    /// `None` between a rotation and the next append.
    file: Option<File>,
    /// A name in the directory changed and has not been synced.
    directory_changed: bool,
    /// Held, never read: dropping it lets another process in.
    _lock: File,
}

impl FileSink {
    /// Takes over an open, locked trail.
    pub(super) fn new(path: PathBuf, file: File, lock: File) -> Self {
        // The file may have been made a moment ago.
        Self { path, file: Some(file), directory_changed: true, _lock: lock }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(open_for_append(&self.path)?)),
        }
    }
}

/// Opens the current file, or makes it.
pub(super) fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)
}

impl Sink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file()?.sync_data()?;
        if self.directory_changed {
            File::open(directory(&self.path))?.sync_all()?;
            self.directory_changed = false;
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.set_len(len),
            None => Ok(()),
        }
    }

    fn rotate(&mut self, last: u64) -> io::Result<String> {
        let target = rotated_path(&self.path, last);
        if target.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("\"{}\" exists", target.display())));
        }
        std::fs::rename(&self.path, &target)?;
        self.file = None;
        self.directory_changed = true;
        Ok(target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default())
    }
}
