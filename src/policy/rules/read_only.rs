//! Read-only sessions: what they may not do, and how they might be left.
//!
//! The server refuses most of this itself, since each transaction of such a session is READ ONLY there. It is refused here as
//! well for a better message, and because READ ONLY stops neither VACUUM, LOCK TABLE and NOTIFY nor a procedure that commits
//! (Postgres documentation, SET TRANSACTION).

use super::context::{Context, Finding, qualified};
use super::functions::writes;
use super::settings::is_true;
use crate::policy::FunctionNature;
use crate::policy::family::Family;
use crate::sql::{AccessMode, Effect, Kind, Lock, SettingValue};

/// `read-only-tier`
pub(super) fn tier(cx: &Context<'_>) -> Option<Finding> {
    if !cx.policy.is_read_only() {
        return None;
    }
    let what = changing_statement(cx).or_else(|| changing_function(cx)).or_else(|| unheld_function(cx))?;
    let hint = match cx.elsewhere() {
        Some(place) => format!("Use a user whose role may write on {}, or do it on {place}.", cx.policy.tier),
        None => format!("Use a user whose role may write on {}.", cx.policy.tier),
    };
    Finding::deny(
        format!("{what} is not allowed in a read-only session"),
        format!("the role {} has read-only access on {}", cx.policy.role, cx.policy.tier),
        hint,
    )
}

fn changing_statement(cx: &Context<'_>) -> Option<String> {
    let facts = cx.facts();
    if let Some(write) = facts.writes.first() {
        return Some(write.verb.as_str().to_owned());
    }
    if facts.locks.iter().any(changes_or_blocks) {
        return Some(match facts.kind {
            Kind::Lock => "LOCK TABLE in a mode other than ACCESS SHARE".to_owned(),
            _ => "locking rows with FOR UPDATE or FOR SHARE".to_owned(),
        });
    }
    match cx.family() {
        Family::RowWrite | Family::TableFromQuery | Family::Temporary | Family::Change | Family::Code => {
            Some(facts.tag.to_string())
        }
        Family::Query
        | Family::CopyOut
        | Family::AroundQuery
        | Family::Prepare
        | Family::Execute
        | Family::Fetch
        | Family::Lock
        | Family::Bookkeeping
        // `unparsed-write` and `unparsed-read` speak of these.
        | Family::UnparsedRead
        | Family::UnparsedWrite => None,
    }
}

fn changing_function(cx: &Context<'_>) -> Option<String> {
    cx.categories().find_map(|(call, category)| Some(format!("{} with {}", writes(category)?, call.name.name)))
}

/// What code in C or an untrusted language does, READ ONLY on the server does not stop.
fn unheld_function(cx: &Context<'_>) -> Option<String> {
    let call = cx.opaque_calls().find(|call| cx.nature(call) == FunctionNature::Unheld)?;
    Some(format!("calling {}, which a READ ONLY transaction does not hold,", qualified(&call.name)))
}

fn changes_or_blocks(lock: &Lock) -> bool {
    match lock {
        Lock::Rows => true,
        Lock::Table(mode) => mode != "ACCESS SHARE",
    }
}

/// `read-only-escape`
pub(super) fn escape(cx: &Context<'_>) -> Option<Finding> {
    if !cx.policy.is_read_only() {
        return None;
    }
    let (what, hint) = cx.facts().effects.iter().find_map(|effect| leaving(cx, effect))?;
    Finding::deny(
        format!("{what} is not allowed in a read-only session"),
        format!(
            "it could leave read-only mode, and the role {} has read-only access on {}",
            cx.policy.role, cx.policy.tier
        ),
        hint,
    )
}

const STAY: &str = "Leave the access mode out; READ ONLY may be written.";
const ALONE: &str = "Send it as a query string of its own.";

fn leaving(cx: &Context<'_>, effect: &Effect) -> Option<(String, &'static str)> {
    match effect {
        Effect::Begin(mode) | Effect::SetTransaction(mode) | Effect::SetSessionCharacteristics(mode) => match mode {
            Some(AccessMode::ReadWrite) => Some(("READ WRITE".to_owned(), STAY)),
            Some(AccessMode::ReadOnly) | None => None,
        },
        Effect::Set { name, value, .. } if is_access_mode(name) => match value {
            SettingValue::Text(text) if is_true(text) => None,
            SettingValue::Text(_) | SettingValue::Default | SettingValue::Unknown => {
                Some((format!("changing {name}"), "It may only be set to on."))
            }
        },
        Effect::Reset(name) if is_access_mode(name) => Some((format!("RESET {name}"), "It may only be set to on.")),
        // A function may have changed default_transaction_read_only; the session repairs that only between two query strings.
        Effect::Commit { .. } | Effect::Rollback { .. } if opaque_before(cx) => {
            Some((format!("{} in the same query string as a function that may do anything", cx.tag()), ALONE))
        }
        Effect::Commit { .. }
        | Effect::Rollback { .. }
        // The session runs a text that has them step by step, and puts its own settings back after each.
        | Effect::ResetAll
        | Effect::DiscardAll
        | Effect::Set { .. }
        | Effect::Reset(_)
        // `unknown-setting` speaks of it.
        | Effect::SetUnknown
        // `read-only-tier` refuses its kind.
        | Effect::PrepareTransaction
        | Effect::Savepoint(_)
        | Effect::RollbackTo(_)
        | Effect::Release(_)
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
    }
}

fn is_access_mode(setting: &str) -> bool {
    matches!(setting, "transaction_read_only" | "default_transaction_read_only")
}

fn opaque_before(cx: &Context<'_>) -> bool {
    (0..cx.index).any(|index| {
        let earlier = Context { index, ..*cx };
        earlier.facts().kind == Kind::Execute || earlier.opaque_calls().next().is_some()
    })
}
