//! String literals and quoted identifiers: their ends, escapes and continuations.

use std::borrow::Cow;

use super::{Lexer, is_word};

impl<'a> Lexer<'a> {
    /// `'…'` from the quote at `start`, joined with its continuations on later lines.
    pub(super) fn string(&mut self, start: usize, escapes: bool) -> Result<Cow<'a, str>, &'static str> {
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
    pub(super) fn digits(&mut self) -> Result<&'a str, &'static str> {
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
    pub(super) fn quoted(&mut self, start: usize) -> Result<Cow<'a, str>, &'static str> {
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
    pub(super) fn unicode(&mut self, raw: &str) -> Result<String, &'static str> {
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
