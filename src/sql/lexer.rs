//! Text to tokens, by the rules of Postgres's own scanner (`src/backend/parser/scan.l`).
//!
//! sqlparser's tokenizer is not used: it and the server must agree to the byte on where comments, strings and operators
//! end, and it does not (`1 >-- '` is an operator and an open string to it, an operator and a comment to the server).
//! Assumed, and kept so by the policy's text traps: `standard_conforming_strings` is on, the encoding is UTF-8.

use std::borrow::Cow;
use std::ops::Range;

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

/// Lists of literals longer than this are cut short while reading: `(1, 2, …)` and rows of VALUES.
const LONG_LIST: usize = 256;

/// Stands for the rest of a list that was cut: a parameter, whose value nobody knows.
const CUT: &str = "$0";

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

/// A parenthesised list under way.
#[derive(Default)]
struct List {
    /// Index of its opening token.
    open: usize,
    /// Elements, or whole rows, that were plain literals, one after the other.
    literals: usize,
    /// Only literals, signs and commas so far.
    plain: bool,
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

    /// `'…'` from the quote at `start`, joined with its continuations on later lines.
    fn string(&mut self, start: usize, escapes: bool) -> Result<Cow<'a, str>, &'static str> {
        self.pos = start + 1;
        let body = self.pos;
        // Most literals need no copy.
        let plain = self.bytes[body..].iter().position(|&b| b == b'\'' || (escapes && b == b'\\'));
        let end = body + plain.ok_or("unterminated quoted string")?;
        if self.bytes[end] == b'\'' && self.bytes.get(end + 1) != Some(&b'\'') {
            self.pos = end + 1;
            let first = self.slice(body, end);
            return match self.continuation() {
                None => Ok(Cow::Borrowed(first)),
                Some(_) => {
                    let mut value = first.as_bytes().to_vec();
                    self.string_rest(&mut value, escapes)?;
                    utf8(value).map(Cow::Owned)
                }
            };
        }
        let mut value = Vec::new();
        self.string_rest(&mut value, escapes)?;
        utf8(value).map(Cow::Owned)
    }

