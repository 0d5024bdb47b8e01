//! What a statement names without the syntax of a call: attributes, casts, operators, and calls that the parser's tree hides.
//!
//! `(x).f` calls `f`, `x ### y` whatever `###` stands for, `x::t` the cast to `t` and the checks of the domain `t`. Which of the
//! names do so is known to the server's catalog alone, so that all of them are noted, off the tokens: none can be missed.

use std::collections::{HashMap, HashSet};

use super::lexer::{self, Token, TokenKind};
use super::{Call, Mention, Place, keywords};

/// Operators that the server looks up for words (Postgres's `gram.y` and `parse_expr.c`).
const IMPLIED: &[(&[&str], &[&str])] = &[
    (
        &[
            "all",
            "any",
            "case",
            "distinct",
            "except",
            "group",
            "in",
            "intersect",
            "natural",
            "nullif",
            "partition",
            "some",
            "union",
            "using",
        ],
        &["="],
    ),
    (&["between", "greatest", "least", "max", "min", "order"], &["<", "<=", ">", ">="]),
    (&["like"], &["~~", "!~~"]),
    (&["ilike"], &["~~*", "!~~*"]),
    (&["similar"], &["~", "!~"]),
    (&["not"], &["<>", "!~", "!~~", "!~~*"]),
];

/// What the tokens name; `calls` are those that are known already.
pub(super) fn mentions(tokens: &[Token<'_>], calls: &[Call]) -> Vec<Mention> {
    let mut found = Found::default();
    let mut before_parenthesis: HashMap<&str, usize> = HashMap::new();
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::Operator(symbol) => found.add(symbol, Place::Operator),
            TokenKind::Word(_) | TokenKind::Quoted(_) => {
                let Some(name) = token.ident() else { continue };
                let is_call = tokens.get(i + 1).is_some_and(|next| next.kind == TokenKind::LParen);
                let is_attribute = i >= 2 && tokens[i - 1].kind == TokenKind::Dot;
                if let Some(word) = token.word() {
                    for (_, symbols) in IMPLIED.iter().filter(|(words, _)| words.contains(&word)) {
                        symbols.iter().for_each(|symbol| found.add(symbol, Place::Operator));
                    }
                    if keywords::is_reserved(word) && !is_attribute {
                        continue;
                    }
                }
                if is_call {
                    *before_parenthesis.entry(name).or_default() += 1;
                } else if is_attribute && is_value(&tokens[i - 2]) {
                    found.add(name, Place::Field);
                } else if is_attribute {
                    found.add(name, Place::Attribute);
                }
                found.add(name, Place::Word);
            }
            _ => {}
        }
    }
    for call in calls {
        if let Some(count) = before_parenthesis.get_mut(call.name.name.as_str()) {
            *count = count.saturating_sub(1);
        }
    }
    for (name, _) in before_parenthesis.into_iter().filter(|&(_, count)| count > 0) {
        found.add(name, Place::Call);
    }
    let mut mentions: Vec<Mention> = found.0.into_iter().collect();
    mentions.sort_unstable();
    mentions
}

/// Strings inside strings of a function's body that are looked into.
const MAX_NESTING: usize = 3;

/// Everything that the body of a function names, in its strings too; `None` where it cannot be told, because the body is not
/// understood or puts together the text that it runs.
pub fn mentions_of_body(body: &str) -> Option<HashSet<Mention>> {
    let mut all = HashSet::new();
    body_mentions(body, 0, &mut all).then_some(all)
}

fn body_mentions(body: &str, nesting: usize, all: &mut HashSet<Mention>) -> bool {
    let lexed = lexer::lex(body);
    if lexed.error.is_some() && nesting == 0 {
        return false;
    }
    all.extend(mentions(&lexed.tokens, &[]));
    let strings = lexed.tokens.iter().filter_map(Token::string).filter(|string| string.contains(['(', ' ']));
    for string in strings.take_while(|_| nesting < MAX_NESTING) {
        body_mentions(string, nesting + 1, all);
    }
    nesting > 0 || !lexed.tokens.iter().any(|token| token.is("execute"))
}

/// Whether an attribute behind this token can be one of any value, rather than of a table's row.
pub(super) fn is_value(token: &Token<'_>) -> bool {
    matches!(token.kind, TokenKind::RParen | TokenKind::RBracket | TokenKind::Param(_))
}

#[derive(Default)]
struct Found(HashSet<Mention>);

