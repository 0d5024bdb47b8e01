//! Long lists of literals are cut short while they are read: nobody needs all of ten thousand rows to judge an INSERT.

use super::{Lexer, MAX_TOKENS, Token, TokenKind};

/// Lists of literals longer than this are cut short while reading: `(1, 2, …)` and rows of VALUES.
const LONG_LIST: usize = 256;

/// Stands for the rest of a list that was cut: a parameter, whose value nobody knows.
const CUT: &str = "$0";

/// A parenthesised list under way.
#[derive(Default)]
pub(super) struct List {
    /// Index of its opening token.
    pub(super) open: usize,
    /// Elements, or whole rows, that were plain literals, one after the other.
    pub(super) literals: usize,
    /// Only literals, signs and commas so far.
    pub(super) plain: bool,
}

impl<'a> Lexer<'a> {
    /// Keeps a token, unless it belongs to a list of literals that is longer than anyone needs to see: then the list's rest is
    /// one unknown value.
    pub(super) fn push(&mut self, kind: TokenKind<'a>, start: usize) -> Result<(), &'static str> {
        match kind {
            TokenKind::LParen | TokenKind::LBracket => {
                self.list.push(List { open: self.out.tokens.len(), literals: 0, plain: true });
            }
            TokenKind::RParen | TokenKind::RBracket => {
                if self.end_of_list(&kind) == Fate::Drop {
                    return Ok(());
                }
            }
            TokenKind::Comma | TokenKind::Operator("-" | "+") => {}
            _ if is_literal(&kind) => match self.literal() {
                Fate::Keep => {}
                Fate::Cut => return self.keep(TokenKind::Param(CUT), start),
                Fate::Drop => return Ok(()),
            },
            _ => {
                if let Some(list) = self.list.last_mut() {
                    list.plain = false;
                }
            }
        }
        self.keep(kind, start)
    }

    fn keep(&mut self, kind: TokenKind<'a>, start: usize) -> Result<(), &'static str> {
        if self.out.tokens.len() >= MAX_TOKENS {
            return Err("too many tokens");
        }
        self.out.tokens.push(Token { kind, span: start..self.pos });
        Ok(())
    }

    /// Forgets the tokens from `len` on; the last one left covers their place in the text.
    fn cut(&mut self, len: usize) {
        self.out.tokens.truncate(len);
        if let Some(last) = self.out.tokens.last_mut() {
            last.span.end = self.pos;
        }
    }

    /// A literal inside a list: the elements of a long one are dropped, with the comma and sign before them.
    fn literal(&mut self) -> Fate {
        let tokens = &self.out.tokens;
        let Some(list) = self.list.last_mut().filter(|list| list.plain) else { return Fate::Keep };
        let signs = tokens.iter().rev().take_while(|t| matches!(t.kind, TokenKind::Operator(_))).count();
        let comma = tokens.len().wrapping_sub(signs + 1);
        let first = comma == list.open;
        if !first && tokens.get(comma).is_none_or(|t| t.kind != TokenKind::Comma) {
            list.plain = false;
            return Fate::Keep;
        }
        list.literals += 1;
        match list.literals.checked_sub(LONG_LIST) {
            None | Some(0) => Fate::Keep,
            Some(1) => Fate::Cut,
            Some(_) => {
                self.cut(comma);
                Fate::Drop
            }
        }
    }

    /// A closing parenthesis: the rows of a long VALUES are dropped where they hold only literals.
    fn end_of_list(&mut self, close: &TokenKind<'_>) -> Fate {
        if self.list.len() < 2 {
            return Fate::Keep;
        }
        let (Some(row), Some(outer)) = (self.list.pop(), self.list.last_mut()) else { return Fate::Keep };
        outer.plain = false;
        let tokens = &self.out.tokens;
        let follows_row = row.open >= 2
            && tokens[row.open - 1].kind == TokenKind::Comma
            && tokens[row.open - 2].kind == TokenKind::RParen;
        if !(row.plain && follows_row && *close == TokenKind::RParen) {
            outer.literals = 0;
            return Fate::Keep;
        }
        outer.literals += 1;
        match outer.literals.checked_sub(LONG_LIST) {
            None | Some(0) => Fate::Keep,
            Some(1) => {
                let span = tokens[row.open].span.end..self.pos - 1;
                self.out.tokens.truncate(row.open + 1);
                self.out.tokens.push(Token { kind: TokenKind::Param(CUT), span });
                Fate::Keep
            }
            Some(_) => {
                self.cut(row.open - 1);
                Fate::Drop
            }
        }
    }
}

/// What becomes of a token of a list.
#[derive(PartialEq)]
enum Fate {
    Keep,
    /// One unknown value in its place.
    Cut,
    Drop,
}

fn is_literal(kind: &TokenKind<'_>) -> bool {
    match kind {
        TokenKind::String(_) | TokenKind::Number(_) | TokenKind::Param(_) | TokenKind::Bits(_) | TokenKind::Hex(_) => {
            true
        }
        TokenKind::Word(word) => matches!(word.as_ref(), "null" | "true" | "false" | "default"),
        _ => false,
    }
}
