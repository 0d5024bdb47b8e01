//! What is wrong in a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One error or warning, with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file.
    pub file: PathBuf,
    /// Line and column, both from 1, the column in characters; `None` when it concerns the whole file.
    pub position: Option<(usize, usize)>,
    /// The dotted key, such as `databases.app.prod.url`; empty when there is none.
    pub key: String,
    /// What is wrong and what to do about it. Never holds a secret or the text of a URL.
    pub message: String,
}

impl Problem {
    /// The line, from 1.
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> Option<usize> {
        self.position.map(|(_, column)| column)
    }
}

impl fmt::Display for Problem {
    /// `config/pgbelay.toml:12: databases.app.prod.url: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, _)) = self.position {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that is wrong in a configuration, in the order of the file; displayed one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// Sorts the problems by place. `problems` should not be empty.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.position);
        Self(problems)
    }

    /// One problem of the file as a whole.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self(vec![Problem { file: file.to_owned(), position: None, key: String::new(), message }])
    }

    /// All of them, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
