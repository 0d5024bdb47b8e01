//! Cuts a psql script into the statements that psql would send.
//!
//! Follows psql's own scanner (src/fe_utils/psqlscan.l): a semicolon ends a statement unless it stands in quotes, comments,
//! parentheses or the body of a function written with BEGIN ATOMIC. Lines of psql's own (`\d`, `\restrict`) are passed over.

use std::ops::Range;

/// The statements of a script, one after the other.
#[derive(Clone, Debug)]
pub(super) struct PsqlScript<'a> {
    text: &'a str,
    at: usize,
    /// psql commands met that would run SQL of their own.
    unjudged: Vec<&'a str>,
}

/// psql commands that send SQL which does not stand in the script.
const RUN_SQL: &[&str] = &["i", "ir", "include", "include_relative", "copy", "gexec", "watch", "crosstabview", "!"];

impl<'a> PsqlScript<'a> {
    /// Starts at the beginning of a script.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, unjudged: Vec::new() }
    }

    /// The next statement, without its semicolon; `None` at the end.
    pub(super) fn next_statement(&mut self) -> Option<&'a str> {
        loop {
            self.skip_blank();
            let start = self.at;
            if start >= self.text.len() {
                return None;
            }
            let statement = &self.text[self.scan_statement(start)];
            if !statement.trim().is_empty() {
                return Some(statement);
            }
        }
    }

    /// Passes over the data of `COPY … FROM STDIN`, which begins on the next line and ends with a line `\.`. Without such an
    /// end it is taken to be SQL, so that nothing is missed.
    pub(super) fn skip_copy_data(&mut self) {
        let rest = &self.text[self.at..];
        let Some(data) = rest.find('\n').map(|n| &rest[n + 1..]) else { return };
        let mut offset = self.text.len() - data.len();
        for line in data.split_inclusive('\n') {
            offset += line.len();
            if line.trim_end_matches(['\n', '\r']) == "\\." {
                self.at = offset;
                return;
            }
        }
    }

    /// psql commands passed over so far that would run SQL which nobody has judged.
    pub(super) fn unjudged(&self) -> &[&'a str] {
        &self.unjudged
    }

    /// White space, line comments, empty statements and psql's own lines before a statement.
    fn skip_blank(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with('\\') {
                self.skip_command();
            } else if trimmed.starts_with("--") {
                self.at = end_of_line(self.text, self.at);
            } else if trimmed.starts_with(';') {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// A psql command at `at`, up to the end of its line.
    fn skip_command(&mut self) {
        let end = end_of_line(self.text, self.at);
        let line = &self.text[self.at..end];
        let name = command_name(line);
        if RUN_SQL.contains(&name) {
            self.unjudged.push(line.trim_end());
        }
        self.at = end;
    }

    fn scan_statement(&mut self, start: usize) -> Range<usize> {
        let bytes = self.text.as_bytes();
        let mut parentheses = 0_usize;
        let mut blocks = Blocks::default();
        let mut at = start;
        while at < bytes.len() {
            match bytes[at] {
                b';' if parentheses == 0 && blocks.depth == 0 => {
                    self.at = at + 1;
                    return start..at;
                }
                b'\\' => {
                    let name = command_name(&self.text[at..]);
                    self.at = at;
                    self.skip_command();
                    // \g and its kin send what has been typed; others leave it to go on.
                    if name.starts_with('g') || name == "watch" || name == "crosstabview" {
                        return start..at;
                    }
                    at = self.at;
                }
                b'(' => {
                    parentheses += 1;
                    at += 1;
                }
                b')' => {
                    parentheses = parentheses.saturating_sub(1);
                    at += 1;
                }
                b'\'' => {
                    let escapes = at > start && is_escape_prefix(&self.text[start..at]);
                    at = end_of_quoted(bytes, at, escapes);
                }
                b'"' => at = end_of_quoted(bytes, at, false),
                b'$' => at = end_of_dollar_quoted(self.text, at),
                b'-' if bytes.get(at + 1) == Some(&b'-') => at = end_of_line(self.text, at),
                b'/' if bytes.get(at + 1) == Some(&b'*') => at = end_of_comment(bytes, at),
                byte if is_word(byte) => {
                    let end = at + bytes[at..].iter().take_while(|b| is_word(**b) || **b == b'$').count();
                    blocks.word(&self.text[at..end]);
                    at = end;
                }
                _ => at += 1,
            }
        }
        self.at = bytes.len();
        start..bytes.len()
    }
}

/// Depth of BEGIN … END and CASE … END in the body of a CREATE FUNCTION or PROCEDURE.
#[derive(Debug, Default)]
struct Blocks {
    words: usize,
    creates: bool,
    creates_routine: bool,
    depth: usize,
}

impl Blocks {
    fn word(&mut self, word: &str) {
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        self.words += 1;
        match self.words {
            1 => self.creates = is("create"),
            2..=4 if self.creates && (is("function") || is("procedure")) => self.creates_routine = true,
            _ if !self.creates_routine => {}
            _ if is("begin") => self.depth += 1,
            _ if is("case") && self.depth > 0 => self.depth += 1,
            _ if is("end") => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

fn command_name(line: &str) -> &str {
    let rest = &line[1..];
    if rest.starts_with('!') {
        return &rest[..1];
    }
    &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())]
}

fn end_of_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |n| at + n)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Whether the text ends with the E of `E'…'`.
fn is_escape_prefix(before: &str) -> bool {
    let mut last = before.bytes().rev();
    matches!(last.next(), Some(b'e' | b'E')) && !last.next().is_some_and(is_word)
}

fn end_of_quoted(bytes: &[u8], start: usize, escapes: bool) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `$tag$ … $tag$`; of a lone `$` (a parameter), the next byte.
fn end_of_dollar_quoted(text: &str, start: usize) -> usize {
    let Some(length) = text[start + 1..].find('$') else { return start + 1 };
    let tag = &text[start..start + length + 2];
    let name = &tag[1..tag.len() - 1];
    if !name.bytes().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return start + 1;
    }
    let body = start + tag.len();
    text[body..].find(tag).map_or(text.len(), |n| body + n + tag.len())
}

