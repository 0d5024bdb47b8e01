//! SQL text to [`Facts`]. Pure: no I/O, no clock, no policy.
//!
//! A text is cut into tokens ([`lexer`]) as the server does it, the tokens into statements ([`reader`]), and each statement is
//! read by its leading words ([`statement`]): utilities and DDL from the tokens, queries and DML ([`query`]) from sqlparser's
//! tree ([`walk`]), the predicates of writes by [`boundedness`].

mod argument_sql;
mod boundedness;
mod bridge;
mod calls;
mod copy;
mod ddl;
mod draft;
mod facts;
pub mod functions;
mod harmless;
mod keywords;
mod lexer;
mod made;
mod mention;
mod normalize;
mod parse;
mod planned;
mod query;
mod reader;
mod redact;
mod routine;
mod schema_change;
mod setting;
mod shape;
mod statement;
mod traceparent;
mod transaction;
mod walk;

use std::collections::HashSet;
use std::ops::Range;

use self::draft::{Draft, Runs};
use self::lexer::{Lexed, Token};

pub use facts::*;
pub use mention::mentions_of_body;
pub use planned::*;
pub use schema_change::{Change, Constraint, NewColumn, SchemaChange};
pub use setting::is_quoted_list;
pub use shape::shape;

/// Depth of a tree up to which it is walked on the caller's stack.
const SHALLOW: usize = 150;

/// Stack for deeper ones, per level: the largest frames of the parser, the walk and the tree's own destruction.
const STACK_PER_LEVEL: usize = if cfg!(debug_assertions) { 16 << 10 } else { 3 << 10 };

/// Least stack of a thread for deep trees.
const LEAST_STACK: usize = 4 << 20;

/// Reads a text: never fails, never panics. What is not understood is [`Kind::UnparsedMaybeRead`] or
/// [`Kind::UnparsedMaybeWrite`].
pub fn classify(text: &str) -> Script {
    if text.contains('\0') {
        // The server would stop reading there.
        let mut draft = Draft::new(Kind::UnparsedMaybeWrite, Class::Misc, "unknown");
        draft.add_hazard(Hazard::TextTrap("the text holds a NUL character"));
        return Script { statements: vec![facts(text, 0..text.len(), &[], draft)], traceparent: None };
    }
    let lexed = lexer::lex(text);
    let depth = parse::depth(&lexed.tokens);
    if depth <= SHALLOW {
        return read(text, &lexed);
    }
    // A chain of operators becomes a tree as deep as it is long, more than a worker's stack may hold.
    let stack = LEAST_STACK + depth * STACK_PER_LEVEL;
    std::thread::scope(|scope| {
        let reading = std::thread::Builder::new()
            .name("classify".to_owned())
            .stack_size(stack)
            .spawn_scoped(scope, || read(text, &lexed));
        match reading.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(script)) => script,
            Ok(Err(_)) | Err(_) => not_understood(text, &lexed),
        }
    })
}

/// Reads a text; a panic of the parser's is one more way of not understanding it.
fn read(text: &str, lexed: &Lexed<'_>) -> Script {
    std::panic::catch_unwind(|| read_statements(text, lexed)).unwrap_or_else(|_| not_understood(text, lexed))
}

fn read_statements(text: &str, lexed: &Lexed<'_>) -> Script {
    if lexed.error.is_some() {
        return not_understood(text, lexed);
    }
    let statements = reader::statements(&lexed.tokens)
        .into_iter()
        .map(|tokens| {
            let span = span(tokens);
            let mut draft = statement::read(tokens);
            argument_sql::absorb(&mut draft, tokens);
            if lexed.unicode_identifier && is_unparsed(draft.kind) {
                draft.add_hazard(Hazard::UnicodeIdentifier);
            }
            facts(text, span, tokens, draft)
        })
        .collect();
    Script {
        statements,
        traceparent: lexed.outer_comments.iter().find_map(|comment| traceparent::traceparent(comment)),
    }
}

/// A text that cannot be cut into statements, as one.
fn not_understood(text: &str, lexed: &Lexed<'_>) -> Script {
    let mut draft = query::unparsed(&lexed.tokens);
    if lexed.unicode_identifier {
        draft.add_hazard(Hazard::UnicodeIdentifier);
    }
    let mut facts = facts(text, 0..text.len(), &lexed.tokens, draft);
    if let Some(redacted) = redact::redact_broken(text, &facts.span) {
        facts.redacted = Some(redacted);
    }
    Script { statements: vec![facts], traceparent: None }
}

fn is_unparsed(kind: Kind) -> bool {
    matches!(kind, Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite)
}

fn span(tokens: &[Token<'_>]) -> Range<usize> {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end,
        _ => 0..0,
    }
}

fn facts(text: &str, span: Range<usize>, tokens: &[Token<'_>], draft: Draft) -> Facts {
    let (normalized, fingerprint) = normalize::normalize(tokens);
    let redacted = redact::redact(text, &span, tokens);
    let Draft {
        kind,
        class,
        tag,
        writes,
        mut reads,
        functions,
        effects,
        locks,
        hazards,
        schema_changes,
        makes,
        mentions,
        runs,
    } = draft;
    if reads.len() > 1 {
        let mut seen = HashSet::with_capacity(reads.len());
        reads.retain(|name| seen.insert(name.clone()));
    }
    Facts {
        span,
        kind,
        class,
        tag: tag.into(),
        writes,
        reads,
        mentions: match runs {
            Runs::Now | Runs::Planned => mention::mentions(tokens, &functions).into_iter().chain(mentions).collect(),
            Runs::Later => Vec::new(),
        },
        is_only_planned: runs == Runs::Planned,
        makes,
        functions,
        effects,
        locks,
        hazards,
        schema_changes,
        normalized,
        fingerprint,
        redacted,
    }
}

#[cfg(test)]
mod tests;
