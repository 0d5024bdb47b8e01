//! The first stage of loading: TOML with the place of every key and value, read so that every mistake is found at once.
//!
//! A [`Section`] knows which keys it was asked for. What else the file holds in it is an unknown key, so the list of
//! known keys cannot differ from what is read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigErrors, Problem};

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What loading may look at besides the text.
#[derive(Clone, Copy)]
pub(super) enum Surroundings<'a> {
    /// The environment, and files of secrets and certificates.
    Full(Env<'a>),
    /// Nothing: secrets stay empty and files unread.
    TextOnly,
}

/// Where a value stands: its dotted key and byte offset; no offset for what the file does not have.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: String,
    offset: Option<usize>,
}

/// A value and where it stands, for checks that come later.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), place: self.place }
    }
}

/// One pass over one file; collects problems.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    surroundings: Surroundings<'a>,
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, surroundings: Surroundings<'a>) -> Self {
        let (errors, warnings, keys) = Default::default();
        Self { file, text, surroundings, errors, warnings, keys }
    }

    /// Parses the TOML text; on a syntax error all of them are returned, as nothing else can be judged then.
    pub(super) fn parse(&self) -> Result<DeTable<'a>, ConfigErrors> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Ok(root.into_inner());
        }
        for error in errors {
            let offset = error.span().map(|span| span.start);
            self.error(&Place { key: String::new(), offset }, format!("not valid TOML: {}", error.message()));
        }
        Err(ConfigErrors::new(self.errors.take()))
    }

    /// The whole file as a section.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section {
            reader: self,
            table: Some(table),
            place: Place { key: String::new(), offset: None },
            pattern: String::new(),
            asked: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    pub(super) fn error(&self, place: &Place, message: impl Into<String>) {
        note(&self.errors, self.problem(place, message.into()));
    }

    pub(super) fn warn(&self, place: &Place, message: impl Into<String>) {
        note(&self.warnings, self.problem(place, message.into()));
    }

    /// Takes the value out of a result; its error is noted at the place.
    pub(super) fn check<T>(&self, place: &Place, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(place, message)).ok()
    }

    fn problem(&self, place: &Place, message: String) -> Problem {
        let position = place.offset.and_then(|offset| self.text.get(..offset)).map(|before| {
            let line_start = before.rfind('\n').map_or(0, |i| i + 1);
            (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
        });
        Problem { file: self.file.to_owned(), position, key: place.key.clone(), message }
    }

    /// Whether files may be read.
    pub(super) fn reads_files(&self) -> bool {
        matches!(self.surroundings, Surroundings::Full(_))
    }

    /// An environment variable: an error names it; `Ok(None)` when only the text is checked.
    pub(super) fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match self.surroundings {
            Surroundings::TextOnly => Ok(None),
            Surroundings::Full(env) => match env(name) {
                Some(text) if text.is_empty() => {
                    Err(format!("the environment variable {name} is empty; set it to the password"))
                }
                Some(text) => Ok(Some(text)),
                None => Err(format!("the environment variable {name} is not set; export it before starting pgbelay")),
            },
        }
    }

    /// Relative paths are meant from the configuration file's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Every key asked for so far, names replaced: `databases.NAME.TIER.url`.
    pub(super) fn known_keys(&self) -> BTreeSet<String> {
        self.keys.borrow().clone()
    }

    /// The errors, or else the warnings.
    pub(super) fn finish(&self) -> Result<Vec<Problem>, ConfigErrors> {
        let errors = self.errors.take();
        let mut warnings = self.warnings.take();
        warnings.sort_by_key(|problem| problem.position);
        if errors.is_empty() { Ok(warnings) } else { Err(ConfigErrors::new(errors)) }
    }
}

