//! What DDL makes or changes that runs code under a name of its own, so that the next statements are judged with it in mind.

use super::draft::Runs;
use super::lexer::{Token, TokenKind};
use super::reader::{Reader, outside};
use super::{Made, functions};

/// What CREATE or ALTER of an object, behind the words that name its type, gives code to.
pub(super) fn made(object: &str, rest: &[Token<'_>]) -> Vec<Made> {
    let mut reader = Reader::new(rest);
    let mut made = Vec::new();
    match object {
        "AGGREGATE" | "FUNCTION" | "PROCEDURE" | "ROUTINE" => {
            reader.eat(&["if", "exists"]);
            made.extend(reader.name().map(|name| Made::Code(name.name.into())));
        }
        // Code runs there only if their own checks or queries call it. Other types have none but what superusers give them.
        "DOMAIN" | "MATERIALIZED VIEW" | "VIEW" => {
            reader.eat(&["if", "not", "exists"]);
            reader.eat(&["if", "exists"]);
            let name = reader.name().map(|name| Made::Code(name.name.into()));
            made.extend(name.filter(|_| calls_own(reader.rest())));
        }
        "OPERATOR" => {
            let symbol = rest.iter().find_map(|token| match token.kind {
                TokenKind::Operator(symbol) => Some(symbol),
                _ => None,
            });
            made.extend(symbol.map(|symbol| Made::Code(symbol.into())));
        }
        "CAST" => {
            let types = reader.parenthesised().unwrap_or_default();
            made.extend(
                types.iter().filter(|t| !t.is("as")).filter_map(Token::ident).map(|name| Made::Code(name.into())),
            );
        }
        "POLICY" | "TRIGGER" => made.extend(table_behind(&mut reader, "on")),
        "RULE" => made.extend(table_behind(&mut reader, "to")),
        // Whatever they hold comes along, or is found under another name.
        "EXTENSION" | "SCHEMA" => made.push(Made::Anything),
        _ => {}
    }
    if let Some(name) = renamed(rest).filter(|_| !made.is_empty()) {
        made.push(Made::Code(name.into()));
    }
    if !made.is_empty() && outside(rest).any(|i| rest[i].is("set") && rest.get(i + 1).is_some_and(|t| t.is("schema"))) {
        made.push(Made::Anything);
    }
    made
}

/// When that runs what a statement on an object names: an index, a new column's default or a check is computed for the rows
/// that are there, a function's or a trigger's definition is not.
pub(super) fn runs(verb: &str, object: &str, rest: &[Token<'_>]) -> Runs {
    let has = |words: &[&str]| rest.iter().any(|token| words.iter().any(|word| token.is(word)));
    let at_once = match (verb, object) {
        ("CREATE", "INDEX") | ("ALTER", "DOMAIN") => true,
        ("ALTER", "TABLE" | "FOREIGN TABLE") => has(&["add", "attach", "type", "using", "validate"]),
        // The bounds of a partition.
        ("CREATE", "TABLE") => has(&["values"]),
        _ => false,
    };
    if at_once { Runs::Now } else { Runs::Later }
}

/// Whether there is a name before a parenthesis that is no function of Postgres's own.
fn calls_own(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).any(|pair| {
        pair[1].kind == TokenKind::LParen && pair[0].ident().is_some_and(|name| !functions::is_built_in(name))
    })
}

fn table_behind(reader: &mut Reader<'_, '_>, word: &str) -> Option<Made> {
    reader.until(&[word])?;
    reader.eat(&["only"]);
    reader.name().map(|name| Made::OnTable(name.name.into()))
}

/// The new name of `… RENAME TO name`.
fn renamed<'t>(rest: &'t [Token<'_>]) -> Option<&'t str> {
    match rest {
        [.., rename, to, name] if rename.is("rename") && to.is("to") => name.ident(),
        _ => None,
    }
}
