//! `pgbelay explain`: the verdict on each statement, without any database.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::psql_script::PsqlScript;
use crate::config::{self, Config, Policy, Role, Tier};
use crate::policy::{Judgement, SessionView, StaticCatalog, judge};
use crate::sql::{self, Facts, Hazard, Kind, Name, Script};

/// Shows what pgbelay would do with each statement, without running anything.
///
/// Statements come from the argument, from a file (-f) or from standard input; psql's own lines (\d, \restrict) and COPY data
/// are passed over. Functions that Postgres does not bring count as able to do anything, since no catalog is asked. Each
/// statement is judged as if it were sent alone, as psql does.
///
/// Exit status: 0 when no statement is denied, 1 when one is, 2 on bad usage.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgbelay explain --tier prod --role service 'DELETE FROM email_drafts WHERE 1=1'
  pgbelay explain --tier prod --role migrator --json -f migrations/0042.sql
  pgbelay explain --config pgbelay.toml --database app:prod --role engineer < script.sql")]
pub struct Args {
    /// Configuration file; without it (and without --database) the built-in policies are used
    #[arg(long, env = "PGBELAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database of the configuration, with its tier: app:prod
    #[arg(long, value_name = "NAME", conflicts_with = "tier")]
    database: Option<String>,
    /// Tier: int, stg or prod
    #[arg(long, value_name = "TIER", required_unless_present = "database")]
    tier: Option<Tier>,
    /// Role: admin, agent, auditor, engineer, migrator or service
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Prints one JSON object a statement
    #[arg(long)]
    json: bool,
    /// The reason that the session has given; without it, one counts as given
    #[arg(long, value_name = "TEXT", conflicts_with = "no_reason")]
    reason: Option<String>,
    /// Judges as if no reason had been given
    #[arg(long)]
    no_reason: bool,
    /// Reads the statements from a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// The statements
    #[arg(value_name = "SQL")]
    sql: Option<String>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    match explain(&args) {
        Ok(Outcome::NoneDenied) => ExitCode::SUCCESS,
        Ok(Outcome::SomeDenied) => ExitCode::from(1),
        Err(error) => {
            eprintln!("pgbelay explain: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    NoneDenied,
    SomeDenied,
}

/// Why nothing could be explained.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Config(String),
    #[error("no database \"{0}\" in the configuration; pgbelay check lists them")]
    Database(String),
    #[error("--database needs --config, or PGBELAY_CONFIG in the environment")]
    NoConfig,
    #[error("cannot read {what}: {source}")]
    Read { what: String, source: io::Error },
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}
