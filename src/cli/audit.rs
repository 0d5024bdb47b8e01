//! `pgbelay audit`: checks and shows the audit trail.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::audit::PublicKey;
use crate::audit::tail::{Follower, human};
use crate::audit::verify::{Finding, Head, Options, verify};

/// How often `tail -f` looks for new records.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `pgbelay audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  pgbelay audit verify logs/audit*.jsonl    has anybody changed it
  pgbelay audit tail -f logs/audit.jsonl    see what happens now";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check that no record was changed, removed, added or moved
    ///
    /// Exit status: 0 when the trail is whole, 1 when it is not, 2 when it could not be read.
    #[command(after_help = "Examples:\n  \
        pgbelay audit verify logs/audit*.jsonl\n  \
        pgbelay audit verify --public-key audit.pub logs/audit*.jsonl")]
    Verify(VerifyArgs),
    /// Show the newest records, one line each
    #[command(after_help = "Examples:\n  \
        pgbelay audit tail -f\n  \
        pgbelay audit tail --json -n 1000 | jq 'select(.event == \"deny\")'")]
    Tail(TailArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The trail's files, in any order: the current one and the rotated ones
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The ed25519 public key (PEM) that the checkpoint must be signed with
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A checkpoint to hold the trail against, instead of FILE.checkpoint
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Accept a trail that does not begin at seq 1, because older files were archived
    #[arg(long)]
    partial: bool,
}

#[derive(Debug, clap::Args)]
struct TailArgs {
    /// The trail's current file
    #[arg(default_value = "logs/audit.jsonl", value_name = "FILE")]
    file: PathBuf,
    /// Go on showing records as they are written
    #[arg(short, long)]
    follow: bool,
    /// Print the records as they are, in JSON Lines
    #[arg(long)]
    json: bool,
    /// How many records to begin with
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    lines: usize,
}

/// Runs the command; exit status 0 when all is well, 1 when the trail is not whole, 2 when it could not be read.
pub fn run(args: Args) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match args.command {
        Command::Verify(args) => run_verify(args, &mut out),
        Command::Tail(args) => run_tail(&args, &mut out),
    };
    match outcome.and_then(|code| out.flush().map(|()| code).map_err(Failure::Output)) {
        Ok(code) => ExitCode::from(code),
        // Whoever read us has seen enough, as `head` does.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgbelay: {failure}");
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Input(String),
    #[error("could not write the output: {0}")]
    Output(io::Error),
}

fn run_verify(args: VerifyArgs, out: &mut impl Write) -> Result<u8, Failure> {
    let public_key = match &args.public_key {
        None => None,
        Some(path) => {
            let fail = |e: String| Failure::Input(format!("could not read public key \"{}\": {e}", path.display()));
            let pem = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
            Some(PublicKey::from_pem(&pem).map_err(|e| fail(e.to_string()))?)
        }
    };
    let head = if args.partial { Head::Archived } else { Head::Required };
    let options = Options { public_key, checkpoint: args.checkpoint, head };
    let mut written = Ok(());
    let summary = verify(&args.files, &options, &mut |finding| {
        let line = match finding {
            Finding::Problem(place, problem) => writeln!(out, "{place}: {problem}"),
            Finding::Note(note) => writeln!(out, "note: {note}"),
        };
        if written.is_ok() {
            written = line;
        }
    })
    .map_err(|e| Failure::Input(e.to_string()))?;
    written.map_err(Failure::Output)?;
    let records = match (summary.first, summary.last, summary.last_hash) {
        (Some(first), Some(last), Some(hash)) => {
            format!("{} records, seq {first}..{last}, sha256 of the last line {hash}", summary.records)
        }
        _ => format!("{} records", summary.records),
    };
    if summary.problems == 0 {
        writeln!(out, "ok: {records}").map_err(Failure::Output)?;
        return Ok(0);
    }
    let count = summary.problems;
    let word = if count == 1 { "problem" } else { "problems" };
    writeln!(out, "FAILED: {count} {word} in {records}").map_err(Failure::Output)?;
    Ok(1)
}

fn run_tail(args: &TailArgs, out: &mut impl Write) -> Result<u8, Failure> {
    let fail = |e: io::Error| {
        let hint = if e.kind() == io::ErrorKind::NotFound { "; name the file that [audit] path says" } else { "" };
        Failure::Input(format!("could not read file \"{}\": {e}{hint}", args.file.display()))
    };
    let (mut follower, lines) = Follower::open(&args.file, args.lines).map_err(fail)?;
    for line in &lines {
        show(line, args.json, out).map_err(Failure::Output)?;
    }
    if !args.follow {
        return Ok(0);
    }
    loop {
        out.flush().map_err(Failure::Output)?;
        std::thread::sleep(POLL_EVERY);
        let mut written = Ok(());
        follower
            .poll(&mut |line| {
                if written.is_ok() {
                    written = show(line, args.json, out);
                }
            })
            .map_err(fail)?;
        written.map_err(Failure::Output)?;
    }
}

fn show(line: &[u8], json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        out.write_all(line)?;
        return out.write_all(b"\n");
    }
    writeln!(out, "{}", human(line))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::audit::AuditLog;
    use crate::config;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    /// Runs `pgbelay audit …` and returns its exit status and output.
    fn audit(args: &[&str]) -> (u8, String) {
        let program = Program::try_parse_from([&["audit"], args].concat()).unwrap();
        let mut out = Vec::new();
        let code = match program.args.command {
            Command::Verify(args) => run_verify(args, &mut out),
            Command::Tail(args) => run_tail(&args, &mut out),
        };
        let mut out = String::from_utf8(out).unwrap();
        let code = code.unwrap_or_else(|e| {
            out.push_str(&e.to_string());
            2
        });
        (code, out)
    }

    fn trail() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        drop(AuditLog::open(&config::Audit { path: path.clone(), rotate_bytes: 1 << 20, signing_key: None }).unwrap());
        (dir, path.to_string_lossy().into_owned())
    }

    #[test]
    fn verify_says_ok_or_what_is_wrong() {
        let (_dir, path) = trail();
        let (code, out) = audit(&["verify", &path]);
        assert_eq!(code, 0, "{out}");
        assert!(
            out.contains("note: there is no checkpoint") && out.contains("\nok: 2 records, seq 1..2, sha256"),
            "{out}"
        );

        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("stopped", "stepped")).unwrap();
        let (code, out) = audit(&["verify", &path]);
        assert_eq!(code, 1, "{out}");
        assert!(
            out.contains(&format!("{path}:2: line was changed (it should be seq 2): its content does not match")),
            "{out}"
        );
        assert!(out.contains("FAILED: 1 problem in 1 records, seq 1..1"), "{out}");
    }

    #[test]
    fn what_cannot_be_read_is_bad_usage() {
        let (dir, path) = trail();
        let missing = dir.path().join("none").to_string_lossy().into_owned();
        for args in [&["verify", &missing][..], &["tail", &missing], &["verify", "--public-key", &path, &path]] {
            let (code, out) = audit(args);
            assert!(code == 2 && out.starts_with("could not read"), "{args:?}: {out}");
        }
        assert!(Program::try_parse_from(["audit", "verify"]).is_err());
    }

    #[test]
    fn tail_shows_people_a_line_and_programs_the_record() {
        let (_dir, path) = trail();
        let (code, out) = audit(&["tail", &path]);
        assert_eq!(code, 0);
        assert!(out.lines().count() == 2 && out.contains("Z admin -- audit.started: pgbelay "), "{out}");
        let (_, out) = audit(&["tail", "-n", "1", "--json", &path]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(out.trim_end(), text.lines().last().unwrap());
    }
}
