//! From a file to a checked [`Config`]: all errors at once.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::model::{Admin, Config};
use super::problem::{ConfigErrors, Problem};
use super::reader::{Reader, Section, Surroundings};
use super::{databases, listen, tiers, users};

/// A configuration that can be used, and what is doubtful in it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but is probably not meant, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Loads a file with the process's environment; warnings go to the log.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let Loaded { config, warnings } = load_with_warnings(path)?;
    for warning in warnings {
        tracing::warn!(target: "pgbelay::config", "{warning}");
    }
    Ok(config)
}

/// Loads a file with the process's environment.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load_with_warnings(path: &Path) -> Result<Loaded, ConfigErrors> {
    read(&read_file(path)?, path, Surroundings::Full(&|name| std::env::var(name).ok()))
}

/// Loads `[admin]` alone, with the process's environment; `None` when the file has none.
///
/// # Errors
/// Everything that is wrong with `[admin]`, or with the file as TOML.
pub fn load_admin(path: &Path) -> Result<Option<Admin>, ConfigErrors> {
    let text = read_file(path)?;
    let reader = Reader::new(path, &text, Surroundings::Full(&|name| std::env::var(name).ok()));
    let table = reader.parse()?;
    // No listener is in the way: the program that runs has been through that check.
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let admin = listen::read_admin(&reader.root(&table), nowhere);
    let problems = match reader.finish() {
        Ok(_) => vec![],
        Err(errors) => errors.problems().iter().filter(|p| p.key.starts_with("admin")).cloned().collect(),
    };
    if problems.is_empty() { Ok(admin) } else { Err(ConfigErrors::new(problems)) }
}

/// Loads only what the file itself says: no environment, no other file. Policies, names and places are those of
/// [`load`]; passwords are absent, and the users' verifiers are empty, so that nobody can log in with them.
///
/// # Errors
/// Everything that is wrong in the text, at once.
pub fn load_without_secrets(path: &Path) -> Result<Config, ConfigErrors> {
    read(&read_file(path)?, path, Surroundings::TextOnly).map(|loaded| loaded.config)
}

/// Checks a text as [`load_with_warnings`] would, with another environment. `path` is named in errors, and relative
/// paths are meant from its directory.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigErrors> {
    read(text, path, Surroundings::Full(env))
}

/// Every key that a configuration may have, names replaced by capitals: `databases.NAME.TIER.url`.
pub fn known_keys() -> BTreeSet<String> {
    // Absent tables are asked for their keys as well; only the named ones must be there once.
    const NAMED: &str = "[databases.x.int]\n[users.x]\n";
    let reader = Reader::new(Path::new(""), NAMED, Surroundings::TextOnly);
    if let Ok(table) = reader.parse() {
        read_sections(&reader.root(&table));
    }
    reader.known_keys()
}

fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    let bytes = fs::read(path).map_err(|error| {
        let advice = "name the configuration with --config FILE or in PGBELAY_CONFIG";
        ConfigErrors::of_file(path, format!("cannot be read: {error}; {advice}"))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        ConfigErrors::of_file(path, format!("is not UTF-8 (line {line}); save it as UTF-8"))
    })
}

fn read(text: &str, path: &Path, surroundings: Surroundings<'_>) -> Result<Loaded, ConfigErrors> {
    let reader = Reader::new(path, text, surroundings);
    let table = reader.parse()?;
    let config = read_sections(&reader.root(&table));
    Ok(Loaded { warnings: reader.finish()?, config: Config { source: path.to_owned(), ..config } })
}

/// The second stage: what it returns counts only if the reader noted no error.
fn read_sections(root: &Section<'_>) -> Config {
    let (listen, drain) = listen::read_listen(root);
    let admin = listen::read_admin(root, listen.address);
    let audit = listen::read_audit(root);
    let databases = databases::read(root);
    let users = users::read(root, &listen);
    let (policies, pools) = tiers::read(root);
    Config { source: Default::default(), listen, admin, audit, databases, users, policies, pools, drain }
}
