//! One statement, by its leading words.
//!
//! In Postgres's grammar the first words decide what a statement is, so that a family can be told even where sqlparser
//! cannot parse the rest. Queries and DML go to [`query`]; whatever is not known here may be a write.

use super::draft::{Calls, Draft, Runs};
use super::lexer::{Token, TokenKind};
use super::reader::Reader;
use super::{Class, Effect, Hazard, Kind, Lock, copy, ddl, query, routine, schema_change, setting, transaction};

/// Reads one statement.
pub(super) fn read(tokens: &[Token<'_>]) -> Draft {
    known(tokens).unwrap_or_else(|| unknown(tokens))
}

/// Reads a statement that stands inside another: only those that Postgres's grammar lets stand there, so that nothing nests
/// without end.
pub(super) fn read_inner(tokens: &[Token<'_>]) -> Draft {
    let allowed = tokens.first().is_some_and(|first| {
        first.kind == TokenKind::LParen
            || first.word().is_some_and(|word| {
                is_query_word(word)
                    || matches!(word, "insert" | "update" | "delete" | "merge" | "execute" | "notify" | "return")
            })
    });
    if allowed { read(tokens) } else { unknown(tokens) }
}

/// What is not understood at all.
pub(super) fn unknown(tokens: &[Token<'_>]) -> Draft {
    let tag = tokens.first().and_then(Token::word).unwrap_or("unknown").to_ascii_uppercase();
    let mut draft = Draft::new(Kind::UnparsedMaybeWrite, Class::Misc, tag);
    draft.scan_calls(tokens, Calls::All);
    draft.scan_attributes(tokens, true);
    draft
}

fn known(tokens: &[Token<'_>]) -> Option<Draft> {
    let mut reader = Reader::new(tokens);
    if reader.peek() == Some(&TokenKind::LParen) {
        return Some(query::read(tokens));
    }
    let word = reader.next()?.word()?;
    let reader = &mut reader;
    let draft = match word {
        "select" | "with" | "values" | "table" | "insert" | "update" | "delete" | "merge" => query::read(tokens),
        "begin" => transaction::begin(reader, "BEGIN"),
        "start" => {
            reader.eat(&["transaction"]).then_some(())?;
            transaction::begin(reader, "START TRANSACTION")
        }
        "commit" | "end" => transaction::commit(reader),
        "rollback" | "abort" => transaction::rollback(reader),
        "savepoint" => transaction::savepoint(reader),
        "release" => transaction::release(reader),
        "set" => setting::set(reader),
        "reset" => setting::reset(reader),
        "show" => setting::show(reader),
        "explain" => explain(reader),
        "prepare" if reader.eat(&["transaction"]) => transaction::two_phase("PREPARE TRANSACTION"),
        "prepare" => prepare(reader)?,
        "execute" => execute(reader),
        "deallocate" => {
            reader.eat(&["prepare"]);
            let name = if reader.eat(&["all"]) { None } else { Some(reader.ident()?.to_owned()) };
            let tag = if name.is_none() { "DEALLOCATE ALL" } else { "DEALLOCATE" };
            Draft::new(Kind::Deallocate, Class::Misc, tag).with_effect(Effect::Deallocate(name))
        }
        "declare" => declare(reader)?,
        "fetch" => Draft::new(Kind::Fetch, Class::Misc, "FETCH"),
        "move" => Draft::new(Kind::Fetch, Class::Misc, "MOVE"),
        "close" => {
            let name = if reader.eat(&["all"]) { None } else { Some(reader.ident()?.to_owned()) };
            let tag = if name.is_none() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" };
            Draft::new(Kind::Close, Class::Misc, tag).with_effect(Effect::CloseCursor(name))
        }
        "discard" => discard(reader)?,
        "listen" => Draft::new(Kind::Listen, Class::Misc, "LISTEN").with_effect(Effect::Listen),
        "unlisten" => {
            let channel = reader.ident().map(str::to_owned);
            Draft::new(Kind::Listen, Class::Misc, "UNLISTEN").with_effect(Effect::Unlisten(channel))
        }
        "notify" => Draft::new(Kind::Notify, Class::Misc, "NOTIFY"),
        "load" => Draft::new(Kind::Load, Class::Misc, "LOAD").with_effect(Effect::Load).with_hazard(Hazard::ServerFile),
        "lock" => lock(reader),
        "copy" => copy::read(reader)?,
        "truncate" => query::truncate(reader),
        "call" => call(tokens),
        "do" => routine::block(reader.rest()),
        "return" => {
            let mut draft = query::expressions(reader.rest());
            "RETURN".clone_into(&mut draft.tag);
            draft.kind = Kind::UnparsedMaybeWrite;
            draft
        }
        "reindex" => {
            Draft::new(Kind::Maintenance, Class::Misc, "REINDEX").with_changes(schema_change::reindex(reader.clone()))
        }
        "vacuum" | "cluster" | "checkpoint" | "repack" => {
            Draft::new(Kind::Maintenance, Class::Misc, word.to_ascii_uppercase())
                .with_changes(schema_change::maintenance(word, reader.clone()))
        }
        "analyze" | "analyse" => Draft::new(Kind::Maintenance, Class::Misc, "ANALYZE"),
        "create" => ddl::create(reader)?,
        "alter" => ddl::alter(reader)?,
        "drop" => ddl::drop(reader)?,
        "comment" => ddl::other("COMMENT"),
        "security" => ddl::other("SECURITY LABEL"),
        "refresh" => {
            let changes = schema_change::refresh(reader.clone());
            ddl::refresh(reader).with_changes(changes)
        }
        "import" => ddl::other("IMPORT FOREIGN SCHEMA"),
        "reassign" => ddl::other("REASSIGN OWNED"),
        "grant" => ddl::grant(reader, "GRANT"),
        "revoke" => ddl::grant(reader, "REVOKE"),
        _ => return None,
    };
    Some(draft)
}

/// EXPLAIN, behind its word. Without ANALYZE its statement is planned and not run: functions that could do harm are volatile, and
/// the planner calls none of those.
fn explain(reader: &mut Reader<'_, '_>) -> Draft {
    let mut analyze = false;
    // Behind the parenthesis stands an option, quoted or not, or else a query.
    let listed = reader.rest().get(1).is_some_and(|t| t.ident().is_some() && !t.word().is_some_and(is_query_word));
    if reader.peek() == Some(&TokenKind::LParen) && listed {
        let options = reader.parenthesised().unwrap_or_default();
        for option in options.split(|t| t.kind == TokenKind::Comma) {
            if option.first().is_some_and(|t| t.is("analyze") || t.is("analyse")) {
                analyze = !option.get(1).is_some_and(is_off);
            } else if option.iter().any(|t| t.ident().is_some_and(|w| w.starts_with("analy"))) {
                analyze = true;
            }
        }
    } else {
        loop {
            if reader.eat_any(&["analyze", "analyse"]) {
                analyze = true;
            } else if !reader.eat(&["verbose"]) {
                break;
            }
        }
    }
    let inner = match reader.rest().first().and_then(Token::word) {
        Some("create" | "declare" | "refresh") => read(reader.rest()),
        _ => read_inner(reader.rest()),
    };
    let mut draft = Draft::new(Kind::Explain, Class::Misc, "EXPLAIN");
    if !analyze {
        if reader.peek() == Some(&TokenKind::LParen) && inner.kind == Kind::UnparsedMaybeWrite {
            // Not for certain a query in parentheses: they may hold options.
            draft.kind = Kind::UnparsedMaybeWrite;
        }
        draft.reads = inner.reads;
        // Nothing of its runs, but a name that is the proxy's own is told of as any other.
        draft.effects = inner.effects.into_iter().filter(|effect| matches!(effect, Effect::Execute(_))).collect();
        draft.runs = Runs::Planned;
        return draft;
    }
    draft.class = inner.class;
    draft.kind = match inner.kind {
        // With ANALYZE these make or run what `writes` does not tell.
        Kind::CreateTableAs | Kind::TempDdl | Kind::Execute | Kind::Declare => inner.kind,
        Kind::UnparsedMaybeRead => Kind::UnparsedMaybeRead,
        Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge => Kind::Explain,
        Kind::Ddl if inner.tag.ends_with("MATERIALIZED VIEW") => Kind::Ddl,
        // Nothing else can be explained.
        _ => Kind::UnparsedMaybeWrite,
    };
    draft.absorb(inner);
    draft
}

fn is_query_word(word: &str) -> bool {
    matches!(word, "select" | "with" | "values" | "table")
}

pub(super) fn is_off(token: &Token<'_>) -> bool {
    match &token.kind {
        TokenKind::Word(value) | TokenKind::String(value) | TokenKind::Quoted(value) => {
            ["false", "off"].iter().any(|off| value.eq_ignore_ascii_case(off))
        }
        TokenKind::Number(value) => *value == "0",
        _ => false,
    }
}

/// PREPARE, behind its word.
fn prepare(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let name = reader.ident()?.to_owned();
    reader.parenthesised();
    reader.eat(&["as"]).then_some(())?;
    let inner = read_inner(reader.rest());
    let mut draft = Draft::new(Kind::Prepare, inner.class, "PREPARE").with_effect(Effect::Prepare(name));
    if matches!(inner.kind, Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite) {
        // It runs later, by EXECUTE, where nothing can be known of it.
        draft.kind = Kind::UnparsedMaybeWrite;
    }
    draft.absorb(inner);
    Some(draft)
}

/// EXECUTE, behind its word.
fn execute(reader: &mut Reader<'_, '_>) -> Draft {
    let name = reader.ident().unwrap_or_default().to_owned();
    let mut draft = Draft::new(Kind::Execute, Class::Misc, "EXECUTE").with_effect(Effect::Execute(name));
    if let Some(parameters) = reader.parenthesised().filter(|p| !p.is_empty()) {
        draft.absorb(query::expressions(parameters));
    }
    draft
}

/// DECLARE, behind its word.
fn declare(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let name = reader.ident()?.to_owned();
    let options = reader.until(&["for"])?;
    let inner = read_inner(reader.rest());
    let mut draft = Draft::new(Kind::Declare, Class::Read, "DECLARE CURSOR");
    if options.windows(2).any(|pair| pair[0].is("with") && pair[1].is("hold")) {
        draft.effects.push(Effect::HoldCursor(name));
    }
    if inner.kind != Kind::Select {
        // Only queries have cursors; one that is not understood runs when it is fetched from.
        draft.kind = Kind::UnparsedMaybeWrite;
    }
    draft.absorb(inner);
    Some(draft)
}

fn discard(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let (what, effect) = match reader.next()?.word()? {
        "all" => ("ALL", Effect::DiscardAll),
        "temp" | "temporary" => ("TEMP", Effect::DiscardTemp),
        "plans" => ("PLANS", Effect::DiscardPlans),
        "sequences" => ("SEQUENCES", Effect::DiscardSequences),
        _ => return None,
    };
    Some(Draft::new(Kind::Discard, Class::Misc, format!("DISCARD {what}")).with_effect(effect))
}

/// LOCK, behind its word.
fn lock(reader: &mut Reader<'_, '_>) -> Draft {
    let mut mode = "ACCESS EXCLUSIVE".to_owned();
    if reader.until(&["in"]).is_some() {
        let words = reader.until(&["mode"]).unwrap_or_default();
        mode = words.iter().filter_map(Token::word).collect::<Vec<_>>().join(" ").to_ascii_uppercase();
    }
    let mut draft = Draft::new(Kind::Lock, Class::Misc, "LOCK TABLE");
    draft.locks.push(Lock::Table(mode));
    draft
}

/// CALL: the procedure is the first of the calls.
fn call(tokens: &[Token<'_>]) -> Draft {
    let mut draft = Draft::new(Kind::Call, Class::Function, "CALL");
    draft.absorb(query::expressions(&tokens[1..]));
    draft
}
