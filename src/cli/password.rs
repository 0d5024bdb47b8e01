//! `pgbelay password`: a password in, its SCRAM verifier out.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use crate::config::{Secret, scram_verifier};

/// Arguments of `pgbelay password`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {}

const AFTER_HELP: &str = "\
Asks twice on a terminal, without echo; else reads one line from standard input. Prints the verifier
alone, in the form Postgres itself stores (SCRAM-SHA-256, 4096 iterations, a random salt), for

  [users.alice]
  password = \"SCRAM-SHA-256$4096:…\"

Examples:
  pgbelay password
  pgbelay password < password.txt";

/// Runs the command: 0 when a verifier was printed, 1 when no password was read or the two differ.
pub fn run(_args: Args) -> ExitCode {
    let password = if io::stdin().is_terminal() { ask_twice() } else { first_line(io::stdin().lock()) };
    match password {
        Ok(password) => {
            if password.expose().is_empty() {
                eprintln!("warning: the password is empty; anybody who guesses that can log in");
            }
            match writeln!(io::stdout(), "{}", scram_verifier(password.expose()).expose()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&format!("the verifier cannot be printed: {error}")),
            }
        }
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}

fn ask_twice() -> Result<Secret, String> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map(Secret::new)
            .map_err(|error| format!("the password could not be read: {error}; give it on standard input"))
    };
    let first = ask("Password: ")?;
    let second = ask("Again: ")?;
    if first == second { Ok(first) } else { Err("the two passwords differ; run the command again".to_owned()) }
}

fn first_line(mut input: impl BufRead) -> Result<Secret, String> {
    let mut line = String::new();
    let length = input.read_line(&mut line).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "the password is not UTF-8; give it in UTF-8".to_owned(),
        _ => format!("standard input cannot be read: {error}"),
    })?;
    if length == 0 {
        return Err("no password on standard input; give one line, as in `pgbelay password < FILE`".to_owned());
    }
    let password = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.contains('\0') {
        return Err("a password cannot hold a NUL".to_owned());
    }
    Ok(Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_its_end() {
        for (input, password) in
            [("a b\n", "a b"), ("a\r\n", "a"), ("a", "a"), (" a \nb\n", " a "), ("\n", ""), ("\u{e9}\n", "\u{e9}")]
        {
            assert_eq!(first_line(input.as_bytes()).as_ref().map(Secret::expose), Ok(password), "{input:?}");
        }
        assert!(first_line(&b""[..]).is_err());
        assert!(first_line(&b"\xff\n"[..]).is_err());
        assert!(first_line(&b"a\0b\n"[..]).is_err());
    }
}
