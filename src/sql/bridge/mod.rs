//! Rewrites of tokens that bring a statement into sqlparser's reach. They are for reading only: what is sent to the server is
//! always the client's own text. Each keeps every part that matters for safety.

mod rewrites;

use std::borrow::Cow;

use self::rewrites::REWRITES;
use super::keywords;
use super::lexer::{Token, TokenKind};

/// One gap of sqlparser's and how it is bridged.
struct Rewrite {
    /// Rewrites the tokens at a place: how many are replaced, and by what. `None` where there is no gap.
    at: fn(&[Token<'_>], usize) -> Option<Edit>,
    /// A statement that needs it, and one that says the same without it.
    #[cfg(test)]
    example: (&'static str, &'static str),
}

/// Tokens that stand for others.
#[derive(Debug)]
struct Edit {
    /// How many tokens are replaced.
    take: usize,
    /// What stands there instead.
    give: Vec<TokenKind<'static>>,
}

fn drop(take: usize) -> Option<Edit> {
    Some(Edit { take, give: Vec::new() })
}

fn give<const N: usize>(take: usize, give: [TokenKind<'static>; N]) -> Option<Edit> {
    Some(Edit { take, give: give.into() })
}

const fn word(word: &'static str) -> TokenKind<'static> {
    TokenKind::Word(Cow::Borrowed(word))
}

/// A parameter, whose value nobody knows.
const UNKNOWN: TokenKind<'static> = TokenKind::Param("$0");

/// An operator that is nobody's, of which nothing is known.
const OPERATOR: TokenKind<'static> = TokenKind::Operator("<##>");

/// A name in WITH that no query means.
const UNUSED: TokenKind<'static> = TokenKind::Quoted(Cow::Borrowed("<unused>"));

/// `x BETWEEN SYMMETRIC a AND b` reads as `x <#=#> a <#&#> b`.
pub(super) const SYMMETRIC: &str = "<#=#>";
/// `x NOT BETWEEN SYMMETRIC a AND b` reads as `x <#!#> a <#&#> b`.
pub(super) const NOT_SYMMETRIC: &str = "<#!#>";
/// The AND of both.
pub(super) const SYMMETRIC_AND: &str = "<#&#>";

/// How a VALUES behind the name that no query means is spelled.
const UNUSED_WITH: &str = "with \"<unused>\" as ( select $0 ) values";

/// A predicate's text as it was written, where it can be told.
pub(super) fn unbridged(text: &str) -> String {
    let words = [
        (SYMMETRIC, "between symmetric"),
        (NOT_SYMMETRIC, "not between symmetric"),
        (SYMMETRIC_AND, "and"),
        (UNUSED_WITH, "values"),
    ];
    words.into_iter().fold(text.to_owned(), |text, (mark, words)| text.replace(mark, words))
}

/// Rewrites that are always made, because sqlparser reads something else into the words: it takes ONLY, a reserved word, for a
/// table's name, and the VALUES of a query that is a value, `a = (VALUES (1))`, for a function's.
pub(super) fn always<'t, 'a>(tokens: &'t [Token<'a>]) -> Cow<'t, [Token<'a>]> {
    if !tokens.iter().any(|t| t.is("only") || t.is("values")) {
        return Cow::Borrowed(tokens);
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        if is_only(tokens, i) {
            // `ONLY (t)` is `ONLY t`.
            let name = name_len(&tokens[i + 1..]).unwrap_or(0);
            let inner = name_len(tokens.get(i + 2..).unwrap_or_default()).unwrap_or(0);
            if name == 0 && inner > 0 && tokens.get(i + 2 + inner).is_some_and(|t| t.kind == TokenKind::RParen) {
                out.extend_from_slice(&tokens[i + 2..i + 2 + inner]);
                i += inner + 3;
                continue;
            }
        } else {
            if is_values_as_value(tokens, i) {
                // Behind a WITH that nothing uses it is read as the query that it is.
                let span = tokens[i].span.clone();
                let with =
                    [word("with"), UNUSED, word("as"), TokenKind::LParen, word("select"), UNKNOWN, TokenKind::RParen];
                out.extend(with.into_iter().map(|kind| Token { kind, span: span.clone() }));
            }
            out.push(tokens[i].clone());
        }
        i += 1;
    }
    Cow::Owned(out)
}

fn is_only(tokens: &[Token<'_>], i: usize) -> bool {
    tokens[i].is("only")
        && i > 0
        && !tokens[i - 1].is("row")
        && !tokens[i - 1].is("rows")
        && tokens.get(i + 1).is_some_and(|t| t.ident().is_some() || t.kind == TokenKind::LParen)
}

/// Whether VALUES begins a query in parentheses of which sqlparser expects none: anywhere but behind the words that it may follow.
fn is_values_as_value(tokens: &[Token<'_>], i: usize) -> bool {
    const BEFORE_QUERIES: &[&str] = &[
        "array",
        "as",
        "except",
        "exists",
        "from",
        "in",
        "intersect",
        "join",
        "lateral",
        "materialized",
        "union",
        "using",
    ];
    let (Some(open), Some(before)) = (i.checked_sub(1), i.checked_sub(2)) else { return false };
    let is_distinct_from = || tokens[before].is("from") && before > 0 && tokens[before - 1].is("distinct");
    tokens[i].is("values")
        && tokens[open].kind == TokenKind::LParen
        && match &tokens[before].kind {
            TokenKind::Operator(_) | TokenKind::LParen | TokenKind::LBracket | TokenKind::Comma => true,
            TokenKind::Word(word) => {
                is_distinct_from() || keywords::is_grammar(word) && !BEFORE_QUERIES.contains(&word.as_ref())
            }
            _ => false,
        }
}

/// All rewrites that apply, made at once; `None` where there are none.
pub(super) fn gaps<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let mut out: Vec<Token<'a>> = Vec::with_capacity(tokens.len());
    let mut changed = false;
    let mut i = 0;
    while i < tokens.len() {
        match REWRITES.iter().find_map(|rewrite| (rewrite.at)(tokens, i)) {
            Some(Edit { take, give }) => {
                changed = true;
                let span = tokens[i].span.clone();
                out.extend(give.into_iter().map(|kind| Token { kind, span: span.clone() }));
                if take == 0 {
                    out.push(tokens[i].clone());
                }
                i += take.max(1);
            }
            None => {
                out.push(tokens[i].clone());
                i += 1;
            }
        }
    }
    changed.then_some(out)
}

/// Number of tokens of a possibly qualified name.
fn name_len(tokens: &[Token<'_>]) -> Option<usize> {
    let mut len = 0;
    loop {
        tokens.get(len)?.ident()?;
        len += 1;
        if tokens.get(len).is_none_or(|t| t.kind != TokenKind::Dot) {
            return Some(len);
        }
        len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, Kind, lexer, parse, query, walk};
    use super::*;

    fn read(text: &str) -> Draft {
        query::read(&lexer::lex(text).tokens)
    }

    #[test]
    fn every_gap_is_one_and_is_bridged_without_loss() {
        for Rewrite { example: (text, plain), .. } in REWRITES {
            let lexed = lexer::lex(text);
            let tokens = always(&lexed.tokens);
            let tree = parse::statement(&tokens);
            let understood = tree.and_then(|tree| walk::collect(&tree, &|expr| expr.to_string()));
            assert!(understood.is_none(), "sqlparser can read this by now: {text}");
            let bridged = gaps(&tokens).unwrap_or_else(|| panic!("no rewrite: {text}"));
            assert!(
                parse::statement(&bridged).is_some(),
                "still not read: {text}\n{}",
                super::super::normalize::spelled(&bridged)
            );
            let (read, plain) = (read(text), read(plain));
            assert_eq!(read.kind, plain.kind, "{text}");
            assert_eq!(read.writes, plain.writes, "{text}");
            assert_eq!(read.reads.first(), plain.reads.first().or(read.reads.first()), "{text}");
            let names = |draft: &Draft| draft.functions.iter().map(|call| call.name.clone()).collect::<Vec<_>>();
            assert!(names(&plain).iter().all(|name| names(&read).contains(name) || name.name == "array"), "{text}");
            assert_eq!(read.locks, plain.locks, "{text}");
        }
    }

    #[test]
    fn subscripts_that_call_something_are_not_dropped() {
        for text in ["UPDATE t SET a[f(1)] = 1 WHERE id = 1", "INSERT INTO t (a[f(1)]) VALUES (1)"] {
            assert!(parse::statement(&lexer::lex(text).tokens).is_none());
            assert!(gaps(&lexer::lex(text).tokens).is_none_or(|tokens| parse::statement(&tokens).is_none()), "{text}");
        }
    }

    #[test]
    fn only_is_no_name() {
        for text in [
            "DELETE FROM ONLY t WHERE id = 1",
            "DELETE FROM ONLY (s.t) WHERE id = 1",
            "UPDATE ONLY t SET a = 1 WHERE id = 1",
            "SELECT * FROM ONLY t, ONLY (u) FETCH FIRST 3 ROWS ONLY",
        ] {
            let draft = read(text);
            assert!(draft.kind != Kind::UnparsedMaybeRead && draft.kind != Kind::UnparsedMaybeWrite, "{text}");
            let names = draft.writes.iter().map(|w| &w.table).chain(&draft.reads);
            assert!(names.clone().all(|name| name.name != "only"), "{text}");
            assert!(names.clone().any(|name| name.name == "t"), "{text}");
        }
    }
}
