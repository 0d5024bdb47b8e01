//! SQL that stands in a statement as the argument of a function which runs it: `query_to_xml('SELECT …', …)`.
//!
//! All functions of Postgres's own that do so run it as a read (SPI's `read_only`), so that what matters is which tables it
//! reads and which functions it calls. Where it is a literal, that can be told as for any other query.

use super::draft::Draft;
use super::functions::{self, Category};
use super::lexer::{self, Token, TokenKind};
use super::reader::{self, Reader, split_at_commas};
use super::{Kind, SHALLOW, mention, parse, statement};

/// Takes over what SQL in the arguments of a query's calls does, and marks the calls as read. All or nothing: where one of the
/// functions that run SQL is named in a way that is not certain, none counts as read.
pub(super) fn absorb(draft: &mut Draft, tokens: &[Token<'_>]) {
    let queries = match draft.kind {
        Kind::Select
        | Kind::Insert
        | Kind::Update
        | Kind::Delete
        | Kind::Merge
        | Kind::CopyTo
        | Kind::CreateTableAs
        | Kind::Explain
        | Kind::Prepare
        | Kind::Declare => draft.functions.iter().any(|call| runs_sql(&call.name.name)),
        // Definitions, whose bodies are texts of their own, and what holds no query.
        _ => false,
    };
    if !queries {
        return;
    }
    let named: Option<Vec<Draft>> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.ident().is_some_and(runs_sql))
        .map(|(at, token)| call(token.ident()?, &tokens[at + 1..]))
        .collect();
    let Some(named) = named else { return };
    for call in draft.functions.iter_mut().filter(|call| runs_sql(&call.name.name)) {
        call.sql_is_read = true;
    }
    for inner in named {
        draft.absorb(inner);
    }
}

fn runs_sql(name: &str) -> bool {
    functions::category(None, name) == Some(Category::RunsSql)
}

