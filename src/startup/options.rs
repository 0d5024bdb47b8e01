//! The parameters of a StartupMessage.

use std::sync::Arc;

use crate::policy::sqlstate;
use crate::wire::Report;

/// Names and values as sent.
pub(super) type Parameters = Vec<(String, String)>;

/// Most settings of one start-up message.
const MAX_SETTINGS: usize = 100;

/// What a StartupMessage asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartupOptions {
    pub(super) user: String,
    /// `app`, `app:prod` or an alias.
    pub(super) database: String,
    /// `pgbelay.reason`.
    pub(super) reason: Option<Arc<str>>,
    /// All other settings, lower case, in the order in which they are set: those of `options` first.
    pub(super) settings: Vec<(String, String)>,
}

impl StartupOptions {
    /// Reads the parameters; the error is ready to be told.
    pub(super) fn read(parameters: Parameters) -> Result<Self, Box<Report>> {
        let mut user = None;
        let mut database = None;
        let mut settings = vec![];
        let mut named = vec![];
        for (name, value) in parameters {
            match name.as_str() {
                "user" => user = Some(value),
                "database" => database = Some(value),
                "options" => settings = read_options(&value)?,
                "replication" => refuse_replication(&value)?,
                name if name.starts_with("_pq_.") => {}
                _ => named.push((name.to_lowercase(), value)),
            }
        }
        // Wherever they stand in the packet (Postgres's process_startup_options).
        settings.extend(named);
        let user = user.filter(|u| !u.is_empty()).ok_or_else(|| {
            fatal(sqlstate::INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet".to_owned())
        })?;
        if settings.len() > MAX_SETTINGS {
            return Err(fatal(sqlstate::INVALID_AUTHORIZATION, "too many settings in the startup packet".to_owned()));
        }
        let mut reason = None;
        settings.retain(|(name, value)| match name.as_str() {
            "pgbelay.reason" => {
                reason = crate::session::clean_reason(value);
                false
            }
            _ => true,
        });
        Ok(Self {
            database: database.filter(|d| !d.is_empty()).unwrap_or_else(|| user.clone()),
            user,
            reason,
            settings,
        })
    }

    pub(super) fn application_name(&self) -> Option<&str> {
        self.settings.iter().rfind(|(name, _)| name == "application_name").map(|(_, value)| value.as_str())
    }
}

/// A replication connection sends no statements that could be read.
fn refuse_replication(value: &str) -> Result<(), Box<Report>> {
    match value.to_lowercase().as_str() {
        "false" | "off" | "no" | "0" | "f" | "n" => Ok(()),
        _ => Err(Box::new(
            Report::fatal(sqlstate::NOT_SUPPORTED, "replication connections are not supported")
                .detail("pgbelay inspects statements; the replication protocol has commands and streams of its own.")
                .hint("Connect backup and replication tools to the database server itself."),
        )),
    }
}

/// `options`: `-c name=value` and `--name=value`, words separated by spaces, a backslash keeps the next character
/// (Postgres documentation, libpq "options" and `pg_split_opts`).
fn read_options(options: &str) -> Result<Vec<(String, String)>, Box<Report>> {
    let mut settings = vec![];
    let mut words = split_words(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.as_str() {
            "-c" => words.next().unwrap_or_default(),
            _ if word.starts_with("-c") => word[2..].to_owned(),
            // Dashes in the name stand for underscores.
            _ if word.starts_with("--") => match word[2..].split_once('=') {
                Some((name, value)) => format!("{}={value}", name.replace('-', "_")),
                None => word[2..].to_owned(),
            },
            _ => {
                return Err(fatal(sqlstate::NOT_SUPPORTED, format!("connection option \"{word}\" is not supported")));
            }
        };
        match assignment.split_once('=') {
            Some((name, value)) if !name.is_empty() => settings.push((name.to_lowercase(), value.to_owned())),
            _ => {
                return Err(fatal(
                    sqlstate::INVALID_AUTHORIZATION,
                    format!("connection option \"{assignment}\" has no name and value"),
                ));
            }
        }
    }
    Ok(settings)
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word = None::<String>;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn fatal(code: &'static str, message: String) -> Box<Report> {
    Box::new(
        Report::fatal(code, message)
            .hint("Write settings as -c name=value, for example PGOPTIONS='-c pgbelay.reason=INC-42'."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<StartupOptions, Box<Report>> {
        StartupOptions::read(parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_parameter_comes_over_options_wherever_it_stands() {
        for parameters in [
            [("user", "a"), ("application_name", "named"), ("options", "-c application_name=option -c a.b=1")],
            [("user", "a"), ("options", "-c application_name=option -c a.b=1"), ("application_name", "named")],
        ] {
            let read = read(&parameters).unwrap();
            let names: Vec<_> = read.settings.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["application_name", "a.b", "application_name"]);
            assert_eq!(read.application_name(), Some("named"));
        }
    }

    #[test]
    fn the_database_is_the_user_unless_named() {
        assert_eq!(read(&[("user", "a")]).unwrap().database, "a");
        assert_eq!(read(&[("user", "a"), ("database", "app:prod")]).unwrap().database, "app:prod");
        assert_eq!(read(&[("database", "a")]).unwrap_err().sqlstate, "28000");
        assert_eq!(read(&[("user", "")]).unwrap_err().sqlstate, "28000");
    }

    #[test]
    fn options_are_read_as_postgres_reads_them() {
        let options = r"-c pgbelay.reason=INC-42\ and\ more  -csearch_path=a --work-mem=1MB";
        let read = read(&[("user", "a"), ("options", options)]).unwrap();
        assert_eq!(read.reason.as_deref(), Some("INC-42 and more"));
        assert_eq!(
            read.settings,
            [("search_path".to_owned(), "a".to_owned()), ("work_mem".to_owned(), "1MB".to_owned())]
        );
    }

    #[test]
    fn bad_options_are_refused() {
        for options in ["-c", "-c=", "-c x", "-d 5", "foo", "--"] {
            assert!(read(&[("user", "a"), ("options", options)]).is_err(), "{options}");
        }
    }

    #[test]
    fn replication_is_refused() {
        assert_eq!(read(&[("user", "a"), ("replication", "database")]).unwrap_err().sqlstate, "0A000");
        assert!(read(&[("user", "a"), ("replication", "false")]).is_ok());
    }
}