/// The end of a comment; comments nest.
fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<&str> {
        let mut script = PsqlScript::new(text);
        std::iter::from_fn(|| script.next_statement()).map(str::trim).collect()
    }

    #[test]
    fn semicolons_in_quotes_comments_and_parentheses_end_nothing() {
        assert_eq!(statements("SELECT ';'; SELECT \";\""), ["SELECT ';'", "SELECT \";\""]);
        assert_eq!(statements("SELECT E'\\';' ; SELECT 1"), ["SELECT E'\\';'", "SELECT 1"]);
        assert_eq!(statements("SELECT 'a\\'; SELECT 1"), ["SELECT 'a\\'", "SELECT 1"]);
        assert_eq!(
            statements("SELECT $$;$$, $a$ $b$ ; $a$, $1; SELECT 2"),
            ["SELECT $$;$$, $a$ $b$ ; $a$, $1", "SELECT 2"]
        );
        assert_eq!(
            statements("SELECT 1 -- ;\n; SELECT 2 /* ; /* ; */ */"),
            ["SELECT 1 -- ;", "SELECT 2 /* ; /* ; */ */"]
        );
        assert_eq!(
            statements("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3"),
            ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"]
        );
        assert_eq!(statements(";; ;"), [""; 0]);
    }

    #[test]
    fn a_body_with_begin_atomic_is_one_statement() {
        let body =
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        assert_eq!(statements(&format!("{body}; SELECT 3")), [body, "SELECT 3"]);
        assert_eq!(statements("BEGIN; SELECT 1; END; SELECT 2"), ["BEGIN", "SELECT 1", "END", "SELECT 2"]);
    }

    #[test]
    fn psql_commands_are_passed_over() {
        let mut script = PsqlScript::new("\\restrict x\n\\set a 1;2\nSELECT 1;\n\\i other.sql\nSELECT 2 \\g\nSELECT 3");
        let all: Vec<_> = std::iter::from_fn(|| script.next_statement()).map(str::trim).collect();
        assert_eq!(all, ["SELECT 1", "SELECT 2", "SELECT 3"]);
        assert_eq!(script.unjudged(), ["\\i other.sql"]);
    }

    #[test]
    fn copy_data_is_passed_over_only_where_it_ends() {
        let mut script = PsqlScript::new("COPY t FROM stdin;\n1\ta;DELETE FROM t;\n\\.\nSELECT 1;");
        assert_eq!(script.next_statement(), Some("COPY t FROM stdin"));
        script.skip_copy_data();
        assert_eq!(script.next_statement(), Some("SELECT 1"));

        let mut endless = PsqlScript::new("COPY t FROM stdin;\nDELETE FROM t;");
        endless.next_statement();
        endless.skip_copy_data();
        assert_eq!(endless.next_statement(), Some("DELETE FROM t"));
    }
}
