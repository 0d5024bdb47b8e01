//! The commands of the `pgbelay` program, one a file: each has `Args` and `run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod admin;
pub mod audit;
pub mod certs;
pub mod check;
mod connect;
pub mod demo;
pub mod explain;
pub mod password;
mod psql_script;
pub mod run;

/// A Postgres proxy that refuses harmful statements, keeps each tier's limits and leaves an audit trail.
///
/// Clients connect to it as if it were Postgres: psql postgres://alice@localhost:6432/app:prod
#[derive(Parser, Debug)]
#[command(name = "pgbelay", version, after_help = AFTER_HELP, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  pgbelay demo                                  see it at work on a private, throw-away Postgres
  pgbelay password                              make the verifier of a user's password
  pgbelay certs certs                           make development certificates
  pgbelay check --config config/pgbelay.toml    see what a configuration means

Exit status: 0 done; 1 errors were found; 2 wrong usage.";

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the proxy
    Run(run::Args),
    /// Validate a configuration and print what it means for each role and tier
    Check(check::Args),
    /// Turn a password into the SCRAM verifier that the configuration wants
    Password(password::Args),
    /// Show the verdict on statements, without any database
    Explain(explain::Args),
    /// Verify or follow the audit trail
    Audit(audit::Args),
    /// Give a command to the proxy that runs: pause, resume, reconnect, kill and the like
    Admin(admin::Args),
    /// Make development certificates, or a key that signs the audit trail
    Certs(certs::Args),
    /// Show pgbelay at work on a private, throw-away Postgres
    Demo(demo::Args),
}

/// The configuration file, the same for every command that needs one.
#[derive(clap::Args, Debug)]
pub struct ConfigArg {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "PGBELAY_CONFIG", default_value = "config/pgbelay.toml")]
    pub config: PathBuf,
}

impl Cli {
    /// Runs the command that was asked for.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Explain(args) => explain::run(args),
            Command::Check(args) => check::run(args),
            Command::Password(args) => password::run(args),
            Command::Audit(args) => audit::run(args),
            Command::Admin(args) => admin::run(args),
            Command::Certs(args) => certs::run(args),
            Command::Demo(args) => demo::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("pgbelay {}", command.get_name())), "{}", command.get_name());
        }
    }
}
