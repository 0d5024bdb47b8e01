//! Transaction control (Postgres documentation: BEGIN, COMMIT, ROLLBACK, SAVEPOINT, PREPARE TRANSACTION …).

use super::draft::Draft;
use super::lexer::Token;
use super::reader::Reader;
use super::{AccessMode, Class, Effect, Kind};

/// BEGIN and START TRANSACTION, behind their first word.
pub(super) fn begin(reader: &Reader<'_, '_>, tag: &str) -> Draft {
    draft(tag).with_effect(Effect::Begin(access_mode(reader.rest())))
}

/// COMMIT and END.
pub(super) fn commit(reader: &mut Reader<'_, '_>) -> Draft {
    if reader.eat(&["prepared"]) {
        return two_phase("COMMIT PREPARED");
    }
    draft("COMMIT").with_effect(Effect::Commit { chain: chain(reader) })
}

/// ROLLBACK and ABORT.
pub(super) fn rollback(reader: &mut Reader<'_, '_>) -> Draft {
    if reader.eat(&["prepared"]) {
        return two_phase("ROLLBACK PREPARED");
    }
    reader.eat_any(&["work", "transaction"]);
    if reader.eat(&["to"]) {
        return draft("ROLLBACK").with_effect(Effect::RollbackTo(savepoint_name(reader)));
    }
    draft("ROLLBACK").with_effect(Effect::Rollback { chain: chain(reader) })
}

/// SAVEPOINT.
pub(super) fn savepoint(reader: &mut Reader<'_, '_>) -> Draft {
    draft("SAVEPOINT").with_effect(Effect::Savepoint(reader.ident().unwrap_or_default().to_owned()))
}

/// RELEASE.
pub(super) fn release(reader: &mut Reader<'_, '_>) -> Draft {
    draft("RELEASE").with_effect(Effect::Release(savepoint_name(reader)))
}

/// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
pub(super) fn two_phase(tag: &str) -> Draft {
    let draft = Draft::new(Kind::TwoPhase, Class::Misc, tag);
    if tag == "PREPARE TRANSACTION" { draft.with_effect(Effect::PrepareTransaction) } else { draft }
}

fn draft(tag: &str) -> Draft {
    Draft::new(Kind::Transaction, Class::Misc, tag)
}

/// `[SAVEPOINT] name`; a savepoint may itself be called `savepoint`.
fn savepoint_name(reader: &mut Reader<'_, '_>) -> String {
    let first = reader.ident().unwrap_or_default();
    match reader.ident() {
        Some(name) if first == "savepoint" => name.to_owned(),
        _ => first.to_owned(),
    }
}

fn chain(reader: &mut Reader<'_, '_>) -> bool {
    reader.eat_any(&["work", "transaction"]);
    reader.eat(&["and", "chain"])
}

/// READ ONLY or READ WRITE among transaction modes; where both are written the wider one counts.
pub(super) fn access_mode(tokens: &[Token<'_>]) -> Option<AccessMode> {
    let has = |mode: &str| tokens.windows(2).any(|pair| pair[0].is("read") && pair[1].is(mode));
    if has("write") {
        Some(AccessMode::ReadWrite)
    } else if has("only") {
        Some(AccessMode::ReadOnly)
    } else {
        None
    }
}