    fn string_rest(&mut self, value: &mut Vec<u8>, escapes: bool) -> Result<(), &'static str> {
        loop {
            let byte = self.peek(0).ok_or("unterminated quoted string")?;
            self.pos += 1;
            match byte {
                b'\'' if self.peek(0) == Some(b'\'') => {
                    value.push(b'\'');
                    self.pos += 1;
                }
                b'\'' => {
                    if self.continuation().is_none() {
                        return Ok(());
                    }
                }
                b'\\' if escapes => self.escape(value)?,
                _ => value.push(byte),
            }
        }
    }

    /// Steps over white space that holds a line end, and a quote behind it.
    fn continuation(&mut self) -> Option<()> {
        let mut at = self.pos;
        let mut line_end = false;
        loop {
            match self.bytes.get(at)? {
                b'\n' | b'\r' => line_end = true,
                b' ' | b'\t' | 0x0b | 0x0c => {}
                b'-' if self.bytes.get(at + 1) == Some(&b'-') => {
                    while !matches!(self.bytes.get(at)?, b'\n' | b'\r') {
                        at += 1;
                    }
                    continue;
                }
                b'\'' if line_end => {
                    self.pos = at + 1;
                    return Some(());
                }
                _ => return None,
            }
            at += 1;
        }
    }

    /// What follows a backslash in `E'…'`.
    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), &'static str> {
        let byte = self.peek(0).ok_or("unterminated quoted string")?;
        self.pos += 1;
        match byte {
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'v' => value.push(11),
            b'0'..=b'7' => {
                self.pos -= 1;
                let digits = self.take_digits(3, |b| (b'0'..=b'7').contains(&b));
                value.push((u32::from_str_radix(digits, 8).unwrap_or(0) & 0xff) as u8);
            }
            b'x' if self.peek(0).is_some_and(|b| b.is_ascii_hexdigit()) => {
                let digits = self.take_digits(2, |b| b.is_ascii_hexdigit());
                value.push(u8::from_str_radix(digits, 16).unwrap_or(0));
            }
            b'u' | b'U' => {
                let width = if byte == b'u' { 4 } else { 8 };
                let digits = self.take_digits(width, |b| b.is_ascii_hexdigit());
                let mut code = u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
                if digits.len() != width {
                    return Err("invalid Unicode escape");
                }
                if (0xd800..0xdc00).contains(&code) && self.peek(0) == Some(b'\\') && self.peek(1) == Some(b'u') {
                    self.pos += 2;
                    let low = u32::from_str_radix(self.take_digits(4, |b| b.is_ascii_hexdigit()), 16).unwrap_or(0);
                    code = surrogates(code, low);
                }
                let char = char::from_u32(code).ok_or("invalid Unicode escape")?;
                value.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => value.push(byte),
        }
        Ok(())
    }

    fn take_digits(&mut self, most: usize, digit: fn(u8) -> bool) -> &'a str {
        let start = self.pos;
        while self.pos - start < most && self.peek(0).is_some_and(digit) {
            self.pos += 1;
        }
        self.slice(start, self.pos)
    }

    /// `B'…'` and `X'…'`.
    fn digits(&mut self) -> Result<&'a str, &'static str> {
        let start = self.pos + 2;
        let len = self.bytes[start..].iter().position(|&b| b == b'\'').ok_or("unterminated bit string")?;
        self.pos = start + len + 1;
        while self.continuation().is_some() {
            let len = self.bytes[self.pos..].iter().position(|&b| b == b'\'').ok_or("unterminated bit string")?;
            self.pos += len + 1;
        }
        Ok(self.slice(start, start + len))
    }

    /// `"…"` from the quote at `start`.
    fn quoted(&mut self, start: usize) -> Result<Cow<'a, str>, &'static str> {
        let body = start + 1;
        let mut end = body;
        let mut doubled = false;
        loop {
            let len = self.bytes[end..].iter().position(|&b| b == b'"').ok_or("unterminated quoted identifier")?;
            end += len;
            if self.bytes.get(end + 1) != Some(&b'"') {
                break;
            }
            doubled = true;
            end += 2;
        }
        if end == body {
            return Err("zero-length delimited identifier");
        }
        self.pos = end + 1;
        let raw = self.slice(body, end);
        Ok(if doubled { Cow::Owned(raw.replace("\"\"", "\"")) } else { Cow::Borrowed(raw) })
    }

    /// Decodes `U&…`, with the escape character of a UESCAPE that follows.
    fn unicode(&mut self, raw: &str) -> Result<String, &'static str> {
        let escape = self.uescape()?.unwrap_or('\\');
        let mut out = String::with_capacity(raw.len());
        let mut chars = raw.chars().peekable();
        while let Some(char) = chars.next() {
            if char != escape {
                out.push(char);
                continue;
            }
            if chars.peek() == Some(&escape) {
                chars.next();
                out.push(escape);
                continue;
            }
            let mut code = unicode_digits(&mut chars)?;
            if (0xd800..0xdc00).contains(&code) && chars.peek() == Some(&escape) {
                chars.next();
                code = surrogates(code, unicode_digits(&mut chars)?);
            }
            out.push(char::from_u32(code).filter(|&c| c != '\0').ok_or("invalid Unicode escape")?);
        }
        Ok(out)
    }

    /// `UESCAPE 'c'` behind a `U&` token, comments and white space between.
    fn uescape(&mut self) -> Result<Option<char>, &'static str> {
        let before = self.pos;
        self.skip_blank()?;
        let start = self.pos;
        if !self.bytes.get(start..start + 7).is_some_and(|w| w.eq_ignore_ascii_case(b"uescape"))
            || self.bytes.get(start + 7).is_some_and(|&b| is_word(b))
        {
            self.pos = before;
            return Ok(None);
        }
        self.pos = start + 7;
        self.skip_blank()?;
        if self.peek(0) != Some(b'\'') {
            return Err("UESCAPE must be followed by a simple string literal");
        }
        let value = self.string(self.pos, false)?;
        let mut chars = value.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_ascii_hexdigit() && !"+'\" \t\n\r".contains(c) => Ok(Some(c)),
            _ => Err("invalid Unicode escape character"),
        }
    }

    fn skip_blank(&mut self) -> Result<(), &'static str> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c), _) => self.pos += 1,
                (Some(b'-'), Some(b'-')) => self.line_comment(),
                (Some(b'/'), Some(b'*')) => self.block_comment()?,
                _ => return Ok(()),
            }
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

    /// Keeps a token, unless it belongs to a list of literals that is longer than anyone needs to see: then the list's rest is
    /// one unknown value.
    fn push(&mut self, kind: TokenKind<'a>, start: usize) -> Result<(), &'static str> {
        match kind {
            TokenKind::LParen | TokenKind::LBracket => {
                self.list.push(List { open: self.out.tokens.len(), literals: 0, plain: true });
            }
            TokenKind::RParen | TokenKind::RBracket => {
                if self.end_of_list(&kind) == Keep::Drop {
                    return Ok(());
                }
            }
            TokenKind::Comma | TokenKind::Operator("-" | "+") => {}
            _ if is_literal(&kind) => match self.literal() {
                Keep::Keep => {}
                Keep::Cut => return self.keep(TokenKind::Param(CUT), start),
                Keep::Drop => return Ok(()),
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
    fn literal(&mut self) -> Keep {
        let tokens = &self.out.tokens;
        let Some(list) = self.list.last_mut().filter(|list| list.plain) else { return Keep::Keep };
        let signs = tokens.iter().rev().take_while(|t| matches!(t.kind, TokenKind::Operator(_))).count();
        let comma = tokens.len().wrapping_sub(signs + 1);
        let first = comma == list.open;
        if !first && tokens.get(comma).is_none_or(|t| t.kind != TokenKind::Comma) {
            list.plain = false;
            return Keep::Keep;
        }
        list.literals += 1;
        match list.literals.checked_sub(LONG_LIST) {
            None | Some(0) => Keep::Keep,
            Some(1) => Keep::Cut,
            Some(_) => {
                self.cut(comma);
                Keep::Drop
            }
        }
    }

    /// A closing parenthesis: the rows of a long VALUES are dropped where they hold only literals.
    fn end_of_list(&mut self, close: &TokenKind<'_>) -> Keep {
        if self.list.len() < 2 {
            return Keep::Keep;
        }
        let (Some(row), Some(outer)) = (self.list.pop(), self.list.last_mut()) else { return Keep::Keep };
        outer.plain = false;
        let tokens = &self.out.tokens;
        let follows_row = row.open >= 2
            && tokens[row.open - 1].kind == TokenKind::Comma
            && tokens[row.open - 2].kind == TokenKind::RParen;
        if !(row.plain && follows_row && *close == TokenKind::RParen) {
            outer.literals = 0;
            return Keep::Keep;
        }
        outer.literals += 1;
        match outer.literals.checked_sub(LONG_LIST) {
            None | Some(0) => Keep::Keep,
            Some(1) => {
                let span = tokens[row.open].span.end..self.pos - 1;
                self.out.tokens.truncate(row.open + 1);
                self.out.tokens.push(Token { kind: TokenKind::Param(CUT), span });
                Keep::Keep
            }
            Some(_) => {
                self.cut(row.open - 1);
                Keep::Drop
            }
        }
    }
}

#[derive(PartialEq)]
enum Keep {
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

fn utf8(bytes: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(bytes).map_err(|_| "invalid byte sequence for encoding UTF8")
}

fn surrogates(high: u32, low: u32) -> u32 {
    if (0xdc00..0xe000).contains(&low) { 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) } else { u32::MAX }
}

/// `XXXX` or `+XXXXXX` behind a Unicode escape character.
fn unicode_digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<u32, &'static str> {
    let width = if chars.peek() == Some(&'+') {
        chars.next();
        6
    } else {
        4
    };
    let mut code = 0;
    for _ in 0..width {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or("invalid Unicode escape")?;
        code = code * 16 + digit;
    }
    Ok(code)
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
