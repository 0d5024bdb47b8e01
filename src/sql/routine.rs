//! Bodies: functions, procedures, DO blocks and rules. What can be read of them is judged as if it ran.

use super::draft::{Calls, Draft};
use super::lexer::{self, Token, TokenKind};
use super::reader::{Reader, statements};
use super::{Class, Effect, Hazard, Kind, Scope, ddl, query, setting, statement};

/// Deepest body inside a body that is looked into.
const MAX_NESTING: usize = 3;

/// CREATE FUNCTION and CREATE PROCEDURE, behind those words.
pub(super) fn create(tokens: &[Token<'_>], draft: &mut Draft) {
    let language = language(tokens);
    let atomic = tokens.windows(2).position(|pair| pair[0].is("begin") && pair[1].is("atomic"));
    match language.as_deref() {
        Some("c" | "internal") => draft.add_hazard(Hazard::ServerFile),
        Some(language) if !ddl::is_trusted(language) => draft.add_hazard(Hazard::ServerProgram),
        Some(_) | None => {}
    }
    draft.effects.extend(options_set(&tokens[..atomic.unwrap_or(tokens.len())]));
    if let Some(begin) = atomic {
        let mut body = &tokens[begin + 2..];
        if let [inside @ .., end] = body
            && end.is("end")
        {
            body = inside;
        }
        for inner in statements(body) {
            let inner = statement::read_inner(inner);
            // Only these may stand there; anything else means that the body ends elsewhere than was thought.
            if matches!(inner.kind, Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge)
                || is_return(&inner)
            {
                absorb(draft, inner, false);
            } else {
                draft.kind = Kind::UnparsedMaybeWrite;
                return;
            }
        }
    } else if let Some(body) = option(tokens, "as").and_then(Token::string) {
        text(body, draft, 0);
    } else if Reader::new(tokens).until(&["return"]).is_some() {
        draft.scan_calls(tokens, Calls::Dangerous);
    }
}

/// Whether a function has a body in SQL, which cannot put together the text that it runs, and only reads. What it calls is judged
/// where it is called.
pub(super) fn only_reads(tokens: &[Token<'_>]) -> bool {
    if language(tokens).is_some_and(|language| language != "sql") {
        return false;
    }
    let reads = |inner: &[Token<'_>]| {
        let inner = statement::read_inner(inner);
        inner.writes.is_empty() && (inner.kind == Kind::Select || is_return(&inner))
    };
    if let Some(begin) = tokens.windows(2).position(|pair| pair[0].is("begin") && pair[1].is("atomic")) {
        let body = tokens[begin + 2..].strip_suffix(&tokens[tokens.len() - 1..]).unwrap_or_default();
        statements(body).into_iter().all(reads)
    } else if let Some(body) = option(tokens, "as").and_then(Token::string) {
        let lexed = lexer::lex(body);
        lexed.error.is_none() && statements(&lexed.tokens).into_iter().all(reads)
    } else {
        // RETURN has an expression, anything else is an error.
        true
    }
}

fn language(tokens: &[Token<'_>]) -> Option<String> {
    option(tokens, "language").and_then(|t| t.ident().or(t.string()).map(str::to_ascii_lowercase))
}

/// `RETURN expression` of a body in standard SQL.
fn is_return(inner: &Draft) -> bool {
    inner.tag == "RETURN"
}

/// DO, behind its word.
pub(super) fn block(tokens: &[Token<'_>]) -> Draft {
    let mut draft = Draft::new(Kind::Do, Class::Function, "DO");
    let language = option(tokens, "language").and_then(|t| t.ident().or(t.string()));
    if language.is_some_and(|language| !ddl::is_trusted(language)) {
        draft.add_hazard(Hazard::ServerProgram);
    }
    for body in tokens.iter().filter_map(Token::string) {
        text(body, &mut draft, 0);
    }
    draft
}

/// CREATE RULE, behind those words: the actions behind DO.
pub(super) fn rule(reader: &mut Reader<'_, '_>, draft: &mut Draft) {
    if reader.until(&["do"]).is_none() {
        return;
    }
    reader.eat_any(&["also", "instead"]);
    if reader.at(&["nothing"]) {
        return;
    }
    let whole = reader.rest();
    let listed = reader.clone().parenthesised();
    let actions = match listed {
        // A single action may itself be a query in parentheses; both readings are the same.
        Some(inside) if whole.len() == inside.len() + 2 => inside,
        Some(_) | None => whole,
    };
    for action in statements(actions) {
        absorb(draft, statement::read_inner(action), false);
    }
}

/// Takes over what `inner` does; `runs` when it does so at once, rather than whenever the object is used.
pub(super) fn absorb(draft: &mut Draft, mut inner: Draft, runs: bool) {
    if matches!(inner.kind, Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite) && runs {
        draft.kind = Kind::UnparsedMaybeWrite;
    }
    if !runs {
        inner.effects.retain(|effect| matches!(effect, Effect::Set { .. } | Effect::SetUnknown));
        inner.locks.clear();
    }
    draft.absorb(inner);
}

/// A body given as text: its statements in SQL, and those of PL/pgSQL that begin with a verb, are judged; of all else the
/// calls of dangerous functions.
fn text(body: &str, draft: &mut Draft, nesting: usize) {
    let lexed = lexer::lex(body);
    draft.scan_calls(&lexed.tokens, Calls::Dangerous);
    draft.scan_attributes(&lexed.tokens, false);
    if lexed.error.is_some() {
        return;
    }
    draft.effects.extend(set_by_calls(&lexed.tokens));
    let mut start = true;
    for (i, token) in lexed.tokens.iter().enumerate() {
        let word = token.word();
        if start && matches!(word, Some("delete" | "insert" | "merge" | "update" | "with")) {
            let rest = &lexed.tokens[i..];
            let end = rest.iter().position(|t| t.kind == TokenKind::Semicolon).unwrap_or(rest.len());
            let inner = query::read(&rest[..end]);
            draft.writes.extend(inner.writes);
        }
        if start && word == Some("set") {
            let rest = &lexed.tokens[i + 1..];
            let end = rest.iter().position(|t| t.kind == TokenKind::Semicolon).unwrap_or(rest.len());
            let inner = setting::set(&mut Reader::new(&rest[..end]));
            draft.effects.extend(inner.effects.into_iter().map(in_body));
        }
        // EXECUTE 'delete …' and strings put together for it.
        if let Some(string) = token.string()
            && nesting < MAX_NESTING
            && string.contains(' ')
        {
            text(string, draft, nesting + 1);
        }
        start = token.kind == TokenKind::Semicolon || matches!(word, Some("begin" | "else" | "loop" | "then"));
    }
}

/// What the calls of set_config in a body set; their values are known only when they run.
fn set_by_calls(tokens: &[Token<'_>]) -> impl Iterator<Item = Effect> {
    tokens.windows(4).filter(|call| call[0].ident() == Some("set_config") && call[1].kind == TokenKind::LParen).map(
        |call| match (call[2].string(), &call[3].kind) {
            (Some(name), TokenKind::Comma) => setting::by_function(name, None, false),
            _ => Effect::SetUnknown,
        },
    )
}

/// A setting that code changes while it runs, which is not when the code is made.
fn in_body(effect: Effect) -> Effect {
    match effect {
        Effect::Set { name, value, .. } => Effect::Set { name, value, scope: Scope::Transaction, by_function: true },
        other => other,
    }
}

/// Words that begin an option of CREATE FUNCTION, so that the value of a SET before them ends there.
const OPTIONS: &[&str] = &[
    "as",
    "begin",
    "called",
    "cost",
    "external",
    "immutable",
    "language",
    "leakproof",
    "not",
    "parallel",
    "return",
    "returns",
    "rows",
    "security",
    "set",
    "stable",
    "strict",
    "support",
    "transform",
    "volatile",
    "window",
];

/// The settings among the options of CREATE and ALTER FUNCTION (`SET name TO value`), which hold while it runs.
pub(super) fn options_set(tokens: &[Token<'_>]) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut reader = Reader::new(tokens);
    while reader.until(&["set"]).is_some() {
        let rest = reader.rest();
        let begins = |t: &Token<'_>| OPTIONS.iter().any(|word| t.is(word));
        let end = rest.iter().skip(1).position(begins).map_or(rest.len(), |at| at + 1);
        effects.extend(setting::set(&mut Reader::new(&rest[..end])).effects.into_iter().map(in_body));
    }
    effects
}

/// The token behind the option `word` outside parentheses.
fn option<'t, 'a>(tokens: &'t [Token<'a>], word: &str) -> Option<&'t Token<'a>> {
    let mut reader = Reader::new(tokens);
    reader.until(&[word])?;
    reader.next()
}