impl Found {
    fn add(&mut self, name: &str, place: Place) {
        self.0.insert(Mention { place, name: name.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Facts, Made, classify};

    fn only(sql: &str) -> Facts {
        let mut statements = classify(sql).statements;
        assert_eq!(statements.len(), 1, "{sql}");
        statements.remove(0)
    }

    fn has(facts: &Facts, place: Place, name: &str) -> bool {
        facts.mentions.contains(&Mention { place, name: name.into() })
    }

    #[test]
    fn every_way_to_name_a_function_is_noted() {
        for (sql, place, name) in [
            ("SELECT (1).f", Place::Field, "f"),
            ("SELECT $1.f", Place::Field, "f"),
            ("SELECT t.f FROM t", Place::Attribute, "f"),
            ("SELECT t.\"F\" FROM t", Place::Attribute, "F"),
            ("SELECT U&\"\\0066\" FROM t", Place::Word, "f"),
            ("SELECT 1 ### 2", Place::Operator, "###"),
            ("SELECT 1 OPERATOR(public.=) 2", Place::Operator, "="),
            ("SELECT a IN (b) FROM t", Place::Operator, "="),
            ("SELECT a NOT LIKE b FROM t", Place::Operator, "!~~"),
            ("SELECT a BETWEEN b AND c FROM t", Place::Operator, "<="),
            ("SELECT 1::d", Place::Word, "d"),
            ("SELECT d '1'", Place::Word, "d"),
            ("SELECT ceil(x) FROM t", Place::Call, "ceil"),
            ("SELECT substring(x, 1) FROM t", Place::Call, "substring"),
            ("ALTER TABLE t ADD COLUMN c int DEFAULT f(1)", Place::Call, "f"),
            ("CREATE INDEX ON t (f(a))", Place::Call, "f"),
        ] {
            assert!(has(&only(sql), place, name), "{sql}: {:?}", only(sql).mentions);
        }
    }

    #[test]
    fn what_runs_later_or_is_known_is_not() {
        assert!(!has(&only("SELECT f(1)"), Place::Call, "f"), "it is among the calls");
        for later in [
            "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TABLE t (a int DEFAULT f(1))",
            "ALTER TABLE t ALTER COLUMN a SET DEFAULT f(1)",
            "CREATE TRIGGER r AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "COMMENT ON FUNCTION f(int) IS 'x'",
            "GRANT EXECUTE ON FUNCTION f(int) TO app",
            "DROP FUNCTION f(int)",
        ] {
            assert_eq!(only(later).mentions, vec![], "{later}");
        }
        assert!(only("EXPLAIN SELECT f(1)").is_only_planned);
        assert!(!only("EXPLAIN ANALYZE SELECT f(1)").is_only_planned);
    }

    #[test]
    fn what_ddl_makes_is_told() {
        let code = |name: &str| Made::Code(name.into());
        let on_table = |name: &str| Made::OnTable(name.into());
        for (sql, made) in [
            ("CREATE OR REPLACE FUNCTION public.lower(p pair) RETURNS int RETURN 1", vec![code("lower")]),
            ("CREATE AGGREGATE s.max (pair) (sfunc = f, stype = int)", vec![code("max")]),
            ("CREATE OPERATOR s.### (FUNCTION = f, LEFTARG = int)", vec![code("###")]),
            ("CREATE CAST (pair AS text) WITH FUNCTION f(pair)", vec![code("pair"), code("text")]),
            ("CREATE VIEW s.v AS SELECT f(1)", vec![code("v")]),
            ("CREATE VIEW s.v AS SELECT lower(a) FROM t", vec![]),
            ("CREATE DOMAIN d AS int CHECK (f(VALUE))", vec![code("d")]),
            ("CREATE DOMAIN d AS int CHECK (length(VALUE) > 1)", vec![]),
            ("CREATE TYPE mood AS ENUM ('sad')", vec![]),
            ("CREATE TRIGGER r AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f()", vec![on_table("t")]),
            ("CREATE RULE r AS ON UPDATE TO s.t DO ALSO NOTHING", vec![on_table("t")]),
            ("CREATE POLICY p ON t USING (f(a))", vec![on_table("t")]),
            ("ALTER FUNCTION g(int) RENAME TO lower", vec![code("g"), code("lower")]),
            ("ALTER FUNCTION g(int) SET SCHEMA other", vec![code("g"), Made::Anything]),
            ("ALTER SCHEMA a RENAME TO b", vec![Made::Anything, code("b")]),
            ("CREATE EXTENSION hstore", vec![Made::Anything]),
            ("CREATE TABLE t (a int)", vec![]),
        ] {
            assert_eq!(only(sql).makes, made, "{sql}");
        }
    }

    #[test]
    fn a_body_is_read_with_its_strings() {
        let names = mentions_of_body("BEGIN PERFORM 'SELECT nuke(1)'; RETURN (x).f; END").unwrap();
        for (place, name) in [(Place::Call, "nuke"), (Place::Field, "f")] {
            assert!(names.contains(&Mention { place, name: name.into() }), "{name}");
        }
        assert_eq!(mentions_of_body("BEGIN EXECUTE 'SELECT ' || x; END"), None);
        assert_eq!(mentions_of_body("SELECT 'open"), None);
    }
}
