//! A statement's text without its literals and its white space, and its fingerprint: equal for statements that differ in
//! nothing else.

use std::fmt::Write;

use super::lexer::{Token, TokenKind};

/// Most bytes of a normalized text that are kept; the fingerprint is of all of it.
const MOST: usize = 4096;

/// The normalized text, and the first 16 hex digits of its SHA-256.
pub(super) fn normalize(tokens: &[Token<'_>]) -> (String, String) {
    let mut text = folded(tokens);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut fingerprint = String::with_capacity(16);
    for byte in &digest.as_ref()[..8] {
        // Writing to a String cannot fail.
        let _ = write!(fingerprint, "{byte:02x}");
    }
    if text.len() > MOST {
        let mut end = MOST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    (text, fingerprint)
}

/// Tokens as they were written, but for comments, line ends and the case of words.
pub(super) fn spelled(tokens: &[Token<'_>]) -> String {
    let mut out = String::new();
    let mut end = None;
    for token in tokens {
        if end.is_some_and(|end| end != token.span.start) {
            out.push(' ');
        }
        end = Some(token.span.end);
        spell(&token.kind, &mut out);
    }
    out
}

fn folded(tokens: &[Token<'_>]) -> String {
    let mut out = String::with_capacity(tokens.len() * 6);
    let mut before: Option<&TokenKind<'_>> = None;
    for (i, Token { kind, .. }) in tokens.iter().enumerate() {
        // A sign belongs to its number.
        let opens = matches!(before, Some(TokenKind::LParen | TokenKind::LBracket | TokenKind::Comma));
        let number = matches!(tokens.get(i + 1), Some(Token { kind: TokenKind::Number(_), .. }));
        if opens && number && matches!(kind, TokenKind::Operator("-" | "+")) {
            continue;
        }
        if before.is_some_and(|before| is_apart(before, kind)) {
            out.push(' ');
        }
        before = Some(kind);
        if is_literal(kind) {
            // A list of literals is one `?`, however long …
            if out.ends_with("(?, ") || out.ends_with("[?, ") {
                out.truncate(out.len() - 2);
            } else {
                out.push('?');
            }
        } else if *kind == TokenKind::RParen && out.ends_with("(?), (?") {
            // … and so are rows of them.
            out.truncate(out.len() - 4);
        } else {
            spell(kind, &mut out);
        }
    }
    out
}

fn is_literal(kind: &TokenKind<'_>) -> bool {
    matches!(
        kind,
        TokenKind::String(_) | TokenKind::Number(_) | TokenKind::Param(_) | TokenKind::Bits(_) | TokenKind::Hex(_)
    )
}

/// Whether a space goes between two tokens; a rule of the tokens alone, so that white space in the text changes nothing.
fn is_apart(before: &TokenKind<'_>, token: &TokenKind<'_>) -> bool {
    let opens = match before {
        TokenKind::LParen | TokenKind::LBracket | TokenKind::Dot | TokenKind::DoubleColon => false,
        // A call; grammar words keep their distance.
        TokenKind::Word(word) if *token == TokenKind::LParen => super::keywords::is_grammar(word),
        TokenKind::Quoted(_) => *token != TokenKind::LParen,
        _ => true,
    };
    let closes = matches!(
        token,
        TokenKind::RParen
            | TokenKind::RBracket
            | TokenKind::LBracket
            | TokenKind::Dot
            | TokenKind::Comma
            | TokenKind::DoubleColon
            | TokenKind::Semicolon
    );
    opens && !closes
}

fn spell(kind: &TokenKind<'_>, out: &mut String) {
    match kind {
        TokenKind::Word(word) => out.push_str(word),
        TokenKind::Quoted(name) => {
            out.push('"');
            out.push_str(&name.replace('"', "\"\""));
            out.push('"');
        }
        TokenKind::String(value) => {
            out.push('\'');
            out.push_str(&value.replace('\'', "''"));
            out.push('\'');
        }
        TokenKind::Bits(digits) => {
            let _ = write!(out, "B'{digits}'");
        }
        TokenKind::Hex(digits) => {
            let _ = write!(out, "X'{digits}'");
        }
        TokenKind::Number(text) | TokenKind::Param(text) | TokenKind::Operator(text) => out.push_str(text),
        TokenKind::LParen => out.push('('),
        TokenKind::RParen => out.push(')'),
        TokenKind::LBracket => out.push('['),
        TokenKind::RBracket => out.push(']'),
        TokenKind::Comma => out.push(','),
        TokenKind::Semicolon => out.push(';'),
        TokenKind::Dot => out.push('.'),
        TokenKind::DotDot => out.push_str(".."),
        TokenKind::Colon => out.push(':'),
        TokenKind::DoubleColon => out.push_str("::"),
        TokenKind::ColonEquals => out.push_str(":="),
        TokenKind::Arrow => out.push_str("=>"),
        TokenKind::Other(c) => out.push(*c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::lex;

    fn normalized(text: &str) -> String {
        normalize(&lex(text).tokens).0
    }

    #[test]
    fn literals_go_and_space_folds() {
        for (text, expected) in [
            ("SELECT  1", "select ?"),
            ("select\n * from T where id=  $1 and x='a''b'", "select * from t where id = ? and x = ?"),
            ("SELECT count( * ) FROM \"T\".b", "select count(*) from \"T\".b"),
            ("SELECT a FROM t WHERE id IN (1, 2,3)", "select a from t where id in (?)"),
            ("SELECT a FROM t WHERE id IN (-1, 2, -3)", "select a from t where id in (?)"),
            ("INSERT INTO t(a,b) VALUES (1,'x'), (2,'y'),(3,$4)", "insert into t(a, b) values (?)"),
            ("SELECT ARRAY[1,2,3], x[1]", "select array[?], x[?]"),
            ("SELECT 'a'::text, E'\\n' /* c */ -- d", "select ?::text, ?"),
            ("SELECT $$body$$", "select ?"),
            ("SELECT f(1, a, 2)", "select f(?, a, ?)"),
        ] {
            assert_eq!(normalized(text), expected);
        }
    }

    #[test]
    fn fingerprints_tell_shapes_apart() {
        let print = |text| normalize(&lex(text).tokens).1;
        assert_eq!(print("SELECT 1 FROM t"), print("select 'x' /**/ from T"));
        assert_ne!(print("SELECT 1 FROM t"), print("SELECT 1 FROM \"T\""));
        assert_ne!(print("DELETE FROM t WHERE a = 1"), print("DELETE FROM t"));
        assert_eq!(print("SELECT 1").len(), 16);
    }

    #[test]
    fn long_texts_are_cut_but_not_their_fingerprints() {
        let columns = |last: &str| {
            let names: Vec<String> = (0..2000).map(|i| format!("ä{i}")).collect();
            format!("SELECT {}, {last} FROM t", names.join(", "))
        };
        let (a, b) = (columns("x"), columns("y"));
        let (text_a, print_a) = normalize(&lex(&a).tokens);
        let (text_b, print_b) = normalize(&lex(&b).tokens);
        assert!(text_a.len() <= MOST && text_a.len() > MOST - 4);
        assert_eq!(text_a, text_b);
        assert_ne!(print_a, print_b);
    }

    #[test]
    fn expressions_are_spelled_as_written() {
        assert_eq!(spelled(&lex("1=1 OR\n  'a' = \"B\"").tokens), "1=1 or 'a' = \"B\"");
    }
}
