//! SET, RESET and set_config of settings that matter to the guard.

use super::context::{Context, Finding};
use crate::policy::{Clamp, clamp};
use crate::sql::{Effect, SettingValue};

/// Settings of the proxy's own that a session may change.
const SETTABLE: &[&str] = &["pgbelay.reason", "pgbelay.confirm"];
/// Those that it may look at.
const SHOWABLE: &[&str] = &["pgbelay.reason", "pgbelay.confirm", "pgbelay.tier", "pgbelay.session", "pgbelay.limits"];

/// What a statement does to one setting.
#[derive(Clone, Copy, Debug)]
struct Change<'a> {
    name: &'a str,
    value: &'a SettingValue,
    by_function: bool,
}

const DEFAULT: &SettingValue = &SettingValue::Default;

fn changes<'a>(cx: &Context<'a>) -> impl Iterator<Item = Change<'a>> + use<'a> {
    cx.facts().effects.iter().filter_map(|effect| match effect {
        Effect::Set { name, value, by_function, .. } => Some(Change { name, value, by_function: *by_function }),
        Effect::Reset(name) => Some(Change { name, value: DEFAULT, by_function: false }),
        Effect::Begin(_)
        | Effect::Commit { .. }
        | Effect::Rollback { .. }
        | Effect::Savepoint(_)
        | Effect::RollbackTo(_)
        | Effect::Release(_)
        | Effect::PrepareTransaction
        | Effect::SetTransaction(_)
        | Effect::SetSessionCharacteristics(_)
        // `unknown-setting` speaks of it.
        | Effect::SetUnknown
        // Back to the values that the connection was made with, and that the session then sets again.
        | Effect::ResetAll
        | Effect::DiscardAll
        | Effect::DiscardTemp
        | Effect::DiscardPlans
        | Effect::DiscardSequences
        | Effect::Show(_)
        | Effect::TempObject
        | Effect::Listen
        | Effect::Unlisten(_)
        | Effect::HoldCursor(_)
        | Effect::CloseCursor(_)
        | Effect::Prepare(_)
        | Effect::Execute(_)
        | Effect::Deallocate(_)
        | Effect::AdvisoryLock
        | Effect::AdvisoryUnlock
        | Effect::AdvisoryUnlockAll
        | Effect::Load => None,
    })
}

/// `proxy-setting`
pub(super) fn proxy_setting(cx: &Context<'_>) -> Option<Finding> {
    let changed = changes(cx).filter(|change| is_own(change.name)).find_map(|change| {
        if !SETTABLE.contains(&change.name) {
            return Some((change.name, not_settable(change.name)));
        }
        if change.by_function {
            return Some((change.name, "set_config is run by the server, which has no such setting".to_owned()));
        }
        if *change.value == SettingValue::Unknown {
            return Some((change.name, "its value is not a plain text".to_owned()));
        }
        None
    });
    let shown = || {
        cx.facts().effects.iter().find_map(|effect| match effect {
            Effect::Show(name) if is_own(name) && !SHOWABLE.contains(&name.as_str()) => {
                Some((name.as_str(), "there is no such setting".to_owned()))
            }
            _ => None,
        })
    };
    let (name, why) = changed.or_else(shown)?;
    Finding::deny(
        format!("setting \"{name}\" cannot be used this way"),
        why,
        format!("SET works for {}; SHOW works for {}.", SETTABLE.join(", "), SHOWABLE.join(", ")),
    )
}

fn is_own(setting: &str) -> bool {
    setting.starts_with("pgbelay.")
}

fn not_settable(name: &str) -> String {
    if SHOWABLE.contains(&name) { "it can only be shown".to_owned() } else { "there is no such setting".to_owned() }
}

/// `text-trap-setting`
pub(super) fn text_trap(cx: &Context<'_>) -> Option<Finding> {
    if !cx.is_careful() {
        return None;
    }
    changes(cx).find_map(|change| {
        let (allowed, why, hint) = match change.name {
            "standard_conforming_strings" => (
                is_known(change.value, is_true),
                "a backslash would then end or hide a string literal for the server but not for pgbelay",
                "Leave it on, and write E'…' where a backslash escapes.",
            ),
            "transform_null_equals" => (
                is_known(change.value, is_false),
                "the server would then read \"x = NULL\" as \"x IS NULL\"",
                "Leave it off, and write IS NULL.",
            ),
            "client_encoding" => (
                is_known(change.value, is_safe_encoding),
                "a character of that encoding may hold a byte that reads as a quote or backslash",
                "Use UTF8, and convert the text where it is shown.",
            ),
            _ => return None,
        };
        if allowed {
            return None;
        }
        let value = match change.value {
            SettingValue::Text(text) => format!("{} to \"{text}\"", change.name),
            SettingValue::Default | SettingValue::Unknown => change.name.to_owned(),
        };
        Finding::deny(format!("setting {value} is not allowed on {}", cx.policy.tier), why, hint)
    })
}

/// A value that the text tells and that passes; the default does, since the session checks what the server reports of it.
fn is_known(value: &SettingValue, passes: fn(&str) -> bool) -> bool {
    match value {
        SettingValue::Default => true,
        SettingValue::Text(text) => passes(text),
        SettingValue::Unknown => false,
    }
}

