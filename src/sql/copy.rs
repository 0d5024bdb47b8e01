//! COPY in all its forms (Postgres documentation: COPY, with the syntaxes of before 9.0 and 7.3).

use super::draft::{Calls, Draft};
use super::lexer::{Token, TokenKind};
use super::reader::Reader;
use super::{Boundedness, Class, Hazard, Kind, Verb, Write, statement};

/// COPY, behind its word; `None` where it is neither form.
pub(super) fn read(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    if let Some(query) = reader.parenthesised() {
        let inner = statement::read_inner(query);
        let mut draft = Draft::new(Kind::CopyTo, Class::Read, "COPY");
        // What is not understood is not made safe by standing in a COPY.
        if matches!(inner.kind, Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite) {
            draft.kind = inner.kind;
        }
        draft.absorb(inner);
        if !draft.writes.is_empty() {
            draft.class = Class::Write;
        }
        reader.eat(&["to"]).then(|| endpoint(reader, &mut draft))?;
        return Some(draft);
    }
    let tokens = reader.rest();
    if !reader.rest().get(1).is_some_and(|t| t.is("from") || t.is("to")) {
        reader.eat(&["binary"]);
    }
    let table = reader.name()?;
    let columns: Vec<String> = reader.parenthesised().map(columns).unwrap_or_default();
    // COPY … WITH OIDS, before Postgres 12.
    reader.eat(&["with", "oids"]);
    let mut draft = if reader.eat(&["from"]) {
        let mut draft = Draft::new(Kind::CopyFrom, Class::Write, "COPY");
        draft.writes.push(Write { verb: Verb::Copy, table, columns, bound: Boundedness::NotApplicable });
        draft
    } else if reader.eat(&["to"]) {
        let mut draft = Draft::new(Kind::CopyTo, Class::Read, "COPY");
        draft.add_read(table);
        draft
    } else {
        return None;
    };
    endpoint(reader, &mut draft);
    // WHERE.
    draft.scan_calls(tokens, Calls::Dangerous);
    draft.scan_attributes(tokens, false);
    Some(draft)
}

/// STDIN and STDOUT are the client's; all else is the server's.
fn endpoint(reader: &mut Reader<'_, '_>, draft: &mut Draft) {
    if reader.eat(&["program"]) {
        draft.add_hazard(Hazard::ServerProgram);
    } else if !reader.eat_any(&["stdin", "stdout"]) {
        draft.add_hazard(Hazard::ServerFile);
    }
}

fn columns(tokens: &[Token<'_>]) -> Vec<String> {
    tokens.split(|t| t.kind == TokenKind::Comma).filter_map(|t| t.first()?.ident().map(str::to_owned)).collect()
}
