//! Secrets out of statements: what the audit trail may keep of them.
//!
//! It works on tokens, so that it holds for statements that do not parse too, and errs towards hiding.

use std::ops::Range;

use super::lexer::{Token, TokenKind};

/// Stands where a secret stood; itself a literal, so that the text can still be read as SQL.
const HIDDEN: &str = "'<redacted>'";

/// Words in the name of an option or a setting that holds a secret.
const SECRET_WORDS: &[&str] = &["passw", "passfile", "secret", "token", "api_key", "apikey", "private_key", "sslkey"];

/// Functions of pgcrypto whose literal arguments are keys or what they hide.
const CRYPTO: &[&str] = &[
    "crypt",
    "decrypt",
    "decrypt_iv",
    "digest",
    "encrypt",
    "encrypt_iv",
    "hmac",
    "pgp_pub_decrypt",
    "pgp_pub_decrypt_bytea",
    "pgp_sym_decrypt",
    "pgp_sym_decrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
];

/// The statement at `span` of `text` with its secrets replaced; `None` where it has none.
pub(super) fn redact(text: &str, span: &Range<usize>, tokens: &[Token<'_>]) -> Option<String> {
    let hidden = hidden(tokens);
    if hidden.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(span.len());
    let mut at = span.start;
    for range in hidden {
        out.push_str(text.get(at..range.start)?);
        out.push_str(HIDDEN);
        at = range.end;
    }
    out.push_str(text.get(at..span.end)?);
    Some(out)
}

/// A text that ends in the middle of a token: nothing behind the first word of a secret is kept.
pub(super) fn redact_broken(text: &str, span: &Range<usize>) -> Option<String> {
    let statement = text.get(span.clone())?;
    let lower = statement.to_ascii_lowercase();
    let words = SECRET_WORDS.iter().chain(&["connection", "dblink", "://", "crypt", "pgp_", "hmac"]);
    let at = words.filter_map(|word| lower.find(word)).min()?;
    Some(format!("{}{HIDDEN}", statement.get(..at)?))
}

fn hidden(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let first = |n: usize| tokens.get(n).and_then(Token::word).unwrap_or_default();
    let role = matches!(first(0), "create" | "alter") && matches!(first(1), "role" | "user" | "group");
    // User mappings, servers and foreign tables: names of options say what they hold, but a mapping's are all secret.
    let mapping = matches!(first(0), "create" | "alter") && first(1) == "user" && first(2) == "mapping";
    let subscription = first(1) == "subscription";
    let setting = matches!(first(0), "set" | "alter") && assigns_secret(tokens);
    let mut hidden = Vec::new();
    let mut calls: Vec<Call> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::LParen => {
                let name = i.checked_sub(1).and_then(|i| tokens[i].ident()).unwrap_or_default();
                calls.push(Call::of(name));
                continue;
            }
            TokenKind::RParen => {
                calls.pop();
                continue;
            }
            TokenKind::String(_) => {}
            _ => continue,
        }
        let value = token.string().unwrap_or_default();
        let before = i.checked_sub(1).and_then(|i| tokens[i].ident()).unwrap_or_default();
        let secret = match calls.last() {
            Some(Call::Crypto) => true,
            Some(Call::Connect) => value.contains('=') || value.contains("://") || is_secret_text(value),
            Some(Call::SetConfig) => i >= 2 && tokens[i - 2].string().is_some_and(is_secret_name),
            Some(Call::Other) | None => false,
        };
        if secret
            || before.eq_ignore_ascii_case("password")
            || (role && before == "encrypted")
            || (mapping && before != "user")
            || (subscription && before == "connection")
            || setting
            || (is_secret_name(before) && !calls.is_empty())
            || is_secret_text(value)
        {
            hidden.push(token.span.clone());
        }
    }
    hidden
}

/// What encloses a literal.
enum Call {
    Crypto,
    Connect,
    SetConfig,
    Other,
}

