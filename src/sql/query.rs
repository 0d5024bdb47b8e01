//! Queries and DML: sqlparser's tree where it can be had, the tokens where it cannot.

use std::borrow::Cow;

use sqlparser::ast::{Expr, Spanned};

use super::draft::{Calls, Draft};
use super::lexer::{Token, TokenKind};
use super::reader::Reader;
use super::{Boundedness, Class, Kind, Name, Verb, Write, bridge, parse, statement, walk};

/// Reads a query or a DML statement.
pub(super) fn read(tokens: &[Token<'_>]) -> Draft {
    parsed(tokens).unwrap_or_else(|| unparsed(tokens))
}

/// Reads a list of expressions, as the arguments of CALL or EXECUTE.
pub(super) fn expressions(tokens: &[Token<'_>]) -> Draft {
    let start = tokens.first().map_or(0, |t| t.span.start);
    let mut query = vec![Token { kind: TokenKind::Word(Cow::Borrowed("select")), span: start..start }];
    query.extend_from_slice(tokens);
    read(&query)
}

/// TRUNCATE, behind its word.
pub(super) fn truncate(reader: &mut Reader<'_, '_>) -> Draft {
    let mut draft = Draft::new(Kind::Truncate, Class::Write, "TRUNCATE TABLE");
    reader.eat(&["table"]);
    reader.eat(&["only"]);
    let table = reader.name().unwrap_or_else(|| Name { schema: None, name: String::new() });
    draft.writes.push(Write { verb: Verb::Truncate, table, columns: Vec::new(), bound: Boundedness::NotApplicable });
    draft
}

fn parsed(written: &[Token<'_>]) -> Option<Draft> {
    let tokens = bridge::always(written);
    let mut draft = tree(&tokens).or_else(|| tree(&bridge::gaps(&tokens)?))?;
    // A second look, in case the tree hides a call.
    draft.scan_calls(written, Calls::Dangerous);
    draft.scan_attributes(written, false);
    Some(draft)
}

fn tree(tokens: &[Token<'_>]) -> Option<Draft> {
    let statement = parse::statement(tokens)?;
    walk::collect(&statement, &|expr| source(expr, tokens))
}

pub(super) fn unparsed(tokens: &[Token<'_>]) -> Draft {
    let first = tokens.first();
    let reads = first.is_some_and(|t| {
        t.kind == TokenKind::LParen || matches!(t.word(), Some("select" | "with" | "values" | "table"))
    });
    // A write can stand in a WITH; INTO makes a table.
    let writes = tokens.iter().enumerate().any(|(i, token)| match token.word() {
        Some("into") => true,
        Some("insert" | "update" | "delete" | "merge") => {
            i == 0 || matches!(tokens[i - 1].kind, TokenKind::LParen | TokenKind::RParen)
        }
        _ => false,
    });
    let mut draft = statement::unknown(tokens);
    if reads && !writes {
        draft.kind = Kind::UnparsedMaybeRead;
        draft.class = Class::Read;
        "SELECT".clone_into(&mut draft.tag);
    } else {
        draft.class = Class::Write;
    }
    draft
}

/// An expression as it is written, in one line; as sqlparser spells it where its place in the text is not known.
fn source(expr: &Expr, tokens: &[Token<'_>]) -> String {
    const MOST: usize = 200;
    let text = parse::bytes(expr.span())
        .and_then(|range| {
            let start = tokens.iter().position(|t| t.span.start >= range.start)?;
            let end = tokens.iter().rposition(|t| t.span.end <= range.end)? + 1;
            let (start, end) = match expr {
                // Their own parentheses are not in their spans.
                Expr::Subquery(_) | Expr::Nested(_) if start > 0 && is_enclosed(tokens, start, end) => {
                    (start - 1, end + 1)
                }
                _ => (start, end),
            };
            balanced(tokens, start, end)
        })
        .map(|tokens| bridge::unbridged(&super::normalize::spelled(tokens)))
        .unwrap_or_else(|| expr.to_string());
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn is_enclosed(tokens: &[Token<'_>], start: usize, end: usize) -> bool {
    tokens[start - 1].kind == TokenKind::LParen && tokens.get(end).is_some_and(|t| t.kind == TokenKind::RParen)
}

/// Widens a range of tokens until its parentheses match: sqlparser's spans leave out some.
fn balanced<'t, 'a>(tokens: &'t [Token<'a>], start: usize, end: usize) -> Option<&'t [Token<'a>]> {
    let mut depth = 0i32;
    let mut lowest = 0;
    for token in tokens.get(start..end)? {
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket => depth += 1,
            TokenKind::RParen | TokenKind::RBracket => depth -= 1,
            _ => {}
        }
        lowest = lowest.min(depth);
    }
    let (mut start, mut end) = (start, end);
    for _ in lowest..0 {
        start = start.checked_sub(1)?;
        (tokens[start].kind == TokenKind::LParen).then_some(())?;
    }
    for _ in lowest..depth {
        matches!(tokens.get(end)?.kind, TokenKind::RParen | TokenKind::RBracket).then_some(())?;
        end += 1;
    }
    tokens.get(start..end)
}