/// Notes a problem once: two URLs may share a file.
fn note(problems: &RefCell<Vec<Problem>>, problem: Problem) {
    let mut problems = problems.borrow_mut();
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// One table of the file, or an absent one.
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    table: Option<&'a DeTable<'a>>,
    pub(super) place: Place,
    pattern: String,
    asked: RefCell<Vec<String>>,
    refused: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    /// Whether the file has this key, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether the file has this table.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Reads an optional value; a wrong one is noted as an error and gives `None`.
    pub(super) fn get<T>(&self, key: &str, read: impl FnOnce(&DeValue<'_>) -> Result<T, String>) -> Option<At<T>> {
        self.ask(key, key);
        let (_, value, place) = self.find(key)?;
        let value = self.reader.check(&place, read(value))?;
        Some(At { value, place })
    }

    /// Reads a value that must be there if the table is; `hint` says what to write.
    pub(super) fn require<T>(
        &self,
        key: &str,
        hint: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.get(key, read);
        if self.is_present() && !self.has(key) {
            self.reader.error(&self.place_of(key), format!("is missing; {hint}"));
        }
        value
    }

    /// A key that is refused with a message of its own.
    pub(super) fn refuse(&self, key: &str, message: &str) {
        if let Some((_, _, place)) = self.find(key) {
            self.refused.borrow_mut().push(key.to_owned());
            self.reader.error(&place, message);
        }
    }

    /// A table in this one.
    pub(super) fn table(&self, key: &str) -> Section<'a> {
        self.named(key, key)
    }

    /// A table in this one whose key is one of several, called `placeholder` in the list of known keys.
    pub(super) fn named(&self, key: &str, placeholder: &str) -> Section<'a> {
        self.ask(key, placeholder);
        let found = self.find(key);
        let place = found.as_ref().map_or_else(|| self.place_of(key), |(_, _, place)| place.clone());
        let table = found.and_then(|(span, value, _)| match value {
            DeValue::Table(table) => Some((span, table)),
            other => {
                self.reader.error(&place, format!("must be a table, not {}", article(other.type_str())));
                None
            }
        });
        // The header's key, not the first value, is where a missing key is reported.
        let place = table.as_ref().map_or(place.clone(), |(span, _)| Place { offset: Some(span.start), ..place });
        Section {
            reader: self.reader,
            table: table.map(|(_, table)| table),
            place,
            pattern: join(&self.pattern, placeholder),
            asked: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// The tables in this one, by names that the user chose.
    pub(super) fn entries(&self) -> Vec<(String, Section<'a>)> {
        let names: Vec<String> =
            self.table.into_iter().flatten().map(|(key, _)| key.get_ref().clone().into_owned()).collect();
        names.into_iter().map(|name| (name.clone(), self.named(&name, "NAME"))).collect()
    }

    /// Where a key's value stands, for an error that is found later.
    pub(super) fn place_of_value(&self, key: &str) -> Place {
        self.find(key).map_or_else(|| self.place_of(key), |(_, _, place)| place)
    }

    fn ask(&self, key: &str, placeholder: &str) {
        self.asked.borrow_mut().push(key.to_owned());
        self.reader.keys.borrow_mut().insert(join(&self.pattern, placeholder));
    }

    fn find(&self, key: &str) -> Option<(Range<usize>, &'a DeValue<'a>, Place)> {
        let (found, value) = self.table?.iter().find(|(k, _)| k.get_ref().as_ref() == key)?;
        let place = Place { key: join(&self.place.key, key), offset: Some(value.span().start) };
        Some((found.span(), value.get_ref(), place))
    }

    fn place_of(&self, key: &str) -> Place {
        Place { key: join(&self.place.key, key), offset: self.place.offset }
    }
}

impl Drop for Section<'_> {
    /// Refuses every key that was not asked for. Here, so that no section can forget it.
    fn drop(&mut self) {
        let (asked, refused) = (self.asked.borrow(), self.refused.borrow());
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if asked.iter().chain(refused.iter()).any(|known| known == name) {
                continue;
            }
            let place = Place { key: join(&self.place.key, name), offset: Some(key.span().start) };
            let known = || {
                let mut known: Vec<&str> = asked.iter().map(String::as_str).collect();
                known.sort_unstable();
                format!("known here are {}", known.join(", "))
            };
            let hint = nearest(name, &asked).map_or_else(known, |near| format!("did you mean \"{near}\"?"));
            self.reader.error(&place, format!("unknown key; {hint}"));
        }
    }
}

/// A dotted key; a name that is not a bare TOML key is quoted.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The known key that was probably meant.
fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let distance = |key: &str| strsim::damerau_levenshtein(&name.to_lowercase(), key);
    let near = known.iter().min_by_key(|key| distance(key))?;
    let likely = distance(near) <= 1 + name.chars().count() / 4;
    let extends = || known.iter().find(|key| name.len() >= 3 && (key.starts_with(name) || name.starts_with(*key)));
    if likely { Some(near) } else { extends().map(String::as_str) }
}

pub(super) fn article(type_name: &str) -> String {
    let an = type_name.starts_with(['a', 'i', 'o']);
    format!("{} {type_name}", if an { "an" } else { "a" })
}
