//! Writes that `max_rows_written` could not stop: their command tag does not tell how many rows they changed.

use super::context::{Context, Finding};
use crate::sql::{Effect, Facts, Kind};

/// `uncountable-write`
pub(super) fn write(cx: &Context<'_>) -> Option<Finding> {
    let limit = cx.policy.max_rows_written?;
    if cx.policy.is_read_only() {
        return None;
    }
    let facts = cx.facts();
    let Uncounted { form, way_out } = uncounted(facts)?;
    let (what, may) = match facts.writes.first() {
        Some(write) => (write.verb.as_str(), ""),
        // What EXECUTE runs is not in the text.
        None if facts.effects.iter().any(|effect| matches!(effect, Effect::Execute(_))) => {
            ("EXECUTE", "may be a write, and ")
        }
        None => return None,
    };
    Finding::deny(
        format!("{form} of {what} is not allowed on {}", cx.policy.tier),
        format!("it {may}does not tell how many rows it changes, so the limit of {limit} rows could not be kept"),
        format!("Run the {what} as a statement of its own{way_out}."),
    )
}

/// A form whose command tag has no count, or another one than that of the rows changed.
struct Uncounted {
    form: &'static str,
    /// How the HINT goes on.
    way_out: &'static str,
}

fn uncounted(facts: &Facts) -> Option<Uncounted> {
    // EXPLAIN ANALYZE keeps the kind of some statements that it runs.
    if &*facts.tag == "EXPLAIN" {
        return Some(Uncounted { form: "EXPLAIN ANALYZE", way_out: ", or EXPLAIN without ANALYZE" });
    }
    let form = match facts.kind {
        Kind::CopyTo => "COPY",
        Kind::CreateTableAs => "making a table",
        // The body of a temporary function or the query of a temporary view does not run yet.
        Kind::TempDdl if matches!(&*facts.tag, "CREATE TABLE AS" | "SELECT INTO") => "making a table",
        // Their tags count what they change; EXECUTE answers with the tag of what it ran.
        Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge | Kind::CopyFrom | Kind::Execute
        // Applications take what they change by a SELECT around it: how that is counted is left to the session.
        | Kind::Select
        // Other rules speak of these, or they change no rows.
        | Kind::Truncate
        | Kind::Drop
        | Kind::Ddl
        | Kind::Role
        | Kind::Cluster
        | Kind::TempDdl
        | Kind::Maintenance
        | Kind::Do
        | Kind::Call
        | Kind::Explain
        | Kind::Prepare
        | Kind::Deallocate
        | Kind::Declare
        | Kind::Fetch
        | Kind::Close
        | Kind::Transaction
        | Kind::TwoPhase
        | Kind::Set
        | Kind::Show
        | Kind::Discard
        | Kind::Lock
        | Kind::Listen
        | Kind::Notify
        | Kind::Load
        | Kind::Constraints
        | Kind::UnparsedMaybeRead
        | Kind::UnparsedMaybeWrite => return None,
    };
    Some(Uncounted { form, way_out: "" })
}
