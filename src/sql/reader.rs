//! Reading statements token by token: a cursor over tokens, and the cutting of a text into statements.

use super::Name;
use super::lexer::{Token, TokenKind};

/// A cursor over the tokens of one statement.
#[derive(Clone, Debug)]
pub(super) struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
}

impl<'t, 'a> Reader<'t, 'a> {
    pub(super) fn new(tokens: &'t [Token<'a>]) -> Self {
        Reader { tokens }
    }

    /// What is not yet read.
    pub(super) fn rest(&self) -> &'t [Token<'a>] {
        self.tokens
    }

    pub(super) fn peek(&self) -> Option<&'t TokenKind<'a>> {
        self.tokens.first().map(|t| &t.kind)
    }

    pub(super) fn next(&mut self) -> Option<&'t Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    pub(super) fn at_end(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether the next tokens are these unquoted words.
    pub(super) fn at(&self, words: &[&str]) -> bool {
        self.tokens.len() >= words.len() && self.tokens.iter().zip(words).all(|(token, word)| token.is(word))
    }

    /// Reads these unquoted words, if they come next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.at(words);
        if found {
            self.tokens = &self.tokens[words.len()..];
        }
        found
    }

    /// Reads one of these words, if it comes next.
    pub(super) fn eat_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(&[word]))
    }

    pub(super) fn eat_kind(&mut self, kind: &TokenKind<'_>) -> bool {
        let found = self.peek() == Some(kind);
        if found {
            self.next();
        }
        found
    }

    /// An identifier, quoted or not.
    pub(super) fn ident(&mut self) -> Option<&'t str> {
        let ident = self.tokens.first()?.ident()?;
        self.next();
        Some(ident)
    }

    /// A possibly qualified name; a catalog before the schema is dropped.
    pub(super) fn name(&mut self) -> Option<Name> {
        let mut schema = None;
        let mut name = self.ident()?;
        while self.peek() == Some(&TokenKind::Dot) {
            let mut ahead = self.clone();
            ahead.next();
            let Some(part) = ahead.ident() else { break };
            *self = ahead;
            schema = Some(name);
            name = part;
        }
        Some(Name { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    /// Reads `( … )` and gives what is inside.
    pub(super) fn parenthesised(&mut self) -> Option<&'t [Token<'a>]> {
        if self.peek() != Some(&TokenKind::LParen) {
            return None;
        }
        let len = closing(self.tokens)?;
        let inside = &self.tokens[1..len];
        self.tokens = &self.tokens[len + 1..];
        Some(inside)
    }

    /// Splits at the first of `words` outside parentheses: what stands before it; the cursor stands behind it.
    pub(super) fn until(&mut self, words: &[&str]) -> Option<&'t [Token<'a>]> {
        let at = outside(self.tokens).find(|&i| words.iter().any(|w| self.tokens[i].is(w)))?;
        let before = &self.tokens[..at];
        self.tokens = &self.tokens[at + 1..];
        Some(before)
    }
}

/// Index of the parenthesis that closes the one at the start.
fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LParen => depth += 1,
            TokenKind::RParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// Indexes of the tokens outside all parentheses.
pub(super) fn outside<'t>(tokens: &'t [Token<'_>]) -> impl Iterator<Item = usize> + 't {
    let mut depth = 0usize;
    tokens.iter().enumerate().filter_map(move |(i, token)| match token.kind {
        TokenKind::LParen => {
            depth += 1;
            None
        }
        TokenKind::RParen => {
            depth = depth.saturating_sub(1);
            None
        }
        _ => (depth == 0).then_some(i),
    })
}

/// Cuts a text's tokens into statements, at semicolons outside parentheses and outside the body of
/// `CREATE FUNCTION … BEGIN ATOMIC … END`. Empty statements are left out.
pub(super) fn statements<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut depth = 0usize;
    // Depth of BEGIN ATOMIC and CASE inside a routine's body.
    let mut body = 0usize;
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::LParen => depth += 1,
            TokenKind::RParen => depth = depth.saturating_sub(1),
            TokenKind::Semicolon if depth == 0 && body == 0 => {
                found.push(&tokens[start..i]);
                start = i + 1;
            }
            TokenKind::Word(word) if depth == 0 || body > 0 => match word.as_ref() {
                "begin" if body == 0 && is_atomic(tokens, i) && is_routine(&tokens[start..i]) => body = 1,
                // `AS end` and `t.end` are names.
                "case" if body > 0 && !is_label(tokens, i) => body += 1,
                "end" if body > 0 && !is_label(tokens, i) => body -= 1,
                _ => {}
            },
            _ => {}
        }
    }
    found.push(&tokens[start..]);
    found.retain(|statement| !statement.is_empty());
    found
}

fn is_atomic(tokens: &[Token<'_>], begin: usize) -> bool {
    tokens.get(begin + 1).is_some_and(|t| t.is("atomic"))
}

fn is_routine(head: &[Token<'_>]) -> bool {
    let mut reader = Reader::new(head);
    let create = reader.eat(&["create"]);
    reader.eat(&["or", "replace"]);
    create && reader.eat_any(&["function", "procedure"])
}

fn is_label(tokens: &[Token<'_>], at: usize) -> bool {
    at > 0 && (tokens[at - 1].is("as") || tokens[at - 1].kind == TokenKind::Dot)
}

/// What stands between the commas outside all parentheses and brackets.
pub(super) fn split_at_commas<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut depth = 0usize;
    tokens
        .split(|token| {
            match token.kind {
                TokenKind::LParen | TokenKind::LBracket => depth += 1,
                TokenKind::RParen | TokenKind::RBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.kind == TokenKind::Comma
        })
        .collect()
}
