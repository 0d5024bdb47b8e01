//! What a statement names without the syntax of a call: attributes, casts, operators, and calls that the parser's tree hides.
//!
//! `(x).f` calls `f`, `x ### y` whatever `###` stands for, `x::t` the cast to `t` and the checks of the domain `t`. Which of the
//! names do so is known to the server's catalog alone, so that all of them are noted, off the tokens: none can be missed.

use std::collections::{HashMap, HashSet};

use super::lexer::{self, Token, TokenKind};
use super::{Call, Mention, Place, keywords};

/// Operators that the server looks up for words (Postgres's `gram.y` and `parse_expr.c`).
const IMPLIED: &[(&[&str], &[&str])] = &[
    (
        &[
            "all",
            "any",
            "case",
            "distinct",
            "except",
            "group",
            "in",
            "intersect",
            "natural",
            "nullif",
            "partition",
            "some",
            "union",
            "using",
        ],
        &["="],
    ),
    (&["between", "greatest", "least", "max", "min", "order"], &["<", "<=", ">", ">="]),
    (&["like"], &["~~", "!~~"]),
    (&["ilike"], &["~~*", "!~~*"]),
    (&["similar"], &["~", "!~"]),
    (&["not"], &["<>", "!~", "!~~", "!~~*"]),
];

/// What the tokens name; `calls` are those that are known already.
pub(super) fn mentions(tokens: &[Token<'_>], calls: &[Call]) -> Vec<Mention> {
    let mut found = Found::default();
    let mut before_parenthesis: HashMap<&str, usize> = HashMap::new();
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::Operator(symbol) => found.add(symbol, Place::Operator),
            TokenKind::Word(_) | TokenKind::Quoted(_) => {
                let Some(name) = token.ident() else { continue };
                let is_call = tokens.get(i + 1).is_some_and(|next| next.kind == TokenKind::LParen);
                let is_attribute = i >= 2 && tokens[i - 1].kind == TokenKind::Dot;
                if let Some(word) = token.word() {
                    for (_, symbols) in IMPLIED.iter().filter(|(words, _)| words.contains(&word)) {
                        symbols.iter().for_each(|symbol| found.add(symbol, Place::Operator));
                    }
                    if keywords::is_reserved(word) && !is_attribute {
                        continue;
                    }
                }
                if is_call {
                    *before_parenthesis.entry(name).or_default() += 1;
                } else if is_attribute && is_value(&tokens[i - 2]) {
                    found.add(name, Place::Field);
                } else if is_attribute {
                    found.add(name, Place::Attribute);
                }
                found.add(name, Place::Word);
            }
            _ => {}
        }
    }
    for call in calls {
        if let Some(count) = before_parenthesis.get_mut(call.name.name.as_str()) {
            *count = count.saturating_sub(1);
        }
    }
    for (name, _) in before_parenthesis.into_iter().filter(|&(_, count)| count > 0) {
        found.add(name, Place::Call);
    }
    let mut mentions: Vec<Mention> = found.0.into_iter().collect();
    mentions.sort_unstable();
    mentions
}

/// Strings inside strings of a function's body that are looked into.
const MAX_NESTING: usize = 3;

/// Everything that the body of a function names, in its strings too; `None` where it cannot be told, because the body is not
/// understood or puts together the text that it runs.
pub fn mentions_of_body(body: &str) -> Option<HashSet<Mention>> {
    let mut all = HashSet::new();
    body_mentions(body, 0, &mut all).then_some(all)
}

fn body_mentions(body: &str, nesting: usize, all: &mut HashSet<Mention>) -> bool {
    let lexed = lexer::lex(body);
    if lexed.error.is_some() && nesting == 0 {
        return false;
    }
    all.extend(mentions(&lexed.tokens, &[]));
    let strings = lexed.tokens.iter().filter_map(Token::string).filter(|string| string.contains(['(', ' ']));
    for string in strings.take_while(|_| nesting < MAX_NESTING) {
        body_mentions(string, nesting + 1, all);
    }
    nesting > 0 || !lexed.tokens.iter().any(|token| token.is("execute"))
}

/// Whether an attribute behind this token can be one of any value, rather than of a table's row.
pub(super) fn is_value(token: &Token<'_>) -> bool {
    matches!(token.kind, TokenKind::RParen | TokenKind::RBracket | TokenKind::Param(_))
}

#[derive(Default)]
struct Found(HashSet<Mention>);

impl Found {
    fn add(&mut self, name: &str, place: Place) {
        self.0.insert(Mention { place, name: name.into() });
    }
}
