//! Rewrites of tokens that bring a statement into sqlparser's reach. They are for reading only: what is sent to the server is
//! always the client's own text. Each keeps every part that matters for safety.

use std::borrow::Cow;

use super::keywords;
use super::lexer::{Token, TokenKind};

/// One gap of sqlparser's and how it is bridged.
struct Rewrite {
    /// What the gap is, for who reads this table.
    #[cfg_attr(not(test), allow(dead_code, reason = "documentation, and the tests' messages"))]
    gap: &'static str,
    /// Rewrites the tokens at a place: how many are replaced, and by what. `None` where there is no gap.
    at: fn(&[Token<'_>], usize) -> Option<Edit>,
    /// A statement that needs it, and one that reads the same without it.
    #[cfg(test)]
    example: (&'static str, &'static str),
}

/// Tokens that stand for others.
#[derive(Debug, Default)]
struct Edit {
    /// How many tokens are replaced.
    take: usize,
    /// What stands there instead.
    give: Vec<TokenKind<'static>>,
}

fn drop(take: usize) -> Option<Edit> {
    Some(Edit { take, give: Vec::new() })
}

fn words(take: usize, words: &[&'static str]) -> Option<Edit> {
    Some(Edit { take, give: words.iter().map(|word| TokenKind::Word(Cow::Borrowed(word))).collect() })
}

/// A parameter, whose value nobody knows.
const UNKNOWN: TokenKind<'static> = TokenKind::Param("$0");

/// Rewrites that are always made, because sqlparser reads something else into the words: it takes ONLY, a reserved word, for a
/// table's name.
pub(super) fn always<'t, 'a>(tokens: &'t [Token<'a>]) -> Cow<'t, [Token<'a>]> {
    let is_only = |i: usize| {
        tokens[i].is("only")
            && i > 0
            && !tokens[i - 1].is("row")
            && !tokens[i - 1].is("rows")
            && tokens.get(i + 1).is_some_and(|t| t.ident().is_some() || t.kind == TokenKind::LParen)
    };
    if !tokens.iter().any(|t| t.is("only")) {
        return Cow::Borrowed(tokens);
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        if is_only(i) {
            // `ONLY (t)` is `ONLY t`.
            let name = name_len(&tokens[i + 1..]).unwrap_or(0);
            let inner = name_len(tokens.get(i + 2..).unwrap_or_default()).unwrap_or(0);
            if name == 0 && inner > 0 && tokens.get(i + 2 + inner).is_some_and(|t| t.kind == TokenKind::RParen) {
                out.extend_from_slice(&tokens[i + 2..i + 2 + inner]);
                i += inner + 3;
                continue;
            }
        } else {
            out.push(tokens[i].clone());
        }
        i += 1;
    }
    Cow::Owned(out)
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

const REWRITES: &[Rewrite] = &[];

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
