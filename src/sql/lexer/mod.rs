//! Text to tokens, by the rules of Postgres's own scanner (`src/backend/parser/scan.l`).
//!
//! sqlparser's tokenizer is not used: it and the server must agree to the byte on where comments, strings and operators
//! end, and it does not (`1 >-- '` is an operator and an open string to it, an operator and a comment to the server).
//! Assumed, and kept so by the policy's text traps: `standard_conforming_strings` is on, the encoding is UTF-8.

mod lists;
mod strings;

use std::borrow::Cow;
use std::ops::Range;

use self::lists::List;

/// A token and where it stands, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// Unquoted identifier or keyword, folded to lower case.
    Word(Cow<'a, str>),
    /// `"quoted"` identifier, also `U&"…"`, decoded.
    Quoted(Cow<'a, str>),
    /// Any string literal, decoded: `'…'`, `E'…'`, `U&'…'`, `N'…'`, `$$…$$`.
    String(Cow<'a, str>),
    /// `B'…'`; the digits.
    Bits(&'a str),
    /// `X'…'`; the digits.
    Hex(&'a str),
    /// A number as written.
    Number(&'a str),
    /// `$1`, with its dollar.
    Param(&'a str),
    /// An operator, `*`, `=`, `<` … included.
    Operator(&'a str),
    LParen,
    RParen,
    LBracket,
    RBracket,
    Comma,
    Semicolon,
    Dot,
    DotDot,
    Colon,
    DoubleColon,
    ColonEquals,
    /// `=>`
    Arrow,
    /// A character that Postgres has no token for.
    Other(char),
}

impl Token<'_> {
    /// Whether this is the unquoted `word` (lower case).
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(w) if w == word)
    }

    /// The unquoted word, folded.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The identifier, quoted or not.
    pub(super) fn ident(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Word(word) | TokenKind::Quoted(word) => Some(word),
            _ => None,
        }
    }

    /// The string literal's value.
    pub(super) fn string(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::String(value) => Some(value),
            _ => None,
        }
    }
}

/// A whole text, cut into tokens.
#[derive(Debug, Default)]
pub(super) struct Lexed<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    /// The first and the last comment, without their marks: where a sqlcommenter comment stands.
    pub(super) outer_comments: Vec<&'a str>,
    /// A `U&"…"` identifier was seen.
    pub(super) unicode_identifier: bool,
    /// Why the text ends in the middle of a token, if it does; the tokens before it are there.
    pub(super) error: Option<&'static str>,
}

/// Most tokens of one text that are kept; a longer text is not understood. Memory: about 64 bytes a token here and some
/// 400 in the tree that is made of them.
pub(super) const MAX_TOKENS: usize = 120_000;

/// Cuts `text` into tokens.
pub(super) fn lex(text: &str) -> Lexed<'_> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), pos: 0, out: Lexed::default(), list: Vec::new() };
    if let Err(why) = lexer.run() {
        lexer.out.error = Some(why);
    }
    lexer.out
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pos: usize,
    out: Lexed<'a>,
    /// One for each open parenthesis or bracket: the literals seen in a row, and whether anything else was seen.
    list: Vec<List>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), &'static str> {
        self.list.push(List { open: 0, literals: 0, plain: false });
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.pos += 1,
                b'-' if self.peek(1) == Some(b'-') => self.line_comment(),
                b'/' if self.peek(1) == Some(b'*') => self.block_comment()?,
                _ => {
                    let start = self.pos;
                    let kind = self.token(byte)?;
                    self.push(kind, start)?;
                }
            }
        }
        Ok(())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.pos + ahead).copied()
    }

    fn token(&mut self, byte: u8) -> Result<TokenKind<'a>, &'static str> {
        let next = self.peek(1);
        let kind = match byte {
            b'\'' => return Ok(TokenKind::String(self.string(self.pos, false)?)),
            b'e' | b'E' if next == Some(b'\'') => return Ok(TokenKind::String(self.string(self.pos + 1, true)?)),
            b'n' | b'N' if next == Some(b'\'') => return Ok(TokenKind::String(self.string(self.pos + 1, false)?)),
            b'b' | b'B' if next == Some(b'\'') => return Ok(TokenKind::Bits(self.digits()?)),
            b'x' | b'X' if next == Some(b'\'') => return Ok(TokenKind::Hex(self.digits()?)),
            b'u' | b'U' if next == Some(b'&') && self.peek(2) == Some(b'\'') => {
                let raw = self.string(self.pos + 2, false)?;
                return Ok(TokenKind::String(Cow::Owned(self.unicode(&raw)?)));
            }
            b'u' | b'U' if next == Some(b'&') && self.peek(2) == Some(b'"') => {
                self.out.unicode_identifier = true;
                let raw = self.quoted(self.pos + 2)?;
                return Ok(TokenKind::Quoted(truncate(Cow::Owned(self.unicode(&raw)?))));
            }
            b'"' => return Ok(TokenKind::Quoted(truncate(self.quoted(self.pos)?))),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return Ok(TokenKind::Word(self.word())),
            b'0'..=b'9' => return Ok(TokenKind::Number(self.number())),
            b'.' if next.is_some_and(|b| b.is_ascii_digit()) => return Ok(TokenKind::Number(self.number())),
            b'.' if next == Some(b'.') => {
                self.pos += 2;
                return Ok(TokenKind::DotDot);
            }
            b':' if next == Some(b':') => {
                self.pos += 2;
                return Ok(TokenKind::DoubleColon);
            }
            b':' if next == Some(b'=') => {
                self.pos += 2;
                return Ok(TokenKind::ColonEquals);
            }
            b'$' => return self.dollar(),
            b'(' => TokenKind::LParen,
            b')' => TokenKind::RParen,
            b'[' => TokenKind::LBracket,
            b']' => TokenKind::RBracket,
            b',' => TokenKind::Comma,
            b';' => TokenKind::Semicolon,
            b'.' => TokenKind::Dot,
            b':' => TokenKind::Colon,
            _ if is_operator(byte) => {
                let operator = self.operator();
                return Ok(if operator == "=>" { TokenKind::Arrow } else { TokenKind::Operator(operator) });
            }
            _ => TokenKind::Other(char::from(byte)),
        };
        self.pos += 1;
        Ok(kind)
    }

    /// `--` to the end of the line; Postgres ends it at a carriage return too.
    fn line_comment(&mut self) {
        let rest = &self.bytes[self.pos..];
        let len = rest.iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(rest.len());
        self.pos += len;
    }

    /// `/* … */`, nested.
    fn block_comment(&mut self) -> Result<(), &'static str> {
        let start = self.pos + 2;
        self.pos = start;
        let mut depth = 1;
        while depth > 0 {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.pos += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.pos += 2;
                }
                (Some(_), _) => self.pos += 1,
                (None, _) => return Err("unterminated comment"),
            }
        }
        if let Some(comment) = self.text.get(start..self.pos - 2) {
            if self.out.outer_comments.len() == 2 {
                self.out.outer_comments[1] = comment;
            } else {
                self.out.outer_comments.push(comment);
            }
        }
        Ok(())
    }

    /// The longest operator that Postgres would take here: cut at a comment, without a trailing sign unless it holds one of
    /// ``~!@#^&|`?%``.
    fn operator(&mut self) -> &'a str {
        let rest = &self.bytes[self.pos..];
        let mut len = rest.iter().position(|&b| !is_operator(b)).unwrap_or(rest.len());
        if let Some(comment) = rest[..len].windows(2).position(|w| w == b"--" || w == b"/*") {
            len = comment.max(1);
        }
        let sign = |len: usize| matches!(rest[len - 1], b'+' | b'-');
        if len > 1 && sign(len) && !rest[..len - 1].iter().any(|b| b"~!@#^&|`?%".contains(b)) {
            while len > 1 && sign(len) {
                len -= 1;
            }
        }
        let start = self.pos;
        self.pos += len;
        self.slice(start, self.pos)
    }

    fn word(&mut self) -> Cow<'a, str> {
        let rest = &self.bytes[self.pos..];
        let len = rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
        let start = self.pos;
        self.pos += len;
        let word = self.slice(start, self.pos);
        // Only ASCII letters fold in a multi-byte encoding (downcase_identifier).
        truncate(if word.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(word.to_ascii_lowercase())
        } else {
            Cow::Borrowed(word)
        })
    }

    fn number(&mut self) -> &'a str {
        let start = self.pos;
        let radix: Option<fn(&u8) -> bool> = match (self.peek(0), self.peek(1)) {
            (Some(b'0'), Some(b'x' | b'X')) => Some(u8::is_ascii_hexdigit),
            (Some(b'0'), Some(b'o' | b'O' | b'b' | b'B')) => Some(u8::is_ascii_digit),
            _ => None,
        };
        if let Some(digit) = radix.filter(|digit| self.peek(2).is_some_and(|b| b == b'_' || digit(&b))) {
            self.pos += 2;
            self.digit_run(digit);
            return self.slice(start, self.pos);
        }
        self.digit_run(u8::is_ascii_digit);
        // `1..10` is 1, two dots, 10.
        if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
            self.pos += 1;
            self.digit_run(u8::is_ascii_digit);
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                self.pos += 1 + sign;
                self.digit_run(u8::is_ascii_digit);
            }
        }
        self.slice(start, self.pos)
    }

    /// Digits, single underscores between them included (Postgres 16).
    fn digit_run(&mut self, digit: fn(&u8) -> bool) {
        while let Some(byte) = self.peek(0) {
            let underscore = byte == b'_' && self.peek(1).is_some_and(|b| digit(&b));
            if !digit(&byte) && !underscore {
                break;
            }
            self.pos += 1;
        }
    }

    /// `$1`, `$$…$$`, `$tag$…$tag$`.
    fn dollar(&mut self) -> Result<TokenKind<'a>, &'static str> {
        let start = self.pos;
        let rest = &self.bytes[start + 1..];
        if rest.first().is_some_and(u8::is_ascii_digit) {
            let len = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
            self.pos = start + 1 + len;
            return Ok(TokenKind::Param(self.slice(start, self.pos)));
        }
        let len = rest.iter().position(|&b| !is_word(b) || b == b'$').unwrap_or(rest.len());
        if rest.get(len) != Some(&b'$') {
            self.pos += 1;
            return Ok(TokenKind::Other('$'));
        }
        let delimiter = self.slice(start, start + len + 2);
        let body = start + delimiter.len();
        let end = self.text.get(body..).and_then(|t| t.find(delimiter)).ok_or("unterminated dollar-quoted string")?;
        self.pos = body + end + delimiter.len();
        Ok(TokenKind::String(Cow::Borrowed(self.slice(body, body + end))))
    }

    /// Tokens end on character boundaries, as every delimiter is ASCII and words take all other bytes.
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or("")
    }
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Cuts an identifier to NAMEDATALEN - 1 bytes, on a character boundary, as the server does.
fn truncate(name: Cow<'_, str>) -> Cow<'_, str> {
    const MOST: usize = 63;
    if name.len() <= MOST {
        return name;
    }
    let mut end = MOST;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[..end]),
        Cow::Owned(mut name) => {
            name.truncate(end);
            Cow::Owned(name)
        }
    }
}

#[cfg(test)]
mod tests;
