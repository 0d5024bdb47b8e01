//! Functions: Postgres's own that reach beyond the data, and the database's own that may do anything.

use super::context::{Context, Finding, qualified};
use crate::config::Role;
use crate::policy::FunctionNature;
use crate::sql::functions::Category;
use crate::sql::{Call, Effect, Kind};

/// `dangerous-function`
pub(super) fn dangerous(cx: &Context<'_>) -> Option<Finding> {
    let action = cx.dangerous();
    let of_table = cx.categories().find_map(|(call, category)| Some((call, danger(category)?)));
    let (call, why) = of_table.or_else(|| Some((unjudged(cx)?, UNJUDGED)))?;
    Finding::of(
        action,
        format!("calling {} {}", call.name.name, cx.phrase(action)),
        why,
        cx.hint_or_elsewhere("Ask somebody who administers the server"),
    )
}

const UNJUDGED: &str = "it is volatile, and pgbelay does not know what it does: this server is newer";

/// The call of a function of Postgres's own that nobody has judged.
fn unjudged<'a>(cx: &Context<'a>) -> Option<&'a Call> {
    cx.opaque_calls().find(|call| cx.nature(call) == FunctionNature::Unjudged)
}

/// Why a function must not be called; `None` for those that other rules and the limits take care of.
fn danger(category: Category) -> Option<&'static str> {
    match category {
        Category::ProcessControl => Some("it acts on other sessions or on the server itself"),
        Category::Files => Some("it reaches files or programs of the server"),
        Category::OtherConnection => Some("the server would open a connection of its own, which nothing here sees"),
        Category::Replication => Some("it acts on replication, recovery or backup"),
        Category::RunsSql => Some("it runs SQL that cannot be read off the statement"),
        Category::LargeObject
        | Category::AdvisoryLock
        | Category::Notification
        | Category::Sequence
        | Category::Settings
        | Category::Sleep
        | Category::TransactionId => None,
    }
}

/// What a function of the table writes, for read-only sessions. READ ONLY on the server stops sequences, but before Postgres 16
/// neither large objects nor, in any version, notifications.
pub(super) fn writes(category: Category) -> Option<&'static str> {
    match category {
        Category::LargeObject => Some("changing large objects"),
        Category::Notification => Some("sending notifications"),
        Category::Sequence => Some("moving sequences"),
        Category::ProcessControl
        | Category::Files
        | Category::OtherConnection
        | Category::Replication
        | Category::RunsSql
        | Category::AdvisoryLock
        | Category::Settings
        | Category::Sleep
        | Category::TransactionId => None,
    }
}

/// `advisory-lock`
pub(super) fn advisory_lock(cx: &Context<'_>) -> Option<Finding> {
    match cx.policy.role {
        Role::Migrator | Role::Service => return None,
        Role::Admin | Role::Agent | Role::Auditor | Role::Engineer => {}
    }
    let action = cx.policy.dangerous;
    if !cx.facts().effects.contains(&Effect::AdvisoryLock) {
        return None;
    }
    Finding::of(
        action,
        format!("a session-level advisory lock {}", cx.phrase(action)),
        "it holds up whoever waits for it until the session ends",
        cx.hint_or_elsewhere("Use pg_advisory_xact_lock, which ends with the transaction"),
    )
}

/// `opaque-write`
pub(super) fn opaque(cx: &Context<'_>) -> Option<Finding> {
    let action = cx.policy.opaque_write;
    let hint = cx.hint_or_elsewhere("Send the statements that it holds one by one");
    if cx.facts().kind == Kind::Call {
        let name = cx.facts().functions.first().map_or_else(|| "a procedure".to_owned(), |call| qualified(&call.name));
        return Finding::of(
            action,
            format!("CALL {}", cx.phrase(action)),
            format!("what {name} changes cannot be read off the statement"),
            hint,
        );
    }
    // The server itself stops what a function writes in a READ ONLY transaction.
    if cx.policy.is_read_only() || cx.facts().kind == Kind::UnparsedMaybeRead {
        return None;
    }
    if let Some(call) = cx.opaque_calls().next() {
        let name = qualified(&call.name);
        return Finding::of(
            action,
            format!("calling {name} {}", cx.phrase(action)),
            format!("{name} is volatile or not known, so what it changes cannot be read off the statement"),
            hint,
        );
    }
    let what = cx.hidden_code()?;
    Finding::of(
        action,
        format!("a statement that runs a function of the database's own {}", cx.phrase(action)),
        format!(
            "{what} runs a function that is volatile or not known, so what it changes cannot be read off the statement"
        ),
        hint,
    )
}