/// A subset of what Postgres takes for true (its parse_bool also takes prefixes): what is not listed is not taken for it.
pub(super) fn is_true(text: &str) -> bool {
    ["on", "true", "yes", "1", "t", "y"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_false(text: &str) -> bool {
    ["off", "false", "no", "0", "f", "n"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a parameter that the server reports makes it read texts otherwise than they are judged here: something (a function)
/// has set what the rules refuse to set.
pub fn reads_texts_otherwise(name: &str, value: &str) -> bool {
    match name {
        "standard_conforming_strings" => value != "on",
        "client_encoding" => !is_safe_encoding(value),
        _ => false,
    }
}

/// Whether no character of the encoding has a byte below 0x80 in second place: those that Postgres also takes as server
/// encodings (Postgres documentation, "Supported Character Sets"). Names are compared as Postgres does, letters and digits only.
fn is_safe_encoding(name: &str) -> bool {
    const SAFE: &[&str] = &[
        "abc",
        "alt",
        "euccn",
        "eucjis2004",
        "eucjp",
        "euckr",
        "euctw",
        "iso88591",
        "iso885910",
        "iso885913",
        "iso885914",
        "iso885915",
        "iso885916",
        "iso88592",
        "iso88593",
        "iso88594",
        "iso88595",
        "iso88596",
        "iso88597",
        "iso88598",
        "iso88599",
        "koi8",
        "koi8r",
        "koi8u",
        "latin1",
        "latin10",
        "latin2",
        "latin3",
        "latin4",
        "latin5",
        "latin6",
        "latin7",
        "latin8",
        "latin9",
        "muleinternal",
        "sqlascii",
        "tcvn",
        "tcvn5712",
        "unicode",
        "utf8",
        "vscii",
        "win",
        "win1250",
        "win1251",
        "win1252",
        "win1253",
        "win1254",
        "win1255",
        "win1256",
        "win1257",
        "win1258",
        "win866",
        "win874",
        "windows1250",
        "windows1251",
        "windows1252",
        "windows1253",
        "windows1254",
        "windows1255",
        "windows1256",
        "windows1257",
        "windows1258",
        "windows866",
        "windows874",
    ];
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SAFE.contains(&plain.as_str())
}

/// `unsafe-setting`
pub(super) fn unsafe_setting(cx: &Context<'_>) -> Option<Finding> {
    let change = changes(cx).find(|change| switches_protection_off(change))?;
    let action = cx.policy.dangerous;
    Finding::of(
        action,
        format!("setting {} {}", change.name, cx.phrase(action)),
        "it switches off protection that the server gives: triggers and foreign keys, its own catalog, or its log",
        cx.hint_or_elsewhere("Leave it as it is"),
    )
}

fn switches_protection_off(change: &Change<'_>) -> bool {
    if *change.value == SettingValue::Default {
        return false;
    }
    match change.name {
        "session_replication_role" => !is_known(change.value, |text| text.eq_ignore_ascii_case("origin")),
        "allow_system_table_mods"
        | "dynamic_library_path"
        | "event_triggers"
        | "ignore_checksum_failure"
        | "ignore_system_indexes"
        | "jit_provider"
        | "local_preload_libraries"
        | "lo_compat_privileges"
        | "log_duration"
        | "log_min_duration_statement"
        | "log_min_error_statement"
        | "log_min_messages"
        | "log_statement"
        | "session_preload_libraries"
        | "zero_damaged_pages" => true,
        _ => false,
    }
}

/// `role-change`
pub(super) fn role_change(cx: &Context<'_>) -> Option<Finding> {
    if !cx.is_careful() {
        return None;
    }
    let change = changes(cx).find(|change| match change.name {
        "role" => !is_known(change.value, |text| text.eq_ignore_ascii_case("none")),
        "session_authorization" => *change.value != SettingValue::Default,
        _ => false,
    })?;
    let what = if change.name == "role" { "SET ROLE" } else { "SET SESSION AUTHORIZATION" };
    Finding::deny(
        format!("{what} is not allowed on {}", cx.policy.tier),
        "the session would act with other rights than those of the user it was opened for",
        "Connect as a user who has the rights, or go back with RESET ROLE or RESET SESSION AUTHORIZATION.",
    )
}

/// `limit-setting`
pub(super) fn limit(cx: &Context<'_>) -> Option<Finding> {
    if !cx.is_careful() {
        return None;
    }
    // SET and RESET are held to the limit when they run; what a function sets cannot be changed on its way.
    let change = changes(cx).filter(|change| change.by_function).find(|change| {
        match clamp(change.name, change.value, cx.policy) {
            Clamp::NotALimit | Clamp::WithinLimit => false,
            Clamp::Clamped { .. } => true,
        }
    })?;
    Finding::deny(
        format!("set_config may not raise {} on {}", change.name, cx.policy.tier),
        format!("the tier limits {}, and set_config could go past it", change.name),
        format!("Use SET {}, which goes as high as the limit.", change.name),
    )
}

/// `unknown-setting`
pub(super) fn unknown(cx: &Context<'_>) -> Option<Finding> {
    if !cx.is_careful() || !cx.facts().effects.contains(&Effect::SetUnknown) {
        return None;
    }
    Finding::deny(
        format!("set_config with a setting that is not named in the text is not allowed on {}", cx.policy.tier),
        "which setting it changes is known only when it runs",
        "Write the setting's name as a literal, or use SET.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_compared_as_postgres_does() {
        for safe in
            ["UTF8", "utf-8", "'UTF8'", "Unicode", "SQL_ASCII", "LATIN1", "ISO-8859-15", "EUC_JIS_2004", "Windows-1252"]
        {
            assert!(is_safe_encoding(safe), "{safe}");
        }
        for trap in [
            "SJIS",
            "Shift_JIS",
            "mskanji",
            "WIN932",
            "Windows932",
            "BIG5",
            "WIN950",
            "GBK",
            "WIN936",
            "GB18030",
            "UHC",
            "WIN949",
            "JOHAB",
            "SHIFT_JIS_2004",
            "",
            "nonsense",
        ] {
            assert!(!is_safe_encoding(trap), "{trap}");
        }
    }
}