impl Call {
    fn of(name: &str) -> Self {
        if name == "set_config" {
            Call::SetConfig
        } else if name.starts_with("dblink") {
            Call::Connect
        } else if CRYPTO.contains(&name) {
            Call::Crypto
        } else {
            Call::Other
        }
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// SET or ALTER … SET of a setting whose name speaks of a secret.
fn assigns_secret(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).any(|pair| {
        let assigned = pair[1].is("to") || pair[1].kind == TokenKind::Operator("=");
        assigned && pair[0].ident().is_some_and(is_secret_name)
    })
}

/// A connection string with a password, a URL with one, or SQL that sets one (in a DO block, a function's body).
fn is_secret_text(value: &str) -> bool {
    let has_word = || value.as_bytes().windows(8).any(|w| w.eq_ignore_ascii_case(b"password"));
    if value.contains("://") && url_password(value) {
        return true;
    }
    if !has_word() {
        return false;
    }
    let lower = value.to_ascii_lowercase();
    lower.match_indices("password").any(|(at, word)| {
        let rest = lower[at + word.len()..].trim_start();
        rest.starts_with(['=', '\'', '"', '$']) || rest.starts_with("e'")
    })
}

/// `scheme://user:password@host`
fn url_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', ' ', '\n']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::lex;

    fn redacted(text: &str) -> Option<String> {
        redact(text, &(0..text.len()), &lex(text).tokens)
    }

    #[test]
    fn secrets_are_hidden() {
        for text in [
            "CREATE ROLE a LOGIN PASSWORD 'hunter2'",
            "ALTER USER a WITH ENCRYPTED PASSWORD E'hunter2'",
            "alter role a password $$hunter2$$ valid until 'infinity'",
            "CREATE SUBSCRIPTION s CONNECTION 'host=x password=hunter2' PUBLICATION p",
            "ALTER SUBSCRIPTION s CONNECTION 'host=x user=hunter2'",
            "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'a', password 'hunter2')",
            "ALTER USER MAPPING FOR a SERVER s OPTIONS (SET \"Password\" 'hunter2')",
            "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', passfile 'hunter2')",
            "SELECT * FROM dblink('host=h user=hunter2', 'select 1') t(a int)",
            "SELECT dblink_connect('c', 'postgres://a:hunter2@h/d')",
            "SELECT 'postgresql://a:hunter2@h/d'",
            "SELECT pgp_sym_encrypt('x', 'hunter2')",
            "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''hunter2'''; END $$",
            "SET app.api_token = 'hunter2'",
            "ALTER DATABASE d SET app.secret TO 'hunter2'",
            "SELECT set_config('app.password', 'hunter2', false)",
            "CREATE GARBAGE x PASSWORD 'hunter2' ((",
        ] {
            let redacted = redacted(text).unwrap_or_else(|| panic!("kept: {text}"));
            assert!(!redacted.contains("hunter2"), "{redacted}");
            assert!(redacted.contains(HIDDEN));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "SELECT * FROM users WHERE name = 'a' AND note LIKE '%password%'",
            "UPDATE t SET status = 'x' WHERE id = 1",
            "SELECT 'https://example.com/a@b'",
            "COMMENT ON COLUMN users.password IS 'scram verifier'",
            "CREATE ROLE a PASSWORD NULL",
            "SET statement_timeout = '5s'",
        ] {
            assert_eq!(redacted(text), None, "{text}");
        }
    }

    #[test]
    fn the_rest_of_the_text_is_kept() {
        assert_eq!(
            redacted("ALTER ROLE a PASSWORD 'x'  VALID UNTIL 'infinity' -- c").as_deref(),
            Some("ALTER ROLE a PASSWORD '<redacted>'  VALID UNTIL 'infinity' -- c")
        );
    }

    #[test]
    fn broken_texts_are_cut() {
        let text = "ALTER ROLE a PASSWORD 'hunter2";
        assert_eq!(redact_broken(text, &(0..text.len())).as_deref(), Some("ALTER ROLE a '<redacted>'"));
        assert_eq!(redact_broken("SELECT 'x", &(0..9)), None);
    }
}
