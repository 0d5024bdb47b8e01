//! SET, RESET and SHOW in all their forms (Postgres documentation: SET, RESET, SHOW, SET ROLE, SET SESSION AUTHORIZATION,
//! SET TRANSACTION, SET CONSTRAINTS).

use super::draft::Draft;
use super::keywords::quote_identifier;
use super::lexer::{Token, TokenKind};
use super::reader::Reader;
use super::transaction::access_mode;
use super::{Class, Effect, Kind, Scope, SettingValue};

/// Settings whose values are lists of identifiers and are quoted as such (GUC_LIST_QUOTE in Postgres's guc_tables.c).
const QUOTED_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Whether a setting's value is a list of identifiers, which SET quotes one by one.
pub fn is_quoted_list(name: &str) -> bool {
    QUOTED_LISTS.contains(&name)
}

/// SET, behind its word.
pub(super) fn set(reader: &mut Reader<'_, '_>) -> Draft {
    if reader.eat(&["constraints"]) {
        return Draft::new(Kind::Constraints, Class::Misc, "SET CONSTRAINTS");
    }
    let scope = scope(reader);
    if reader.at(&["transaction"]) && !is_assignment(reader) {
        return transaction(Effect::SetTransaction(access_mode(reader.rest())));
    }
    if reader.eat(&["characteristics"]) {
        return transaction(Effect::SetSessionCharacteristics(access_mode(reader.rest())));
    }
    let (name, value) = assignment(reader);
    Draft::new(Kind::Set, Class::MiscSet, "SET").with_effect(match name {
        Some(name) => Effect::Set { name, value, scope, by_function: false },
        None => Effect::SetUnknown,
    })
}

/// RESET, behind its word.
pub(super) fn reset(reader: &mut Reader<'_, '_>) -> Draft {
    let effect = if reader.eat(&["all"]) { Effect::ResetAll } else { Effect::Reset(variable(reader)) };
    Draft::new(Kind::Set, Class::MiscSet, "RESET").with_effect(effect)
}

/// SHOW, behind its word.
pub(super) fn show(reader: &mut Reader<'_, '_>) -> Draft {
    Draft::new(Kind::Show, Class::Misc, "SHOW").with_effect(Effect::Show(variable(reader)))
}

/// The value that `set_config` gives a setting: a list is quoted there by who writes it, so that nothing is changed.
pub(super) fn by_function(name: &str, value: Option<String>, local: bool) -> Effect {
    Effect::Set {
        name: name.to_ascii_lowercase(),
        value: value.map_or(SettingValue::Unknown, SettingValue::Text),
        scope: if local { Scope::Transaction } else { Scope::Session },
        by_function: true,
    }
}

fn transaction(effect: Effect) -> Draft {
    Draft::new(Kind::Transaction, Class::MiscSet, "SET").with_effect(effect)
}

fn scope(reader: &mut Reader<'_, '_>) -> Scope {
    // `session.x` and `local.x` are settings' names.
    let prefix = !is_assignment(reader);
    if prefix && reader.eat(&["local"]) {
        Scope::Transaction
    } else {
        if prefix && !reader.at(&["session", "authorization"]) {
            reader.eat(&["session"]);
        }
        Scope::Session
    }
}

/// Whether the first word is a setting's name or the beginning of one.
fn is_assignment(reader: &Reader<'_, '_>) -> bool {
    match reader.rest().get(1).map(|t| &t.kind) {
        Some(TokenKind::Dot | TokenKind::Operator("=")) => true,
        Some(TokenKind::Word(word)) => word == "to",
        _ => false,
    }
}

/// A setting and its value, in all spellings; no name where it cannot be read.
fn assignment(reader: &mut Reader<'_, '_>) -> (Option<String>, SettingValue) {
    if !is_assignment(reader) {
        for (words, name) in [
            (&["time", "zone"][..], "timezone"),
            (&["role"], "role"),
            (&["session", "authorization"], "session_authorization"),
            (&["names"], "client_encoding"),
            (&["schema"], "search_path"),
            (&["xml", "option"], "xmloption"),
        ] {
            if reader.eat(words) {
                return (Some(name.to_owned()), special(reader, name));
            }
        }
    }
    let Some(name) = setting_name(reader) else { return (None, SettingValue::Unknown) };
    let assigned = reader.eat(&["to"]) || reader.eat_kind(&TokenKind::Operator("="));
    let value = if assigned { value(reader, &name) } else { SettingValue::Unknown };
    (Some(name), value)
}

/// The value of a form with a grammar of its own.
fn special(reader: &mut Reader<'_, '_>, name: &str) -> SettingValue {
    let rest = reader.rest();
    match rest {
        [] if name == "client_encoding" => SettingValue::Default,
        [only] if only.is("default") => SettingValue::Default,
        [only] if name == "timezone" && only.is("local") => SettingValue::Default,
        [only] if name == "search_path" => {
            only.string().map_or(SettingValue::Unknown, |schema| SettingValue::Text(quote_identifier(schema)))
        }
        _ => value(reader, name),
    }
}

/// A list of values, joined as the server flattens it (flatten_set_variable_args).
fn value(reader: &mut Reader<'_, '_>, name: &str) -> SettingValue {
    if let [only] = reader.rest()
        && only.is("default")
    {
        return SettingValue::Default;
    }
    let quoted = is_quoted_list(name);
    let mut flat = String::new();
    loop {
        let Some(element) = element(reader, quoted) else { return SettingValue::Unknown };
        flat.push_str(&element);
        if reader.at_end() {
            return SettingValue::Text(flat);
        }
        if !reader.eat_kind(&TokenKind::Comma) {
            return SettingValue::Unknown;
        }
        flat.push_str(", ");
    }
}

fn element(reader: &mut Reader<'_, '_>, quoted: bool) -> Option<String> {
    let negative = reader.eat_kind(&TokenKind::Operator("-"));
    if !negative {
        reader.eat_kind(&TokenKind::Operator("+"));
    }
    let Token { kind, .. } = reader.next()?;
    match kind {
        TokenKind::Number(number) => {
            // Integers lose their leading zeros; a fraction stays as it is written.
            let number = number.parse::<i32>().map_or_else(|_| (*number).to_owned(), |n| n.to_string());
            Some(if negative { format!("-{number}") } else { number })
        }
        TokenKind::Word(value) | TokenKind::Quoted(value) | TokenKind::String(value) if !negative => {
            Some(if quoted { quote_identifier(value) } else { value.to_string() })
        }
        _ => None,
    }
}

/// The name in RESET and SHOW; `all` is SHOW's own.
fn variable(reader: &mut Reader<'_, '_>) -> String {
    for (words, name) in [
        (&["time", "zone"][..], "timezone"),
        (&["transaction", "isolation", "level"], "transaction_isolation"),
        (&["session", "authorization"], "session_authorization"),
    ] {
        if reader.at(words) {
            return name.to_owned();
        }
    }
    setting_name(reader).unwrap_or_default()
}

/// `name` or `class.name`. Settings are looked up without regard to case, also quoted ones.
fn setting_name(reader: &mut Reader<'_, '_>) -> Option<String> {
    let mut name = reader.ident()?.to_ascii_lowercase();
    while reader.eat_kind(&TokenKind::Dot) {
        name.push('.');
        name.push_str(&reader.ident()?.to_ascii_lowercase());
    }
    Some(name)
}
