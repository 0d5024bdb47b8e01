//! What holds of `classify` for every text: it ends, does not panic, and its spans are statements of the text in order.

use pgbelay::sql::classify;
use proptest::prelude::*;

/// Pieces whose combinations reach most of the lexer's states and the readers' branches.
const PIECES: &[&str] = &[
    "SELECT",
    "DELETE FROM t",
    "UPDATE t SET a",
    "INSERT INTO t",
    "WHERE",
    "id",
    "=",
    "1",
    "'x'",
    "\"q\"",
    ";",
    "(",
    ")",
    ",",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "$$",
    "$a$",
    "E'\\",
    "U&\"",
    "UESCAPE '!'",
    "\n",
    "::",
    "[",
    "]",
    ".",
    "*",
    "$1",
    "OR",
    "AND",
    "NOT",
    "IN",
    "EXISTS",
    "BETWEEN",
    "SYMMETRIC",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "BEGIN",
    "ATOMIC",
    "CREATE FUNCTION f()",
    "CREATE TABLE",
    "AS",
    "WITH c",
    "EXPLAIN",
    "ANALYZE",
    "PREPARE p",
    "COPY",
    "TO STDOUT",
    "FROM PROGRAM",
    "SET",
    "LOCAL",
    "RESET",
    "SHOW",
    "search_path",
    "PASSWORD 'p'",
    "ALTER ROLE r",
    "f(",
    "set_config('a', 'b', true)",
    "NULL",
    "LIKE '%'",
    "MERGE INTO t USING s ON",
    "MATCHED",
    "UNION",
    "LATERAL",
    "FOR UPDATE",
    "ON CONFLICT (",
    "DO",
    "NOTHING",
    "CURRENT OF c",
    "é",
    "\u{feff}",
    "1e",
    "0x",
    "..",
    "=>",
    "@#@",
    "<",
    ">",
    "-",
    "+",
];

fn check(text: &str) -> Result<(), TestCaseError> {
    let script = classify(text);
    let mut end = 0;
    for statement in &script.statements {
        prop_assert!(statement.span.start >= end, "{text:?}");
        prop_assert!(text.get(statement.span.clone()).is_some(), "{text:?}");
        prop_assert!(statement.normalized.len() <= 4096);
        prop_assert_eq!(statement.fingerprint.len(), 16);
        prop_assert!(!statement.tag.is_empty(), "{:?}", text);
        end = statement.span.end;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec((prop::sample::select(PIECES), any::<bool>()), 0..40)) {
        let text: String = pieces.iter().flat_map(|(piece, space)| [*piece, if *space { " " } else { "" }]).collect();
        check(&text)?;
    }

    /// Whatever stands before it, as long as it is no open literal, comment or parenthesis, a DELETE behind a semicolon is seen.
    #[test]
    fn a_second_statement_is_never_lost(pieces in prop::collection::vec(prop::sample::select(closed_pieces()), 0..20)) {
        let text = format!("{}; DELETE FROM victim", pieces.join(" "));
        let script = classify(&text);
        let seen = script.statements.iter().flat_map(|s| &s.writes).any(|w| w.table.name == "victim");
        prop_assert!(seen, "{text:?}\n{script:#?}");
    }
}

/// The pieces that end what they begin.
fn closed_pieces() -> Vec<&'static str> {
    let opens = |piece: &str| {
        let count = |c: char| piece.matches(c).count();
        count('\'') % 2 == 1
            || count('"') % 2 == 1
            || count('(') != count(')')
            || ["--", "/*", "*/", "$$", "$a$", "ATOMIC"].iter().any(|open| piece.contains(open))
    };
    PIECES.iter().copied().filter(|piece| !opens(piece)).collect()
}