/// What the call of `name` with the arguments that follow runs; `None` where that is not certain.
fn call(name: &str, behind: &[Token<'_>]) -> Option<Draft> {
    let inside = Reader::new(behind).parenthesised()?;
    if inside.iter().any(|t| matches!(t.kind, TokenKind::Arrow | TokenKind::ColonEquals)) {
        // Arguments by name may stand in any order.
        return None;
    }
    let arguments = split_at_commas(inside);
    let mut draft = Draft::new(Kind::Select, super::Class::Read, "SELECT");
    match (name, arguments.as_slice()) {
        // Of three arguments it runs nothing; a cursor's query was judged when it was declared.
        ("ts_rewrite", [_, _, _]) | ("cursor_to_xml" | "cursor_to_xmlschema", _) => {}
        ("ts_rewrite", [_, sql]) | ("crosstab", [sql]) | ("ts_stat", [sql, ..]) => draft.absorb(query(sql)?),
        ("query_to_xml" | "query_to_xmlschema" | "query_to_xml_and_xmlschema", [sql, ..]) => draft.absorb(query(sql)?),
        ("crosstab", [rows, categories]) => {
            draft.absorb(query(rows)?);
            draft.absorb(query(categories)?);
        }
        ("table_to_xml" | "table_to_xmlschema" | "table_to_xml_and_xmlschema", [table, ..]) => {
            let lexed = lexer::lex(literal(table, "regclass")?);
            let mut reader = Reader::new(&lexed.tokens);
            draft.add_read(reader.name().filter(|_| lexed.error.is_none() && reader.at_end())?);
        }
        // Whole schemas, and what builds its SQL itself.
        _ => return None,
    }
    Some(draft)
}

/// One query that nothing is unclear about.
fn query(argument: &[Token<'_>]) -> Option<Draft> {
    let lexed = lexer::lex(literal(argument, "text")?);
    let shallow = lexed.error.is_none() && parse::depth(&lexed.tokens) <= SHALLOW;
    let [tokens] = reader::statements(&lexed.tokens)[..] else { return None };
    if !shallow || tokens.iter().any(|token| token.ident().is_some_and(runs_sql)) {
        return None;
    }
    let mut draft = statement::read_inner(tokens);
    draft.mentions.extend(mention::mentions(tokens, &draft.functions));
    (draft.kind == Kind::Select && draft.writes.is_empty() && draft.locks.is_empty()).then_some(draft)
}

/// The value of a literal that is written as it is, or cast to `to`: any other cast may change it.
fn literal<'t>(argument: &'t [Token<'_>], to: &str) -> Option<&'t str> {
    match argument {
        [text] => text.string(),
        [text, cast, name] if cast.kind == TokenKind::DoubleColon && name.is(to) => text.string(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, classify};

    fn only(text: &str) -> Facts {
        let mut script = classify(text);
        assert_eq!(script.statements.len(), 1, "{text}");
        script.statements.remove(0)
    }

    #[test]
    fn literal_sql_is_read() {
        for (text, reads, calls) in [
            ("SELECT query_to_xml('SELECT a, f(1) FROM s.t', true, false, '')", Some("t"), Some("f")),
            ("SELECT * FROM ts_stat($$SELECT v FROM docs$$, 'ab')", Some("docs"), None),
            ("SELECT ts_rewrite('a & b', 'SELECT k, v FROM aliases'::text)", Some("aliases"), None),
            ("EXPLAIN ANALYZE SELECT ts_rewrite(q, E'SELECT k, v FROM aliases') FROM queries", Some("aliases"), None),
            ("SELECT ts_rewrite(ts_rewrite('a', 'b', 'c'), f(1)::tsquery, 'SELECT 1')", None, Some("f")),
            ("SELECT table_to_xml('s.\"T\"'::regclass, false, false, '')", Some("T"), None),
            ("SELECT cursor_to_xml('c', 5, false, true, '')", None, None),
            (
                "SELECT * FROM crosstab('SELECT a, b, c FROM sales', 'SELECT m FROM months') AS (a int, b int)",
                Some("months"),
                None,
            ),
        ] {
            let facts = only(text);
            assert!(facts.functions.iter().any(|call| call.sql_is_read), "{text}\n{facts:#?}");
            assert!(reads.is_none_or(|table| facts.reads.iter().any(|name| name.name == table)), "{text}\n{facts:#?}");
            assert!(calls.is_none_or(|f| facts.functions.iter().any(|call| call.name.name == f)), "{text}\n{facts:#?}");
        }
    }

    #[test]
    fn what_it_does_is_the_statements() {
        let facts = only(
            "SELECT query_to_xml('SELECT pg_terminate_backend(1), set_config(''role'', ''x'', false)', true, true, '')",
        );
        assert!(facts.functions.iter().any(|call| call.name.name == "pg_terminate_backend"), "{facts:#?}");
        assert_eq!(facts.effects.len(), 1, "{facts:#?}");
    }

    #[test]
    fn what_is_not_certain_is_not_read() {
        for text in [
            "SELECT query_to_xml(sql, true, true, '') FROM queries",
            "SELECT query_to_xml('SELECT ' || 'f()', true, true, '')",
            // Cut to 63 bytes, and any cast that changes it.
            "SELECT query_to_xml('SELECT (1).pg_terminate_backend_x'::name, true, true, '')",
            "SELECT query_to_xml(CAST('SELECT 1' AS my.text), true, true, '')",
            "SELECT query_to_xml('SELECT 1'::my.text, true, true, '')",
            "SELECT query_to_xml(targetns => 'SELECT 1', query => $1, nulls => true, tableforest => true)",
            "SELECT query_to_xml('SELECT 1; SELECT 2', true, true, '')",
            "SELECT query_to_xml('SELECT ''x', true, true, '')",
            "SELECT query_to_xml('SELECT a FROM t FOR UPDATE', true, true, '')",
            "SELECT query_to_xml('WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x', true, true, '')",
            "SELECT query_to_xml('DELETE FROM t', true, true, '')",
            "SELECT query_to_xml('SELECT a FROM t FROBNICATE BY 7', true, true, '')",
            "SELECT query_to_xml($$SELECT query_to_xml('SELECT 1', true, true, '')$$, true, true, '')",
            "SELECT query_to_xml('SELECT 1', true, true, ''), query_to_xml($1, true, true, '')",
            "SELECT ts_stat('SELECT 1'), (sql).ts_stat FROM queries",
            "SELECT table_to_xml($1, false, false, '')",
            "SELECT table_to_xml('16384', false, false, '')",
            "SELECT schema_to_xml('public', false, false, '')",
            "SELECT connectby('t', 'a', 'b', '1', 2)",
        ] {
            let facts = only(text);
            assert!(facts.functions.iter().all(|call| !call.sql_is_read), "{text}\n{facts:#?}");
        }
    }

    #[test]
    fn a_deep_text_inside_is_not_read() {
        let text = format!("SELECT query_to_xml('SELECT {}1', true, true, '')", "-(".repeat(100_000));
        assert!(only(&text).functions.iter().all(|call| !call.sql_is_read));
    }
}
