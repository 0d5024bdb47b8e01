//! The `pgbelay` program: reads its arguments and calls a command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    pgbelay::cli::Cli::parse().run()
}
