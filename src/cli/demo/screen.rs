//! What the demo prints, and how it runs the programs whose output it prints.

use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::DemoError;

/// How long a shown program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Standard output, in colour on a terminal.
pub(super) struct Screen {
    out: io::Stdout,
    colour: bool,
}

impl Screen {
    pub(super) fn stdout() -> Self {
        let out = io::stdout();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out, colour }
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(DemoError::io("write to standard output"))
    }

    pub(super) fn title(&mut self, text: &str) -> Result<(), DemoError> {
        let text = self.styled("1", text);
        self.line(&format!("\n{text}"))
    }

    pub(super) fn command(&mut self, text: &str) -> Result<(), DemoError> {
        let text = self.styled("36", text);
        self.line(&format!("  $ {text}"))
    }

    pub(super) fn output(&mut self, text: &str) -> Result<(), DemoError> {
        for line in text.trim_end().lines() {
            self.line(format!("    {line}").trim_end())?;
        }
        Ok(())
    }

    pub(super) fn ok(&mut self, text: &str) -> Result<(), DemoError> {
        let mark = self.styled("32", "✓");
        self.line(&format!("  {mark} {text}"))
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What a program wrote, standard error where it came, and whether it ended well.
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) success: bool,
}

/// Runs a program to its end.
pub(super) fn watch(mut command: Command) -> Result<Seen, DemoError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |cause| DemoError::Io { doing: format!("run {name}"), cause };
    // One pipe for both keeps the order in which a person would see the lines.
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    let second = writer.try_clone().map_err(failed)?;
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(second).spawn().map_err(failed)?;
    // The command holds the pipe's writing ends; while they are open, the reader does not end.
    drop(command);
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            let cause = io::Error::new(io::ErrorKind::TimedOut, format!("no end after {PATIENCE:?}"));
            return Err(failed(cause));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let text = reading.join().map_err(|_| failed(io::Error::other("its output cannot be read")))?.map_err(failed)?;
    Ok(Seen { text, success: status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_the_order_of_both_outputs() {
        let seen = watch(shell("echo one; echo two >&2; echo three; exit 3")).unwrap();
        assert_eq!(seen.text, "one\ntwo\nthree\n");
        assert!(!seen.success);
        assert!(watch(shell("true")).unwrap().success);
    }

    #[test]
    fn long_output_does_not_block_the_program() {
        let seen = watch(shell("seq 1 100000")).unwrap();
        assert!(seen.text.ends_with("\n100000\n"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = watch(Command::new("no-such-program-here")).err().unwrap();
        assert!(error.to_string().starts_with("cannot run no-such-program-here: "), "{error}");
    }
}
