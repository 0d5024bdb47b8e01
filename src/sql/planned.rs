//! The part of a statement that EXPLAIN can plan, cut out of its text.

use std::ops::Range;

use super::lexer::{self, Token, TokenKind};
use super::reader::Reader;
use super::{Facts, Kind};

/// A query whose plan can be asked for: `prefix` and the client's own text at `span`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What stands before the text to make a query of it: nothing, or `TABLE `.
    pub prefix: &'static str,
    /// Where the query stands in the whole text, in bytes.
    pub span: Range<usize>,
}

/// What is to be planned before the statement of `facts` in `text` runs (Postgres documentation: EXPLAIN). `None` where the
/// statement has no plan, or runs none: a utility, COPY FROM, PREPARE, EXPLAIN without ANALYZE.
pub fn planned(text: &str, facts: &Facts) -> Option<Planned> {
    let whole = || Some(Planned { prefix: "", span: facts.span.clone() });
    match facts.kind {
        _ if is_explain(facts) => runs_explained(facts).then(|| explained(text, facts)).flatten(),
        Kind::Select
        | Kind::Insert
        | Kind::Update
        | Kind::Delete
        | Kind::Merge
        | Kind::Declare
        | Kind::Execute
        | Kind::CreateTableAs
        | Kind::UnparsedMaybeRead => whole(),
        Kind::TempDdl if matches!(&*facts.tag, "CREATE TABLE AS" | "SELECT INTO") => whole(),
        Kind::CopyTo => copied(text, facts),
        Kind::Truncate => truncated(text, facts),
        Kind::TempDdl
        | Kind::CopyFrom
        | Kind::Drop
        | Kind::Ddl
        | Kind::Role
        | Kind::Cluster
        | Kind::Maintenance
        | Kind::Do
        | Kind::Call
        | Kind::Explain
        | Kind::Prepare
        | Kind::Deallocate
        | Kind::Fetch
        | Kind::Close
        | Kind::Transaction
        | Kind::TwoPhase
        | Kind::Set
        | Kind::Show
        | Kind::Discard
        | Kind::Lock
        | Kind::Listen
        | Kind::Notify
        | Kind::Load
        | Kind::Constraints
        | Kind::UnparsedMaybeWrite => None,
    }
}

fn is_explain(facts: &Facts) -> bool {
    &*facts.tag == "EXPLAIN"
}

/// Whether EXPLAIN has ANALYZE: only then its facts are those of what it runs.
fn runs_explained(facts: &Facts) -> bool {
    facts.kind != Kind::Explain || facts.class != super::Class::Misc
}

/// What stands behind EXPLAIN and its options.
fn explained(text: &str, facts: &Facts) -> Option<Planned> {
    cut(text, facts, |reader| {
        reader.eat(&["explain"]).then_some(())?;
        let listed = reader
            .rest()
            .get(1)
            .is_some_and(|t| t.ident().is_some() && !matches!(t.word(), Some("select" | "with" | "values" | "table")));
        if listed && reader.peek() == Some(&TokenKind::LParen) {
            reader.parenthesised()?;
        }
        while reader.eat_any(&["analyze", "analyse", "verbose"]) {}
        Some(("", reader.rest()))
    })
}

/// The query in the parentheses of a COPY, or its whole table.
fn copied(text: &str, facts: &Facts) -> Option<Planned> {
    cut(text, facts, |reader| {
        reader.eat(&["copy"]).then_some(())?;
        if let Some(query) = reader.parenthesised() {
            return Some(("", query));
        }
        if !reader.rest().get(1).is_some_and(|t| t.is("to")) {
            reader.eat(&["binary"]);
        }
        let rest = reader.rest();
        reader.name()?;
        Some(("TABLE ", &rest[..rest.len() - reader.rest().len()]))
    })
}

/// The table of a TRUNCATE; `None` where there are several.
fn truncated(text: &str, facts: &Facts) -> Option<Planned> {
    cut(text, facts, |reader| {
        reader.eat(&["truncate"]).then_some(())?;
        reader.eat(&["table"]);
        let rest = reader.rest();
        reader.eat(&["only"]);
        reader.name()?;
        let table = &rest[..rest.len() - reader.rest().len()];
        let is_alone = reader.peek() != Some(&TokenKind::Comma);
        is_alone.then_some(("TABLE ", table))
    })
}

fn cut(
    text: &str,
    facts: &Facts,
    find: impl for<'t, 'a> FnOnce(&mut Reader<'t, 'a>) -> Option<(&'static str, &'t [Token<'a>])>,
) -> Option<Planned> {
    let lexed = lexer::lex(text.get(facts.span.clone())?);
    let (prefix, tokens) = find(&mut Reader::new(&lexed.tokens))?;
    let (first, last) = (tokens.first()?, tokens.last()?);
    let start = facts.span.start;
    Some(Planned { prefix, span: start + first.span.start..start + last.span.end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;

    fn query(text: &str) -> Option<String> {
        let script = classify(text);
        let facts = script.statements.last()?;
        planned(text, facts).map(|p| format!("{}{}", p.prefix, &text[p.span]))
    }

    #[test]
    fn what_runs_a_query_has_its_query_cut_out() {
        for (text, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 0; /* x */ DELETE FROM t WHERE a = 1;", "DELETE FROM t WHERE a = 1"),
            ("(SELECT 1) UNION (SELECT 2)", "(SELECT 1) UNION (SELECT 2)"),
            ("COPY (SELECT a FROM t) TO STDOUT", "SELECT a FROM t"),
            ("COPY s.\"T\" (a, b) TO STDOUT", "TABLE s.\"T\""),
            ("COPY BINARY t TO STDOUT", "TABLE t"),
            ("DECLARE c CURSOR FOR SELECT 1", "DECLARE c CURSOR FOR SELECT 1"),
            ("CREATE TEMP TABLE x AS SELECT 1", "CREATE TEMP TABLE x AS SELECT 1"),
            ("SELECT 1 AS a INTO x", "SELECT 1 AS a INTO x"),
            ("EXPLAIN ANALYZE VERBOSE SELECT 1", "SELECT 1"),
            ("EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t WHERE a = 1", "DELETE FROM t WHERE a = 1"),
            ("EXPLAIN ANALYZE (SELECT 1)", "(SELECT 1)"),
            ("EXPLAIN ANALYZE EXECUTE p(1)", "EXECUTE p(1)"),
            ("EXECUTE p(1)", "EXECUTE p(1)"),
            ("SELECT id FROM t FROBNICATE BY 7", "SELECT id FROM t FROBNICATE BY 7"),
            ("EXPLAIN ANALYZE SELECT id FROM t FROBNICATE BY 7", "SELECT id FROM t FROBNICATE BY 7"),
            ("TRUNCATE TABLE ONLY s.t CASCADE", "TABLE ONLY s.t"),
        ] {
            assert_eq!(query(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_runs_no_query_has_none() {
        for text in [
            "EXPLAIN SELECT 1",
            "EXPLAIN (ANALYZE off) DELETE FROM t",
            "COPY t FROM STDIN",
            "PREPARE p AS SELECT 1",
            "FETCH 1 FROM c",
            "TRUNCATE a, b",
            "DROP TABLE t",
            "SET a.b = 1",
            "SHOW all",
            "BEGIN",
            "CREATE TEMP TABLE x (a int)",
            "VACUUM",
        ] {
            assert_eq!(query(text), None, "{text}");
        }
    }
}
