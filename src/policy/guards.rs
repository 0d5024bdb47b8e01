//! How an allowed statement must be run.

use crate::config::Policy;
use crate::sql::functions::Category;
use crate::sql::{Kind, Verb};

use super::Guards;
use super::family::Family;
use super::plan_gate;
use super::rules::Context;

/// What holds for every text of a session, an empty one too.
pub(super) fn of_session(policy: &Policy) -> Guards {
    Guards { read_only: policy.is_read_only(), ..Guards::default() }
}

/// The guards of one statement.
pub(super) fn of_statement(cx: &Context<'_>) -> Guards {
    let opaque = may_leave_unseen_state(cx);
    let single_statement = cx.is_careful() && cx.facts().kind == Kind::UnparsedMaybeRead;
    Guards {
        read_only: cx.policy.is_read_only() || single_statement,
        single_statement,
        max_rows_written: cx.policy.max_rows_written.filter(|_| !cx.policy.is_read_only() && changes_counted_rows(cx)),
        max_rows_returned: cx.policy.max_rows_returned.filter(|_| returns_rows(cx.family())),
        intent: cx.policy.is_guarded() && (opaque || changes_something(cx)),
        opaque,
        plan: plan_gate::wants_plan(cx.facts(), cx.policy),
    }
}

/// The guards of two statements sent together.
pub(super) fn both(a: Guards, b: Guards) -> Guards {
    Guards {
        read_only: a.read_only || b.read_only,
        single_statement: a.single_statement || b.single_statement,
        max_rows_written: tighter(a.max_rows_written, b.max_rows_written),
        max_rows_returned: tighter(a.max_rows_returned, b.max_rows_returned),
        intent: a.intent || b.intent,
        opaque: a.opaque || b.opaque,
        plan: a.plan || b.plan,
    }
}

fn tighter(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// What EXECUTE runs is not in its text, and code that the server keeps can change any setting.
fn may_leave_unseen_state(cx: &Context<'_>) -> bool {
    match cx.family() {
        Family::Code | Family::Execute | Family::UnparsedRead | Family::UnparsedWrite => true,
        Family::Query
        | Family::CopyOut
        | Family::AroundQuery
        | Family::Prepare
        | Family::Fetch
        | Family::RowWrite
        | Family::TableFromQuery
        | Family::Temporary
        | Family::Change
        | Family::Lock
        | Family::Bookkeeping => may_run_code(cx),
    }
}

/// Whether a statement reaches code that may do anything, by a call or hidden.
pub(super) fn may_run_code(cx: &Context<'_>) -> bool {
    cx.opaque_calls().next().is_some() || cx.hidden_code().is_some()
}

/// Whether the server counts rows that this statement changes, and a rollback can still undo them. What PREPARE names does not
/// run yet; TRUNCATE has no count; EXECUTE may run a write.
fn changes_counted_rows(cx: &Context<'_>) -> bool {
    match cx.family() {
        Family::Prepare => false,
        Family::Execute => true,
        Family::Query
        | Family::CopyOut
        | Family::AroundQuery
        | Family::RowWrite
        | Family::TableFromQuery
        | Family::Temporary => cx.facts().writes.iter().any(|w| w.verb != Verb::Truncate),
        Family::Fetch
        | Family::Change
        | Family::Code
        | Family::Lock
        | Family::Bookkeeping
        | Family::UnparsedRead
        | Family::UnparsedWrite => false,
    }
}

/// Whether a statement's answer holds rows of the database's tables.
fn returns_rows(family: Family) -> bool {
    match family {
        Family::Query | Family::CopyOut | Family::Fetch | Family::Execute | Family::UnparsedRead => true,
        Family::AroundQuery
        | Family::Prepare
        | Family::RowWrite
        | Family::TableFromQuery
        | Family::Temporary
        | Family::Change
        | Family::Code
        | Family::Lock
        | Family::Bookkeeping
        | Family::UnparsedWrite => false,
    }
}

/// Whether a statement is more than a read or the session's own book-keeping.
fn changes_something(cx: &Context<'_>) -> bool {
    let facts = cx.facts();
    match cx.family() {
        Family::Query
        | Family::CopyOut
        | Family::AroundQuery
        | Family::Prepare
        | Family::Fetch
        | Family::Temporary
        | Family::Lock
        | Family::Bookkeeping
        // Run READ ONLY on the server.
        | Family::UnparsedRead => {
            !facts.writes.is_empty()
                || !facts.hazards.is_empty()
                || cx.categories().any(|(_, category)| leaves_a_trace(category))
        }
        Family::RowWrite
        | Family::TableFromQuery
        | Family::Change
        | Family::Code
        | Family::Execute
        | Family::UnparsedWrite => true,
    }
}

/// Whether a function of the table changes more than the session that calls it.
fn leaves_a_trace(category: Category) -> bool {
    match category {
        Category::AdvisoryLock | Category::Settings | Category::Sleep | Category::TransactionId => false,
        Category::ProcessControl
        | Category::Files
        | Category::OtherConnection
        | Category::Replication
        | Category::RunsSql
        | Category::LargeObject
        | Category::Notification
        | Category::Sequence => true,
    }
}
